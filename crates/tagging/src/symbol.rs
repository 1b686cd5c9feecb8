//! Words that consist of symbols.

use crate::invisible::is_invisible;

/// Whether a word has neither a letter nor a digit that a reader sees: an emoji, a dash, a bullet, a quotation mark, an emoticon.
///
/// Such words stand inside names (`AT & T`), but no name consists of them.
pub fn is_symbol(word: &str) -> bool {
    let is_read = |character: char| character.is_alphanumeric() && !is_invisible(character);
    !word.chars().any(is_read)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_letter_or_digit_of_any_script_makes_a_word() {
        // U+3164 and U+FFA0 are letters of Hangul without a shape.
        for symbol in [
            "😀",
            "—",
            "•",
            ":)",
            "🇺🇸",
            "❤️",
            "",
            "\u{200d}",
            "…",
            "™",
            "$",
            "\u{3164}\u{ffa0}",
        ] {
            assert!(is_symbol(symbol), "{symbol}");
        }
        for word in ["a", "#x", "é", "東", "7", "½", "①", "ß", "ـس", "@_b"] {
            assert!(!is_symbol(word), "{word}");
        }
    }
}
