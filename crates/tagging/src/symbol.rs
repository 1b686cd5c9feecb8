//! Words that consist of symbols.

/// Whether a word has neither a letter nor a digit: an emoji, a dash, a bullet, a quotation mark, an emoticon.
///
/// Such words stand inside names (`AT & T`), but no name consists of them.
pub fn is_symbol(word: &str) -> bool {
    !word.chars().any(char::is_alphanumeric)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_letter_or_digit_of_any_script_makes_a_word() {
        for symbol in ["😀", "—", "•", ":)", "🇺🇸", "❤️", "", "\u{200d}", "…", "™", "$"] {
            assert!(is_symbol(symbol), "{symbol}");
        }
        for word in ["a", "#x", "é", "東", "7", "½", "①", "ß", "ـس", "@_b"] {
            assert!(!is_symbol(word), "{word}");
        }
    }
}
