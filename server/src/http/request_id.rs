//! The id of a request, and the id of its trace.

use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicU64, Ordering};

use actix_web::http::header::{HeaderMap, HeaderName, HeaderValue, InvalidHeaderValue};

pub(crate) const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const LONGEST_ID: usize = 128;
/// W3C Trace Context: `version-traceid-parentid-flags`.
const TRACE_PARENT: HeaderName = HeaderName::from_static("traceparent");

/// Generates request ids: distinct between processes, consecutive within a process.
pub(crate) struct RequestIds {
    process: u64,
    next: AtomicU64,
}

impl Default for RequestIds {
    fn default() -> Self {
        // The standard library seeds its hashers from the system's random source.
        Self {
            process: RandomState::new().hash_one("nerve"),
            next: AtomicU64::new(1),
        }
    }
}

impl RequestIds {
    fn next(&self) -> String {
        format!(
            "{:016x}-{:x}",
            self.process,
            self.next.fetch_add(1, Ordering::Relaxed)
        )
    }

    /// The request's own id, or a new one.
    pub(crate) fn of(&self, headers: &HeaderMap) -> Result<HeaderValue, InvalidHeaderValue> {
        let given = headers.get(&REQUEST_ID).and_then(|id| id.to_str().ok());
        HeaderValue::try_from(self.or_next(given))
    }

    /// The given id if it is valid, or a new one.
    pub(crate) fn or_next(&self, given: Option<&str>) -> String {
        match given.filter(|id| is_request_id(id.as_bytes())) {
            Some(id) => id.to_owned(),
            None => self.next(),
        }
    }
}

/// The trace id of the request's `traceparent`, if it has a valid one.
pub(crate) fn trace_of(headers: &HeaderMap) -> Option<String> {
    headers.get(&TRACE_PARENT).and_then(trace_id)
}

/// The trace id of a `traceparent`, if it is valid.
fn trace_id(value: &HeaderValue) -> Option<String> {
    let mut parts = value.to_str().ok()?.split('-');
    let (version, trace, parent, flags) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
    let is_hex = |part: &str, length| {
        let mut digits = part.bytes();
        part.len() == length && digits.all(|digit| matches!(digit, b'0'..=b'9' | b'a'..=b'f'))
    };
    let known = is_hex(version, 2) && version != "ff" && (version != "00" || parts.next().is_none());
    let named = is_hex(trace, 32) && trace.bytes().any(|digit| digit != b'0');
    let whole = known && named && is_hex(parent, 16) && is_hex(flags, 2);
    whole.then(|| trace.to_owned())
}

fn is_request_id(id: &[u8]) -> bool {
    (1..=LONGEST_ID).contains(&id.len()) && id.iter().all(u8::is_ascii_graphic)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_of_visible_ascii_are_kept() {
        assert!(is_request_id(b"a-1") && is_request_id(&[b'x'; 128]));
        assert!(!is_request_id(b"") && !is_request_id(b"a b") && !is_request_id(&[b'x'; 129]));
        assert!(!is_request_id("é".as_bytes()));
    }

    #[test]
    fn a_trace_is_named_by_a_valid_traceparent() {
        let trace = |text: &str| trace_id(&HeaderValue::from_str(text).unwrap());
        let id = "4bf92f3577b34da6a3ce929d0e0e4736";
        assert_eq!(
            trace(&format!("00-{id}-00f067aa0ba902b7-01")).as_deref(),
            Some(id)
        );
        assert_eq!(
            trace(&format!("01-{id}-00f067aa0ba902b7-01-more")).as_deref(),
            Some(id)
        );
        for wrong in [
            format!("00-{id}-00f067aa0ba902b7"),
            format!("ff-{id}-00f067aa0ba902b7-01"),
            format!("00-{}-00f067aa0ba902b7-01", "0".repeat(32)),
            format!("00-{}-00f067aa0ba902b7-01", id.to_uppercase()),
            format!("00-{id}-00f067aa0ba902b7-01-more"),
            String::new(),
        ] {
            assert_eq!(trace(&wrong), None, "{wrong}");
        }
    }

    #[test]
    fn new_ids_are_valid_and_differ() {
        let ids = RequestIds::default();
        let (first, second) = (ids.next(), ids.next());
        assert!(is_request_id(first.as_bytes()) && first != second);
    }
}
