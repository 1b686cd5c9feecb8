//! The character classes of the corpus splitter.

use std::collections::HashMap;
use std::sync::LazyLock;

use regex_syntax::hir::{Class, Hir, HirKind};

/// A set of characters, as a bit; or the classes of one character.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct CharClass(u16);

impl CharClass {
    /// Letters.
    pub(super) const LETTER: Self = Self(1);
    /// Digits and other numbers.
    pub(super) const NUMBER: Self = Self(1 << 1);
    /// Combining marks.
    pub(super) const MARK: Self = Self(1 << 2);
    /// The characters of plain words. Format characters: soft hyphen, zero-width space, zero-width joiner.
    pub(super) const WORD: Self = Self(1 << 3);
    /// The characters between which there is no word boundary (`\b`).
    pub(super) const BOUND: Self = Self(1 << 4);
    /// Ideographs.
    pub(super) const IDEOGRAPH: Self = Self(1 << 5);
    /// White space.
    pub(super) const SPACE: Self = Self(1 << 6);
    /// The letters of flags.
    pub(super) const FLAG: Self = Self(1 << 7);
    /// Emoji.
    pub(super) const PICTOGRAPH: Self = Self(1 << 8);
    /// Variation selectors and skin tones.
    pub(super) const PICTOGRAPH_MODIFIER: Self = Self(1 << 9);
    /// What may precede the `@` of an address.
    pub(super) const MAILBOX: Self = Self(1 << 10);
    /// A part of the domain of an address.
    pub(super) const MAIL_DOMAIN: Self = Self(1 << 11);
    /// A part of the name of a host.
    pub(super) const HOST: Self = Self(1 << 12);
    /// What ends a link.
    pub(super) const LINK_END: Self = Self(1 << 13);
    /// Punctuation that belongs to the sentence if it follows a link.
    pub(super) const LINK_TRAIL: Self = Self(1 << 14);
    /// Hyphens and apostrophes.
    pub(super) const JOINER: Self = Self(1 << 15);

    /// Whether `class` is one of these classes.
    #[inline]
    pub(super) fn contains(self, class: Self) -> bool {
        self.0 & class.0 != 0
    }

    /// Every class with its definition.
    const DEFINITIONS: [(Self, &str); 16] = [
        (Self::LETTER, r"\p{L}"),
        (Self::NUMBER, r"\p{N}"),
        (Self::MARK, r"\p{M}"),
        (Self::WORD, r"[\p{L}\p{M}\p{N}_\p{Cf}]"),
        (Self::BOUND, r"\w"),
        (Self::IDEOGRAPH, r"\p{Han}"),
        (Self::SPACE, r"\s"),
        (Self::FLAG, r"\p{Regional_Indicator}"),
        (Self::PICTOGRAPH, r"\p{Extended_Pictographic}"),
        (Self::PICTOGRAPH_MODIFIER, r"[\x{FE0F}\x{FE0E}\p{Emoji_Modifier}]"),
        (Self::MAILBOX, r"[\p{L}\p{N}._%+-]"),
        (Self::MAIL_DOMAIN, r"[\p{L}\p{N}-]"),
        // Includes the long s and the Kelvin sign, which fold to ASCII letters.
        (Self::HOST, r"(?i:[a-z0-9-])"),
        (Self::LINK_END, r#"[\s<>"“”]"#),
        (Self::LINK_TRAIL, r"[.,;:!?'’)\]}…]"),
        (Self::JOINER, r"[-‐‑'’]"),
    ];
}

const BLOCK: usize = 1 << 8;
const CODE_POINTS: usize = char::MAX as usize + 1;

/// The classes of every character. Equal blocks of characters are stored once: about 100 kB.
pub(super) struct CharClasses {
    /// Where the block of a character starts in `classes`.
    starts: Vec<u32>,
    classes: Vec<u16>,
}

impl CharClasses {
    /// The table, which is built at its first use.
    pub(super) fn table() -> &'static Self {
        static TABLE: LazyLock<CharClasses> = LazyLock::new(CharClasses::build);
        &TABLE
    }

    /// Whether a character is of a class.
    #[inline]
    pub(super) fn is(&self, c: char, class: CharClass) -> bool {
        self.of(c).contains(class)
    }

    /// All classes of a character.
    #[inline]
    pub(super) fn of(&self, c: char) -> CharClass {
        #[cfg(test)]
        lookups::count();
        let code = c as usize;
        let start = self.starts.get(code / BLOCK).copied().unwrap_or_default();
        let of = self.classes.get(start as usize + code % BLOCK);
        CharClass(of.copied().unwrap_or_default())
    }

    fn build() -> Self {
        let mut flat = vec![0_u16; CODE_POINTS];
        for (class, definition) in CharClass::DEFINITIONS {
            for (first, last) in ranges(definition) {
                for of in flat.get_mut(first..=last).into_iter().flatten() {
                    *of |= class.0;
                }
            }
        }
        let (mut starts, mut classes) = (Vec::new(), Vec::new());
        let mut known: HashMap<&[u16], u32> = HashMap::new();
        for block in flat.chunks(BLOCK) {
            let start = *known.entry(block).or_insert_with(|| {
                let start = classes.len() as u32;
                classes.extend_from_slice(block);
                start
            });
            starts.push(start);
        }
        Self { starts, classes }
    }
}

/// The first and the last character of each range of a class.
fn ranges(definition: &str) -> Vec<(usize, usize)> {
    match regex_syntax::parse(definition).map(Hir::into_kind) {
        Ok(HirKind::Class(Class::Unicode(class))) => {
            let ranges = class.iter();
            ranges
                .map(|range| (range.start() as usize, range.end() as usize))
                .collect()
        }
        // The definitions are constants, and a test parses each of them.
        _ => Vec::new(),
    }
}

/// Counts lookups, to bound the work of a text in tests.
#[cfg(test)]
pub(super) mod lookups {
    use std::cell::Cell;

    thread_local! {
        static COUNT: Cell<usize> = const { Cell::new(0) };
    }

    pub(in crate::split) fn count() {
        COUNT.with(|count| count.set(count.get() + 1));
    }

    /// The number of lookups on this thread since the last call.
    pub(in crate::split) fn take() -> usize {
        COUNT.with(Cell::take)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use regex::Regex;

    #[test]
    fn every_class_is_that_of_its_pattern() {
        let table = CharClasses::table();
        for (class, definition) in CharClass::DEFINITIONS {
            assert!(!ranges(definition).is_empty(), "{definition}");
            let pattern = Regex::new(&format!("^(?:{definition})$")).unwrap();
            for c in ('\0'..='\u{3100}')
                .chain('\u{fe00}'..='\u{ffff}')
                .chain('\u{1f000}'..='\u{1fbff}')
            {
                let text = c.encode_utf8(&mut [0; 4]).to_owned();
                assert_eq!(table.is(c, class), pattern.is_match(&text), "{definition} {c:?}");
            }
        }
    }
}
