//! Characters that a reader does not see, at the edges of an entity.

use crate::span::ByteSpan;

/// The span without the invisible characters and the white space at its edges: what a reader sees of it, exactly.
///
/// Characters inside stay, as do those at the end that change how the character before them looks: the variation selector and
/// the tags of an emoji (`\u{2764}\u{fe0f}`), a selector of an ideograph, and the joiner after a letter of a script whose letters join. A span
/// of which nothing is visible, and a span that is no slice of the text, stay as they are.
pub fn trim_invisible(text: &str, span: ByteSpan) -> ByteSpan {
    let Some(slice) = span.slice(text) else {
        return span;
    };
    let visible = |&(_, character): &(usize, char)| !is_invisible(character);
    let (Some((first, _)), Some((last, base))) = (
        slice.char_indices().find(visible),
        slice.char_indices().rfind(visible),
    ) else {
        return span;
    };
    let mut end = last + base.len_utf8();
    let rest = slice.get(end..).unwrap_or_default();
    end += rest.len()
        - rest
            .trim_start_matches(|character| belongs_to(base, character))
            .len();
    ByteSpan::new(span.start() + first, span.start() + end).unwrap_or(span)
}

/// Whether an invisible character after a visible one changes how it looks.
fn belongs_to(base: char, invisible: char) -> bool {
    match invisible {
        // Variation selectors: emoji, symbols, digits, and the scripts that have variants.
        '\u{fe00}'..='\u{fe0f}' => !base.is_alphabetic() || base >= '\u{1000}',
        '\u{180b}'..='\u{180d}' | '\u{180f}' => ('\u{1800}'..='\u{18af}').contains(&base),
        '\u{e0100}'..='\u{e01ef}' => base >= '\u{2e80}',
        // The tags that make a flag of a region.
        '\u{e0020}'..='\u{e007f}' => base == '\u{1f3f4}',
        // Joiners of Arabic and of Indic scripts.
        '\u{200c}' | '\u{200d}' => ('\u{600}'..='\u{1fff}').contains(&base),
        _ => false,
    }
}

/// Whether a character is white space, a control character, or one that Unicode has ignored where it cannot be shown
/// (`Default_Ignorable_Code_Point`), such as a zero-width space or a soft hyphen.
pub(crate) fn is_invisible(character: char) -> bool {
    character.is_whitespace()
        || character.is_control()
        || matches!(
            character,
            '\u{ad}'
                | '\u{34f}'
                | '\u{61c}'
                | '\u{17b4}'..='\u{17b5}'
                | '\u{180b}'..='\u{180f}'
                | '\u{200b}'..='\u{200f}'
                | '\u{202a}'..='\u{202e}'
                | '\u{2060}'..='\u{206f}'
                | '\u{3164}'
                | '\u{fe00}'..='\u{fe0f}'
                | '\u{feff}'
                | '\u{ffa0}'
                | '\u{fff0}'..='\u{fffb}'
                | '\u{1bca0}'..='\u{1bca3}'
                | '\u{1d173}'..='\u{1d17a}'
                | '\u{e0000}'..='\u{e0fff}'
        )
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn trimmed(text: &str) -> &str {
        let whole = ByteSpan::new(0, text.len()).unwrap();
        trim_invisible(text, whole).slice(text).unwrap()
    }

    #[test]
    fn invisible_characters_at_the_edges_are_left_out() {
        for (text, expected) in [
            ("Obama", "Obama"),
            ("Obama\u{200b}", "Obama"),
            ("\u{2068}Barack \u{200b} Obama\u{2069}", "Barack \u{200b} Obama"),
            ("\u{feff}\u{0}Ob\u{ad}ama\u{ad}\u{fe0f}", "Ob\u{ad}ama"),
            ("Obama \u{200b} \u{7f}", "Obama"),
            ("a\u{200d}", "a"),
        ] {
            assert_eq!(trimmed(text), expected, "{text:?}");
        }
    }

    #[test]
    fn what_changes_the_look_of_a_character_stays() {
        for text in [
            "I \u{2764}\u{fe0f}",
            "1\u{fe0f}\u{20e3}",
            "\u{1f469}\u{200d}\u{2764}\u{fe0f}\u{200d}\u{1f469}",
            "\u{1f3f4}\u{e0067}\u{e0062}\u{e0065}\u{e006e}\u{e0067}\u{e007f}",
            "\u{845b}\u{e0100}",
            "\u{d28}\u{d4d}\u{200d}",
            "e\u{301}",
        ] {
            assert_eq!(trimmed(text), text, "{text:?}");
        }
        let dangling = "\u{1f469}\u{200d}";
        assert_eq!(trimmed(dangling), "\u{1f469}");
    }

    #[test]
    fn a_span_without_visible_characters_stays() {
        for text in ["", "\u{200b}", " \u{200b}\u{fe0f}"] {
            assert_eq!(trimmed(text), text);
        }
        let beyond = ByteSpan::new(1, 9).unwrap();
        assert_eq!(trim_invisible("é", beyond), beyond);
    }

    proptest! {
        #[test]
        fn the_visible_characters_stay_and_trimming_twice_changes_nothing(text in "[a\u{e9}\u{200b}\u{fe0f}\u{2764}\u{200d} \u{d28}\u{e0067}]{0,8}") {
            let once = trimmed(&text);
            prop_assert_eq!(trimmed(once), once);
            let visible = |text: &str| text.chars().filter(|&c| !is_invisible(c)).collect::<String>();
            prop_assert_eq!(visible(once), visible(&text));
        }
    }
}
