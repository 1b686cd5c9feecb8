//! A JSON object to a request.

use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::error::Category;

use crate::request::error::RequestError;

/// Parses a JSON object. Text that is not JSON is a different error from JSON of the wrong shape.
pub fn parse<'a, T: Deserialize<'a>>(json: &'a [u8]) -> Result<T, RequestError> {
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
    RequestError::Malformed {
        problem: error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
