//! A request body to the value it spells.

use actix_web::http::header::{CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, HeaderName};
use actix_web::{HttpRequest, web};
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::error::Category;

use crate::http::error::{ApiError, InvalidRequest};

/// The whole body of a JSON request, at most `limit` bytes.
pub(crate) async fn read_body(
    request: &HttpRequest,
    payload: web::Payload,
    limit: usize,
) -> Result<web::Bytes, ApiError> {
    let encoded =
        header(request, &CONTENT_ENCODING).is_some_and(|value| !value.eq_ignore_ascii_case("identity"));
    if encoded || !header(request, &CONTENT_TYPE).is_some_and(is_json) {
        return Err(ApiError::UnsupportedMediaType);
    }
    let announced = header(request, &CONTENT_LENGTH).and_then(|value| value.parse::<u64>().ok());
    if announced.is_some_and(|bytes| bytes > limit as u64) {
        return Err(ApiError::BodyTooLarge { limit });
    }
    match payload.to_bytes_limited(limit).await {
        Ok(Ok(body)) => Ok(body),
        Ok(Err(_)) => Err(ApiError::BodyUnreadable),
        Err(_) => Err(ApiError::BodyTooLarge { limit }),
    }
}

/// The value a JSON text spells; what is no JSON at all is another error than JSON of the wrong shape.
pub(crate) fn parse<'a, T: Deserialize<'a>>(json: &'a [u8]) -> Result<T, ApiError> {
    let wrong_shape = match serde_json::from_slice(json) {
        Ok(value) => return Ok(value),
        Err(error) if error.classify() != Category::Data => return Err(malformed(&error)),
        Err(error) => error,
    };
    // The parser stops at the first wrong field, so the rest has not been read.
    match serde_json::from_slice::<IgnoredAny>(json) {
        Err(error) => Err(malformed(&error)),
        Ok(_) => Err(ApiError::Invalid(InvalidRequest::Shape {
            problem: wrong_shape.to_string(),
        })),
    }
}

fn malformed(error: &serde_json::Error) -> ApiError {
    ApiError::MalformedJson {
        problem: error.to_string(),
    }
}

fn header<'r>(request: &'r HttpRequest, name: &HeaderName) -> Option<&'r str> {
    request.headers().get(name)?.to_str().ok()
}

fn is_json(content_type: &str) -> bool {
    let essence = content_type.split(';').next().unwrap_or_default().trim();
    let subtype = essence.split_once('/').map_or("", |(_, subtype)| subtype);
    let structured = subtype
        .rsplit_once('+')
        .is_some_and(|(_, suffix)| suffix.eq_ignore_ascii_case("json"));
    structured || essence.eq_ignore_ascii_case("application/json")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_media_types() {
        for yes in [
            "application/json",
            "Application/JSON; charset=utf-8",
            "application/vnd.x+json",
        ] {
            assert!(is_json(yes), "{yes}");
        }
        for no in [
            "text/plain",
            "application/x-www-form-urlencoded",
            "",
            "json",
            "application/jsonl",
        ] {
            assert!(!is_json(no), "{no}");
        }
    }

    #[test]
    fn no_json_and_json_of_another_shape_differ() {
        let malformed: [&[u8]; 5] = [b"", b"{", b"[1,]", b"1 2", b"\"\xff\""];
        for json in malformed {
            assert!(
                matches!(parse::<Vec<u8>>(json), Err(ApiError::MalformedJson { .. })),
                "{json:?}"
            );
        }
        let deep = "[".repeat(100_000);
        assert!(matches!(
            parse::<serde_json::Value>(deep.as_bytes()),
            Err(ApiError::MalformedJson { .. })
        ));
        assert!(matches!(
            parse::<Vec<u8>>(b"{}"),
            Err(ApiError::Invalid(InvalidRequest::Shape { .. }))
        ));
    }
}
