//! Running text from the words of a corpus, to measure a tagger on text as people type it.

use crate::span::ByteSpan;

/// The running text of a corpus sentence and the byte span of each word in it.
///
/// Closing punctuation, clitics and the dots of an ellipsis follow the previous word without a space. Opening brackets,
/// currency signs, `#` and `@` precede the next word without a space. Straight quotes open and close in turn. An apostrophe
/// between a letter and a clitic has no space on either side. All other words are separated by one space.
pub fn detokenize(words: &[String]) -> (String, Vec<ByteSpan>) {
    let mut text = String::new();
    let mut spans = Vec::with_capacity(words.len());
    let mut quote_open = false;
    let mut glue_next = true;
    for (index, word) in words.iter().enumerate() {
        let previous = index.checked_sub(1).map(|before| words[before].as_str());
        let next = words.get(index + 1).map(String::as_str);
        let glue = glue_of(word, previous, next, &mut quote_open);
        if !(glue_next || glue.before) {
            text.push(' ');
        }
        let start = text.len();
        text.push_str(word);
        spans.extend(ByteSpan::new(start, text.len()));
        glue_next = glue.after;
    }
    (text, spans)
}

/// The sides on which a word has no space.
struct Glue {
    before: bool,
    after: bool,
}

const CLITICS: [&str; 8] = ["s", "t", "m", "re", "ve", "ll", "d", "n't"];

fn is_clitic(word: &str) -> bool {
    CLITICS.iter().any(|c| word.eq_ignore_ascii_case(c))
}

fn ends_alphanumeric(word: Option<&str>) -> bool {
    word.and_then(|w| w.chars().next_back())
        .is_some_and(char::is_alphanumeric)
}

fn starts_alphanumeric(word: Option<&str>) -> bool {
    word.and_then(|w| w.chars().next())
        .is_some_and(char::is_alphanumeric)
}

fn glue_of(word: &str, previous: Option<&str>, next: Option<&str>, quote_open: &mut bool) -> Glue {
    let glue = |before, after| Glue { before, after };
    match word {
        "\"" => {
            *quote_open = !*quote_open;
            glue(!*quote_open, *quote_open)
        }
        "'" | "’" | "´" if ends_alphanumeric(previous) && next.is_some_and(is_clitic) => glue(true, true),
        "." if previous == Some(".") => glue(true, false),
        "," | "." | "!" | "?" | ";" | ":" | ")" | "]" | "}" | "%" | "…" | "”" | "..." => {
            glue(true, false)
        }
        "(" | "[" | "{" | "“" | "$" | "£" | "€" => glue(false, true),
        "#" | "@" if starts_alphanumeric(next) => glue(false, true),
        _ => {
            let clitic = word
                .strip_prefix(['\'', '’'])
                .is_some_and(|rest| is_clitic(rest) && rest.len() < word.len());
            let negation = matches!(word.to_ascii_lowercase().as_str(), "n't" | "n’t");
            glue((clitic || negation) && ends_alphanumeric(previous), false)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn punctuation_and_contractions_are_glued() {
        let cases = [
            ("It 's the view .", "It's the view."),
            ("I ' m ( very ) sure . . .", "I'm (very) sure..."),
            (
                "do n't say \" no \" , @ Gordon # photos",
                "don't say \"no\", @Gordon #photos",
            ),
            ("cost € 100 M !", "cost €100 M!"),
            ("Bill ' s and Ann 's", "Bill's and Ann's"),
        ];
        for (words, expected) in cases {
            let words: Vec<String> = words.split(' ').map(str::to_owned).collect();
            let (text, spans) = detokenize(&words);
            assert_eq!(text, expected);
            let sliced: Vec<_> = spans.iter().map(|s| s.slice(&text).unwrap()).collect();
            assert_eq!(sliced, words);
        }
    }
}
