//! Splitters of running text into words.

use std::str::FromStr;
use std::sync::LazyLock;

use regex::Regex;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::span::ByteSpan;

/// The rule that splits a text into words before tokenization. It matches the words that the model was trained on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Splitter {
    /// The conventions of social-media corpora: [`split_corpus`].
    Corpus,
    /// White space only: [`split_whitespace`].
    Whitespace,
    /// The pre-tokens of the tokenizer, as the `transformers` pipeline splits a text.
    Bert,
}

/// An unknown splitter name.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("`{0}` is not a splitter: corpus, whitespace or bert")]
pub struct SplitterError(String);

impl FromStr for Splitter {
    type Err = SplitterError;

    fn from_str(name: &str) -> Result<Self, SplitterError> {
        [Self::Corpus, Self::Whitespace, Self::Bert]
            .into_iter()
            .find(|splitter| splitter.name() == name)
            .ok_or_else(|| SplitterError(name.to_owned()))
    }
}

impl Splitter {
    /// The name of the splitter in a manifest and on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Corpus => "corpus",
            Self::Whitespace => "whitespace",
            Self::Bert => "bert",
        }
    }
}

/// The spans of `text` between Unicode white space.
pub fn split_whitespace(text: &str) -> Vec<ByteSpan> {
    let mut spans = Vec::new();
    let mut start = None;
    for (at, c) in text.char_indices() {
        match (c.is_whitespace(), start) {
            (false, None) => start = Some(at),
            (true, Some(from)) => {
                spans.extend(ByteSpan::new(from, at));
                start = None;
            }
            _ => {}
        }
    }
    spans.extend(start.and_then(|from| ByteSpan::new(from, text.len())));
    spans
}

/// A letter, digit, mark, underscore or format character (soft hyphen, zero-width space, zero-width joiner).
macro_rules! w {
    () => {
        r"[\p{L}\p{M}\p{N}_\p{Cf}]"
    };
}

// Alternatives in order of precedence: the first that matches at a position wins. No alternative looks behind, and each
// matches at least one character, so the matches cover every character that is not white space.
static TOKEN: LazyLock<Option<Regex>> = LazyLock::new(|| {
    let alternatives = [
        // Links, without trailing punctuation of the sentence.
        r#"(?i:(?:https?|ftp)://|www\.)[^\s<>"“”]*[^\s<>"“”.,;:!?'’)\]}…]"#,
        r"[\p{L}\p{N}._%+-]+@[\p{L}\p{N}-]+(?:\.[\p{L}\p{N}-]+)+",
        r"(?i:[a-z0-9-]+(?:\.[a-z0-9-]+)*\.(?:com|net|org|edu|gov|info|co|io|ly|tv|me|uk|de|fr|ca|au|us|biz)\b(?:/[^\s<>\x22“”]*[^\s<>\x22“”.,;:!?'’)\]}…])?)",
        // HTML entities in scraped text.
        r"&(?:[a-zA-Z]{2,8}|#[0-9]{1,7});",
        // Emoticons: eyes first, hearts, mouth first, and faces such as -_- and ^^.
        r"(?:[:;=][-'^o]?(?:[)(\]\[|/\\*@}{<>]+|[DdPpOoSsXx3]\b)|[xX]D+\b|</?3+|[)(\]\[][-']?[:;=]|[-^>][_.]+[-^<]|\^\^+)",
        // Emoji: flags, keycaps, and pictographs with their modifiers and joined parts.
        r"\p{Regional_Indicator}{2}",
        r"[0-9#*]\x{FE0F}?\x{20E3}",
        concat!(
            r"\p{Extended_Pictographic}[\x{FE0F}\x{FE0E}\p{Emoji_Modifier}]*",
            r"(?:\x{200D}\p{Extended_Pictographic}[\x{FE0F}\x{FE0E}\p{Emoji_Modifier}]*)*"
        ),
        // Abbreviations with inner full stops: U.S., p.m.
        r"(?:\p{L}\.){2,}",
        // Numbers with their separators: 30,000 7:30 1.5 24/7.
        r"\p{N}+(?:[.,:/]\p{N}+)+",
        // Each ideograph is a word, as in BERT's tokenizer.
        r"[\p{Han}]\p{M}*",
        // Words, with inner hyphens and apostrophes.
        concat!(w!(), r"+(?:[-‐‑'’]", w!(), "+)*"),
        // Runs of punctuation (... !!! ?! --), then any other character by itself.
        r"\.{2,}|…+|[!?]+|-{2,}|\*+|~+|=+",
        r"\S",
    ];
    Regex::new(&alternatives.join("|")).ok()
});

