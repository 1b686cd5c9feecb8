//! A JSON object to a request.

use nerve_tagging::{EncodingError, is_utf16, without_byte_order_mark};
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::error::Category;

use crate::request::error::RequestError;

/// Parses a JSON object, which a byte order mark may precede. Text that is not JSON is a different error from JSON of the
/// wrong shape.
pub fn parse<'a, T: Deserialize<'a>>(json: &'a [u8]) -> Result<T, RequestError> {
    if is_utf16(json) {
        return Err(RequestError::Malformed {
            problem: EncodingError::Utf16.to_string(),
        });
    }
    let json = without_byte_order_mark(json);
    // Serde also accepts an array, whose elements are the fields in order.
    let is_object = json.trim_ascii_start().first() == Some(&b'{');
    let problem = match serde_json::from_slice(json) {
        Ok(value) if is_object => return Ok(value),
        Err(error) if error.classify() != Category::Data => return Err(malformed(&error)),
        Err(error) if is_object => error.to_string(),
        Ok(_) | Err(_) => "a JSON object is expected".to_owned(),
    };
    // The parser stops at the first wrong field; what follows may not be JSON.
    match serde_json::from_slice::<IgnoredAny>(json) {
        Err(error) => Err(malformed(&error)),
        Ok(_) => Err(RequestError::Shape { problem }),
    }
}

fn malformed(error: &serde_json::Error) -> RequestError {
    // What the parser says of any other word than `true`, `false` and `null`.
    let problem = error.to_string().replace("expected ident", "unknown word");
    RequestError::Malformed { problem }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_byte_order_mark_is_no_part_of_a_body() {
        let parsed = parse::<serde_json::Value>("\u{feff} {\"a\": 1}".as_bytes());
        assert_eq!(parsed.unwrap()["a"], 1);
        let utf16 = parse::<serde_json::Value>(b"\xff\xfe{\0}\0").unwrap_err();
        assert!(
            utf16.to_string().contains("UTF-16; convert it to UTF-8"),
            "{utf16}"
        );
    }

    #[test]
    fn no_json_and_json_of_another_shape_differ() {
        let malformed: [&[u8]; 5] = [b"", b"{", b"[1,]", b"1 2", b"\"\xff\""];
        for json in malformed {
            assert!(
                matches!(parse::<Vec<u8>>(json), Err(RequestError::Malformed { .. })),
                "{json:?}"
            );
        }
        let deep = "[".repeat(100_000);
        assert!(matches!(
            parse::<serde_json::Value>(deep.as_bytes()),
            Err(RequestError::Malformed { .. })
        ));
        let wrong: [&[u8]; 3] = [b"{}", b" [1]", b"null"];
        for json in wrong {
            assert!(
                matches!(parse::<Vec<u8>>(json), Err(RequestError::Shape { .. })),
                "{json:?}"
            );
        }
    }
}
