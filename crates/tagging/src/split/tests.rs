use std::sync::LazyLock;

use super::*;
use proptest::prelude::*;
use regex::Regex;

/// A letter, digit, mark, underscore or format character (soft hyphen, zero-width space, zero-width joiner).
macro_rules! w {
    () => {
        r"[\p{L}\p{M}\p{N}_\p{Cf}]"
    };
}

// The rules as a regular expression, which takes quadratic time for some texts. Alternatives in order of precedence: the
// first that matches at a position wins.
static TOKEN: LazyLock<Regex> = LazyLock::new(|| {
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
    Regex::new(&alternatives.join("|")).unwrap()
});

/// The words by the regular expression.
fn oracle(text: &str) -> Vec<&str> {
    let with_clitic = |found: regex::Match<'_>| {
        let word = &text[found.range()];
        let clitic = word.rfind(['\'', '’']).filter(|&at| {
            let end = word[at..].trim_start_matches(['\'', '’']);
            let known = ["s", "m", "re", "ve", "ll", "d"];
            known.iter().any(|known| end.eq_ignore_ascii_case(known))
                && word[..at].ends_with(char::is_alphanumeric)
        });
        let (stem, clitic) = word.split_at(clitic.unwrap_or(word.len()));
        [
            &text[found.start()..found.start() + stem.len()],
            &text[found.end() - clitic.len()..found.end()],
        ]
    };
    let words = TOKEN.find_iter(text).flat_map(with_clitic);
    words.filter(|word| !word.is_empty()).collect()
}

fn words(text: &str) -> Vec<&str> {
    split_corpus(text)
        .into_iter()
        .map(|span| span.slice(text).unwrap())
        .collect()
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

/// Pieces that rules begin with, continue with or stop at.
const PIECES: [&str; 92] = [
    "a",
    "D",
    "s",
    "xD",
    "x",
    "X",
    "o",
    "p",
    "3",
    "1",
    "23",
    "h",
    "http",
    "https",
    "://",
    "HTTPſ://",
    "ftp://",
    "www.",
    "wWw.",
    "com",
    ".com",
    ".uK",
    ".uſ",
    ".CO",
    ".uk",
    ".net/",
    "io",
    ".",
    "..",
    ",",
    ":",
    ";",
    "!",
    "?",
    "'",
    "’",
    "'s",
    "'RE",
    "’ll",
    "-",
    "--",
    "‐",
    "‑",
    "_",
    "@",
    "#",
    "*",
    "&",
    "&amp;",
    "&#12;",
    "&lt",
    "%",
    "+",
    "/",
    "\\",
    "(",
    ")",
    "[",
    "]",
    "{",
    "}",
    "<",
    ">",
    "<3",
    "</3",
    "^",
    "^^",
    "=",
    "~",
    "|",
    "\"",
    "“",
    "”",
    "…",
    "$",
    "é",
    "ß",
    "ſ",
    "\u{212a}",
    "漢",
    "〇",
    "〡",
    "\u{301}",
    "\u{200b}",
    "\u{200d}",
    "\u{fe0f}",
    "\u{20e3}",
    "👩",
    "🏽",
    "🇬",
    "²",
    "\u{a0}",
];

fn hostile_text() -> impl Strategy<Value = String> {
    let piece = prop::sample::select(PIECES.as_slice());
    prop::collection::vec(prop_oneof![20 => piece, 1 => Just(" ")], 0..40).prop_map(|pieces| pieces.concat())
}

#[test]
fn a_character_is_looked_at_a_bounded_number_of_times() {
    let units = (b'!'..=b'~').map(|byte| char::from(byte).to_string());
    let units = units.chain(
        PIECES
            .iter()
            .flat_map(|first| PIECES.map(|second| format!("{first}{second}"))),
    );
    for unit in units {
        let text = unit.repeat(1000 / unit.len());
        class::lookups::take();
        let words = split_corpus(&text).len();
        let looks = class::lookups::take();
        assert!(words > 0 || text.trim().is_empty());
        assert!(
            looks <= 24 * text.len() + 64,
            "{looks} looks at {unit} in {} bytes",
            text.len()
        );
    }
}

#[test]
fn long_texts_without_white_space_are_split() {
    for unit in ["%", "a%", "a1.", "a-", "a@", "a.", "www.", "〇", ":", "&"] {
        let text = unit.repeat(80_000 / unit.len());
        let mut end = 0;
        for span in split_corpus(&text) {
            assert_eq!(span.start(), end, "{unit}");
            end = span.end();
        }
        assert_eq!(end, text.len());
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4000))]

    #[test]
    fn the_words_are_those_of_the_regular_expression(text in hostile_text()) {
        prop_assert_eq!(words(&text), oracle(&text));
    }

    #[test]
    fn the_words_of_any_text_are_those_of_the_regular_expression(
        text in "\\PC{0,80}|[a-zA-Z0-9@#:;()'’./&%_<>=^\\-\u{200d}\u{fe0f}\u{301}👩👍🏽🇬漢é \r\n\u{a0}]{0,120}"
    ) {
        prop_assert_eq!(words(&text), oracle(&text));
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
