//! The text of a file or a request: UTF-8, without the byte order mark that some editors write before it.

use std::io;
use std::str::Utf8Error;

use thiserror::Error;

const BYTE_ORDER_MARK: &[u8] = "\u{feff}".as_bytes();
/// How UTF-16 text begins, in each byte order. UTF-8 never does.
const UTF_16: [&[u8]; 2] = [&[0xff, 0xfe], &[0xfe, 0xff]];

/// Why bytes are no text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum EncodingError {
    /// The bytes are UTF-16.
    #[error("the text is UTF-16; convert it to UTF-8")]
    Utf16,
    /// The bytes are not UTF-8.
    #[error("not UTF-8 after {valid} bytes")]
    NotUtf8 {
        /// The number of valid bytes before the first invalid one.
        valid: usize,
    },
}

impl EncodingError {
    fn new(bytes: &[u8], error: Utf8Error) -> Self {
        match is_utf16(bytes) {
            true => Self::Utf16,
            false => Self::NotUtf8 {
                valid: error.valid_up_to(),
            },
        }
    }
}

/// The bytes without a byte order mark at their start.
pub fn without_byte_order_mark(bytes: &[u8]) -> &[u8] {
    bytes.strip_prefix(BYTE_ORDER_MARK).unwrap_or(bytes)
}

/// Whether the bytes begin as UTF-16 text does.
pub fn is_utf16(bytes: &[u8]) -> bool {
    UTF_16.iter().any(|mark| bytes.starts_with(mark))
}

/// The text of these bytes, with a byte order mark if they have one.
pub fn decode_utf8(bytes: &[u8]) -> Result<&str, EncodingError> {
    std::str::from_utf8(bytes).map_err(|error| EncodingError::new(bytes, error))
}

/// The content of a file as text, without a byte order mark: `std::fs::read(path).and_then(into_text)`.
pub fn into_text(mut bytes: Vec<u8>) -> io::Result<String> {
    let mark = bytes.len() - without_byte_order_mark(&bytes).len();
    bytes.drain(..mark);
    String::from_utf8(bytes).map_err(|error| {
        let problem = EncodingError::new(error.as_bytes(), error.utf8_error());
        io::Error::new(io::ErrorKind::InvalidData, problem)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_loses_its_byte_order_mark_and_nothing_else() {
        for (bytes, text) in [("\u{feff}a\u{feff}", "a\u{feff}"), ("a", "a"), ("\u{feff}", "")] {
            assert_eq!(into_text(bytes.into()).unwrap(), text);
            assert_eq!(decode_utf8(bytes.as_bytes()), Ok(bytes));
        }
    }

    #[test]
    fn other_encodings_are_named() {
        for bytes in [&b"\xff\xfea\0"[..], b"\xfe\xff\0a"] {
            assert_eq!(decode_utf8(bytes), Err(EncodingError::Utf16));
        }
        assert_eq!(decode_utf8(b"ab\xe9"), Err(EncodingError::NotUtf8 { valid: 2 }));
        let problem = into_text(b"\xff\xfea\0".to_vec()).unwrap_err().to_string();
        assert_eq!(problem, "the text is UTF-16; convert it to UTF-8");
    }
}