/// The words of `text`, split by the conventions of social-media corpora, in order.
///
/// Each of these is one word: links, e-mail addresses, emoticons, emoji with their modifiers, abbreviations (`U.S.`),
/// numbers (`7:30`), hyphenated words, ellipses and runs of one punctuation mark. English clitics (`'s`, `'m`, `'re`, `'ve`,
/// `'ll`, `'d`) are separate words. So is the sign of a `@mention` or `#hashtag`, as in the dev and test splits of WNUT-17: the
/// entity in `@Gordon` is `Gordon`. Any other punctuation mark is a word by itself. Every character that is not white space
/// belongs to exactly one word. Takes linear time.
pub fn split_corpus(text: &str) -> Vec<ByteSpan> {
    let Some(token) = TOKEN.as_ref() else {
        return split_whitespace(text);
    };
    let mut spans = Vec::with_capacity(text.len() / 5 + 1);
    for found in token.find_iter(text) {
        let split = found.start() + clitic_start(found.as_str());
        spans.extend(ByteSpan::new(found.start(), split));
        spans.extend(ByteSpan::new(split, found.end()).filter(|clitic| !clitic.is_empty()));
    }
    spans
}

/// The byte offset at which a word's English clitic starts, or the length of the word if it has none.
fn clitic_start(word: &str) -> usize {
    let Some((at, apostrophe)) = word.char_indices().rev().find(|(_, c)| matches!(c, '\'' | '’')) else {
        return word.len();
    };
    let clitic = &word[at + apostrophe.len_utf8()..];
    let known = ["s", "m", "re", "ve", "ll", "d"]
        .iter()
        .any(|known| clitic.eq_ignore_ascii_case(known));
    let stem_is_a_word = word[..at].chars().next_back().is_some_and(char::is_alphanumeric);
    if known && stem_is_a_word { at } else { word.len() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn words(text: &str) -> Vec<&str> {
        split_corpus(text)
            .into_iter()
            .map(|span| span.slice(text).unwrap())
            .collect()
    }

    #[test]
    fn the_pattern_compiles() {
        assert!(TOKEN.is_some());
    }

    #[test]
    fn words_of_the_social_web() {
        let cases: &[(&str, &[&str])] = &[
            (
                "RT @paulwalk: It's #NewYork!!",
                &["RT", "@", "paulwalk", ":", "It", "'s", "#", "NewYork", "!!"],
            ),
            (
                "I'm here, they’ve gone",
                &["I", "'m", "here", ",", "they", "’ve", "gone"],
            ),
            (
                "see https://t.co/8r0AHF8Mff.",
                &["see", "https://t.co/8r0AHF8Mff", "."],
            ),
            ("(www.x.org/a_(b))", &["(", "www.x.org/a_(b", ")", ")"]),
            ("mail a.b@c.co.uk now", &["mail", "a.b@c.co.uk", "now"]),
            ("the U.S. at 7:30 p.m.", &["the", "U.S.", "at", "7:30", "p.m."]),
            ("30,000 fans...", &["30,000", "fans", "..."]),
            ("X-Files & t-shirts", &["X-Files", "&", "t-shirts"]),
            ("lol :) :-( ;D <3 xD", &["lol", ":)", ":-(", ";D", "<3", "xD"]),
            ("note: Done", &["note", ":", "Done"]),
            ("AT&amp;T", &["AT", "&amp;", "T"]),
            ("Game of Thrones' end", &["Game", "of", "Thrones", "'", "end"]),
            ("don't", &["don't"]),
            ("Beyoncé’s", &["Beyoncé", "’s"]),
            ("e\u{301}cole", &["e\u{301}cole"]),
            (
                "👩\u{200d}👩\u{200d}👧 👍🏽ok🇬🇧🇫🇷",
                &["👩\u{200d}👩\u{200d}👧", "👍🏽", "ok", "🇬🇧", "🇫🇷"],
            ),
            ("東京 is", &["東", "京", "is"]),
            ("watched\u{200b}was", &["watched\u{200b}was"]),
            ("a\r\nb\u{a0}c\u{3000}d", &["a", "b", "c", "d"]),
            ("Moore Park/Zetland", &["Moore", "Park", "/", "Zetland"]),
        ];
        for (text, expected) in cases {
            assert_eq!(words(text), *expected, "{text}");
        }
    }

    proptest! {
        #[test]
        fn every_visible_character_is_in_exactly_one_word(
            text in "\\PC{0,80}|[a-zA-Z0-9@#:;()'’./&\\-\u{200d}\u{fe0f}\u{301}👩👍🏽🇬漢é \r\n\u{a0}]{0,120}"
        ) {
            for spans in [split_corpus(&text), split_whitespace(&text)] {
                let mut end = 0;
                for span in spans {
                    prop_assert!(!span.is_empty() && span.start() >= end);
                    prop_assert!(text[end..span.start()].chars().all(char::is_whitespace));
                    prop_assert!(!span.slice(&text).unwrap().chars().any(char::is_whitespace));
                    end = span.end();
                }
                prop_assert!(text[end..].chars().all(char::is_whitespace));
            }
        }
    }
}
