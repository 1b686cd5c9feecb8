//! The body of a request.

use std::time::Duration;

use actix_web::http::header::{CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, HeaderName};
use actix_web::{HttpMessage, HttpRequest, web};
use futures_util::StreamExt;
use nerve_engine::{MemoryBudget, MemoryPermit};
use tokio::time::timeout;

use crate::http::error::ApiError;

/// The limits of a body.
#[derive(Clone, Debug)]
pub(crate) struct BodyLimits {
    /// Bytes of the body.
    pub(crate) bytes: usize,
    /// Time for the body to arrive.
    pub(crate) time: Duration,
    /// The memory of all requests.
    pub(crate) budget: MemoryBudget,
}

/// The body of a JSON request.
pub(crate) async fn read_body(
    request: &HttpRequest,
    payload: web::Payload,
    limits: BodyLimits,
) -> Result<web::Bytes, ApiError> {
    if is_encoded(request) || !header(request, &CONTENT_TYPE).is_some_and(is_json) {
        return Err(ApiError::UnsupportedMediaType);
    }
    read_limited(request, payload, limits).await
}

/// The body of a request.
pub(crate) async fn read_limited(
    request: &HttpRequest,
    payload: web::Payload,
    limits: BodyLimits,
) -> Result<web::Bytes, ApiError> {
    let limit = limits.bytes;
    let announced = header(request, &CONTENT_LENGTH).and_then(|value| value.parse::<u64>().ok());
    if announced.is_some_and(|bytes| bytes > limit as u64) {
        return Err(ApiError::BodyTooLarge { limit });
    }
    let time = limits.time;
    match timeout(time, arrive(payload, &limits)).await {
        Ok(arrived) => {
            let (body, permit) = arrived?;
            // Held until the answer is written: the values parsed from a body are about as large as the body.
            request.extensions_mut().insert(permit);
            Ok(body)
        }
        Err(_) => Err(ApiError::BodyTooSlow { limit: time }),
    }
}

/// The body, and the bytes it takes from the budget.
async fn arrive(
    mut payload: web::Payload,
    limits: &BodyLimits,
) -> Result<(web::Bytes, MemoryPermit), ApiError> {
    let mut body = web::BytesMut::new();
    let mut permit = limits.budget.permit();
    while let Some(chunk) = payload.next().await {
        let chunk = chunk.map_err(|_| ApiError::BodyUnreadable)?;
        if body.len() + chunk.len() > limits.bytes {
            return Err(ApiError::BodyTooLarge { limit: limits.bytes });
        }
        permit.grow(chunk.len())?;
        body.extend_from_slice(&chunk);
    }
    Ok((body.freeze(), permit))
}

/// Whether the body is declared to be JSON lines, and is not compressed.
pub(crate) fn declares_lines(request: &HttpRequest) -> bool {
    !is_encoded(request) && header(request, &CONTENT_TYPE).is_some_and(is_json_lines)
}

/// Whether the body is compressed.
pub(crate) fn is_encoded(request: &HttpRequest) -> bool {
    header(request, &CONTENT_ENCODING).is_some_and(|value| !value.eq_ignore_ascii_case("identity"))
}

/// The value of a header, if it is text.
pub(crate) fn header<'r>(request: &'r HttpRequest, name: &HeaderName) -> Option<&'r str> {
    request.headers().get(name)?.to_str().ok()
}

/// The names of the media type of JSON lines, none of which is registered.
fn is_json_lines(content_type: &str) -> bool {
    const NAMES: [&str; 5] = ["ndjson", "jsonl", "jsonlines", "json-lines", "nljson"];
    let essence = essence(content_type).to_ascii_lowercase();
    let name = essence.strip_prefix("application/").unwrap_or_default();
    NAMES.contains(&name.strip_prefix("x-").unwrap_or(name))
}

/// A media type without its parameters.
pub(crate) fn essence(content_type: &str) -> &str {
    content_type.split(';').next().unwrap_or_default().trim()
}

pub(crate) fn is_json(content_type: &str) -> bool {
    let essence = essence(content_type);
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
    fn json_lines_media_types() {
        for yes in [
            "application/x-ndjson",
            "Application/NDJSON; charset=utf-8",
            "application/jsonl",
            "application/x-json-lines",
        ] {
            assert!(is_json_lines(yes), "{yes}");
        }
        for no in ["application/json", "text/plain", "x-ndjson", ""] {
            assert!(!is_json_lines(no), "{no}");
        }
    }
}
