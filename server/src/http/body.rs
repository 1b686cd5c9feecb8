//! The body of a request.

use std::sync::Arc;
use std::time::Duration;

use actix_web::http::header::{CONTENT_LENGTH, CONTENT_TYPE, HeaderName};
use actix_web::{HttpRequest, web};
use futures_util::StreamExt;
use nerve_engine::{MemoryBudget, MemoryPermit, RequestError, Tagger};
use tokio::task::yield_now;
use tokio::time::timeout;

use crate::http::coding::Coding;
use crate::http::decompress::{BodyError, BodyStream, DECODER_BYTES};
use crate::http::error::ApiError;

/// The limits of a body.
#[derive(Clone, Debug)]
pub(crate) struct BodyLimits {
    /// Bytes of the body, decompressed.
    pub(crate) bytes: usize,
    /// Time for the body to arrive.
    pub(crate) time: Duration,
    /// The memory of all requests.
    pub(crate) budget: MemoryBudget,
}

/// Memory of an element of an array, for each comma of a JSON body: a short string, and its space in a vector that grows
/// by doubling.
const ELEMENT_BYTES: usize = 64;
/// Bytes of JSON for each word that the threshold of [`Tagger::run_sized`] counts: 64 kB are parsed on the tokenizer
/// threads.
const BYTES_PER_WORD: usize = 32;

/// The first bytes of every gzip stream, and of no JSON.
const GZIP: &[u8] = b"\x1f\x8b";

/// The body of a request, and its memory.
#[derive(Debug)]
pub(crate) struct RequestBody {
    pub(crate) bytes: web::Bytes,
    permit: MemoryPermit,
}

impl RequestBody {
    /// What `read` makes of the body, and the memory that the request holds from now on. A large body is read on the
    /// tokenizer threads.
    pub(crate) async fn parsed<T, E>(
        self,
        tagger: &Arc<Tagger>,
        read: impl FnOnce(&[u8], &Tagger) -> Result<T, E> + Send + 'static,
    ) -> Result<(T, MemoryPermit), E>
    where
        T: Send + 'static,
        E: From<ApiError> + Send + 'static,
    {
        let Self { bytes, mut permit } = self;
        let words = bytes.len() / BYTES_PER_WORD;
        let reader = Arc::clone(tagger);
        let task = move || {
            // The body, and the values parsed from it.
            let needed = 2 * bytes.len() + commas(&bytes) * ELEMENT_BYTES;
            permit.resize(needed).map_err(ApiError::Memory)?;
            Ok((read(&bytes, &reader)?, permit))
        };
        let done = tagger.run_sized(words, task).await;
        done.map_err(|_panicked| ApiError::Unwritable)?
    }
}

/// The number of commas of JSON that are not in strings.
fn commas(json: &[u8]) -> usize {
    let (mut commas, mut in_string, mut escaped) = (0, false, false);
    for &byte in json {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = in_string,
            b'"' => in_string = !in_string,
            b',' => commas += usize::from(!in_string),
            _ => {}
        }
    }
    commas
}

/// The body of a JSON request.
pub(crate) async fn read_body(
    request: &HttpRequest,
    payload: web::Payload,
    limits: BodyLimits,
) -> Result<RequestBody, ApiError> {
    if !header(request, &CONTENT_TYPE).is_some_and(is_json) {
        return Err(ApiError::UnsupportedMediaType);
    }
    read_limited(request, payload, limits).await
}

/// The body of a request, decompressed.
pub(crate) async fn read_limited(
    request: &HttpRequest,
    payload: web::Payload,
    limits: BodyLimits,
) -> Result<RequestBody, ApiError> {
    let coding = Coding::of_body(request.headers())?;
    let limit = limits.bytes;
    let announced = header(request, &CONTENT_LENGTH).and_then(|value| value.parse::<u64>().ok());
    if announced.is_some_and(|bytes| bytes > limit as u64) {
        return Err(ApiError::BodyTooLarge { limit });
    }
    let time = limits.time;
    let arriving = arrive(BodyStream::new(payload, coding), &limits);
    match timeout(time, arriving).await {
        Ok(arrived) => arrived,
        Err(_) => Err(ApiError::BodyTooSlow { limit: time }),
    }
}

/// The body once it has arrived. Its bytes are charged as they come.
async fn arrive(mut payload: BodyStream<web::Payload>, limits: &BodyLimits) -> Result<RequestBody, ApiError> {
    let mut permit = limits.budget.permit();
    let mut decoder = limits.budget.permit();
    let is_compressed = matches!(payload, BodyStream::Compressed(..));
    if is_compressed {
        decoder.grow(DECODER_BYTES)?;
    }
    let mut body = web::BytesMut::new();
    while let Some(chunk) = payload.next().await {
        let chunk = chunk.map_err(|error| match error {
            BodyError::Payload => ApiError::BodyUnreadable,
            BodyError::Corrupt(coding) => ApiError::BodyCorrupt { coding },
        })?;
        if body.len() + chunk.len() > limits.bytes {
            return Err(ApiError::BodyTooLarge { limit: limits.bytes });
        }
        permit.grow(chunk.len())?;
        body.extend_from_slice(&chunk);
        if is_compressed {
            // A few compressed bytes can hold megabytes.
            yield_now().await;
        }
    }
    if !is_compressed && body.starts_with(GZIP) {
        let problem = "the body looks like gzip; send `content-encoding: gzip`".to_owned();
        return Err(RequestError::Malformed { problem }.into());
    }
    Ok(RequestBody {
        bytes: body.freeze(),
        permit,
    })
}

/// Whether the body is declared to be JSON lines.
pub(crate) fn declares_lines(request: &HttpRequest) -> bool {
    header(request, &CONTENT_TYPE).is_some_and(is_json_lines)
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
    fn commas_in_strings_are_text() {
        assert_eq!(commas(br#"{"a": [1, 2], "b,\",\\": ",,,", "c": 3}"#), 3);
        assert_eq!(commas(br#"["", "", ""]"#), 2);
    }

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
