//! Conversion of byte offsets to the unit that a client counts in.

use serde::{Deserialize, Serialize};

/// The unit in which offsets into a text are counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OffsetUnit {
    /// Unicode code points, as Python and the `transformers` pipeline count.
    #[default]
    Codepoint,
    /// UTF-8 bytes, as Rust and Go count.
    Byte,
    /// UTF-16 code units, as JavaScript, Java and C# count.
    Utf16,
}

const BLOCK_BYTES: usize = 64;

/// A map from byte offsets of one text to offsets in another unit. Building it takes O(n), each lookup O(1).
pub struct OffsetMap<'t> {
    text: &'t str,
    table: OffsetTable,
}

/// An [`OffsetMap`] without its text, for owners of the text.
pub struct OffsetTable {
    unit: OffsetUnit,
    /// For byte `64 * i`: the number of units before the code point that contains it, and the first byte of that code
    /// point. Empty if byte offsets need no conversion.
    blocks: Vec<(usize, usize)>,
}

impl<'t> OffsetMap<'t> {
    /// The map of `text` to `unit`.
    pub fn new(text: &'t str, unit: OffsetUnit) -> Self {
        let table = OffsetTable::new(text, unit);
        Self { text, table }
    }

    /// The offset in the map's unit. A byte offset inside a code point converts as the start of the code point, and one
    /// past the end of the text as its end.
    pub fn convert(&self, byte: usize) -> usize {
        self.table.convert(self.text, byte)
    }
}

impl OffsetTable {
    /// The table of `text` to `unit`.
    pub fn new(text: &str, unit: OffsetUnit) -> Self {
        let mut blocks = Vec::new();
        if unit != OffsetUnit::Byte && !text.is_ascii() {
            blocks.reserve(text.len() / BLOCK_BYTES + 1);
            let mut units = 0;
            for (byte, c) in text.char_indices() {
                while blocks.len() * BLOCK_BYTES < byte + c.len_utf8() {
                    blocks.push((units, byte));
                }
                units += width(c, unit);
            }
        }
        Self { unit, blocks }
    }

    /// The memory of the table in bytes.
    pub fn own_bytes(&self) -> usize {
        size_of_val(self.blocks.as_slice())
    }

    /// The offset in the table's unit of a byte of the text that the table was built for; see [`OffsetMap::convert`].
    pub fn convert(&self, text: &str, byte: usize) -> usize {
        let byte = byte.min(text.len());
        if self.blocks.is_empty() {
            return byte;
        }
        let block = (byte / BLOCK_BYTES).min(self.blocks.len() - 1);
        let (units, from) = self.blocks[block];
        let rest = text.get(from..).unwrap_or_default().char_indices();
        units
            + rest
                .take_while(|(at, c)| from + at + c.len_utf8() <= byte)
                .map(|(_, c)| width(c, self.unit))
                .sum::<usize>()
    }
}

fn width(c: char, unit: OffsetUnit) -> usize {
    match unit {
        OffsetUnit::Codepoint => 1,
        OffsetUnit::Byte => c.len_utf8(),
        OffsetUnit::Utf16 => c.len_utf16(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn an_emoji_is_one_code_point_and_two_utf16_units() {
        let text = "a😀é!";
        let at = |unit| OffsetMap::new(text, unit).convert(text.len() - 1);
        assert_eq!(at(OffsetUnit::Codepoint), 3);
        assert_eq!(at(OffsetUnit::Utf16), 4);
        assert_eq!(at(OffsetUnit::Byte), 7);
    }

    #[test]
    fn unknown_places_do_not_panic() {
        let map = OffsetMap::new("é", OffsetUnit::Codepoint);
        assert_eq!((map.convert(1), map.convert(99)), (0, 1));
        assert_eq!(OffsetMap::new("", OffsetUnit::Utf16).convert(5), 0);
    }

    proptest! {
        #[test]
        fn every_boundary_equals_a_plain_count(text in "\\PC{0,200}|[a-z😀é\u{200d}\u{301}漢\r\n]{0,300}") {
            let code_points = OffsetMap::new(&text, OffsetUnit::Codepoint);
            let utf16 = OffsetMap::new(&text, OffsetUnit::Utf16);
            for (byte, _) in text.char_indices().chain([(text.len(), ' ')]) {
                prop_assert_eq!(code_points.convert(byte), text[..byte].chars().count());
                prop_assert_eq!(utf16.convert(byte), text[..byte].encode_utf16().count());
            }
        }
    }
}
