//! What every request gets: an id, a line in the log, a place in the counters.

use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use actix_web::body::MessageBody;
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::header::{HeaderName, HeaderValue};
use actix_web::http::{Method, StatusCode};
use actix_web::middleware::Next;
use actix_web::{Error, HttpMessage, HttpResponse, ResponseError};
use tracing::{Instrument, Span, debug, warn};

use crate::http::served::Served;
use crate::http::v2::V2Error;
use crate::http::{ApiError, AppState, Route};
use crate::metrics::{CLIENT_LEFT, Metrics};
use crate::pipeline::Tagger;
use crate::trace;

pub(crate) const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// Browsers show it beside their own clock's time.
const SERVER_TIMING: HeaderName = HeaderName::from_static("server-timing");
const LONGEST_ID: usize = 128;
/// W3C Trace Context: `version-traceid-parentid-flags`.
const TRACE_PARENT: HeaderName = HeaderName::from_static("traceparent");

/// New request ids: unlike those of other processes, and of one process in order.
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
}

/// Counts the request as one whose client left, unless it is told the status first.
struct Counted {
    metrics: Arc<Metrics>,
    served: Arc<Tagger>,
    route: Route,
    tags: bool,
    began: Instant,
    status: u16,
    refused: bool,
}

impl Drop for Counted {
    fn drop(&mut self) {
        let took = self.began.elapsed();
        self.metrics
            .request_ended(self.route, self.status, self.refused, took);
        if self.tags {
            self.served.of_model.request_ended(self.status);
        }
    }
}

/// Answers with the inner service's answer and the request's id, and counts it.
pub(crate) async fn observe<B: MessageBody>(
    state: AppState,
    request: ServiceRequest,
    next: Next<B>,
) -> Result<ServiceResponse<B>, Error> {
    let metrics = &state.models.shared.metrics;
    // The path as the router matches it: percent-encoding makes no other route of it.
    let path = request.match_info().as_str();
    let route = Route::of_path(path);
    let began = Instant::now();
    let given = request
        .headers()
        .get(&REQUEST_ID)
        .filter(|id| is_request_id(id.as_bytes()))
        .cloned();
    let id = match given {
        Some(id) => id,
        None => HeaderValue::try_from(state.request_ids.next())?,
    };
    let trace = request.headers().get(&TRACE_PARENT).and_then(trace_id);
    let served = state.models.choose(id.as_bytes(), route.named(path));
    metrics.request_began();
    // The future is dropped, and this with it, when the client closes the connection.
    let mut counted = Counted {
        metrics: Arc::clone(metrics),
        served: Arc::clone(&served),
        route,
        tags: route.is_tagging() && request.method() == Method::POST,
        began,
        status: CLIENT_LEFT,
        refused: false,
    };
    let span = match request.method() == Method::POST && (route.is_tagging() || route.is_admin()) {
        true => trace::request(
            route,
            id.to_str().unwrap_or_default(),
            &served.model,
            request.headers(),
        ),
        false => Span::none(),
    };
    request.extensions_mut().insert(Served(served));
    let answered = next.call(request).instrument(span.clone()).await;
    let error = match &answered {
        Ok(response) => response.response().error(),
        Err(error) => Some(error),
    };
    let error = error.and_then(|error| match error.as_error::<V2Error>() {
        Some(error) => error.api(),
        None => error.as_error::<ApiError>(),
    });
    if let Some(error) = error {
        metrics.refusal(error);
        counted.refused = error.refusal().is_some();
    }
    let status = match &answered {
        Ok(response) => response.status(),
        Err(error) => error.as_response_error().status_code(),
    };
    counted.status = status.as_u16();
    trace::answered(&span, status);
    let (seconds, id_shown) = (
        counted.began.elapsed().as_secs_f64(),
        id.to_str().unwrap_or_default(),
    );
    // A 503 says that the server is busy or not ready, which health checks ask for every second.
    if status == StatusCode::INTERNAL_SERVER_ERROR {
        warn!(
            id = id_shown,
            trace,
            route = route.name(),
            status = status.as_u16(),
            seconds,
            "request failed"
        );
    } else {
        debug!(
            id = id_shown,
            trace,
            route = route.name(),
            status = status.as_u16(),
            seconds,
            "request answered"
        );
    }
    let timing = HeaderValue::try_from(format!("total;dur={:.2}", seconds * 1000.0))?;
    let headers = [(REQUEST_ID, id), (SERVER_TIMING, timing)];
    let mut response = answered.map_err(|error| Headed {
        error,
        headers: headers.clone(),
    })?;
    for (name, value) in headers {
        response.headers_mut().insert(name, value);
    }
    Ok(response)
}

/// An error whose response has these headers too.
#[derive(Debug)]
struct Headed {
    error: Error,
    headers: [(HeaderName, HeaderValue); 2],
}

impl std::fmt::Display for Headed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.error.fmt(f)
    }
}

impl ResponseError for Headed {
    fn status_code(&self) -> StatusCode {
        self.error.as_response_error().status_code()
    }

    fn error_response(&self) -> HttpResponse {
        let mut response = self.error.error_response();
        for (name, value) in &self.headers {
            response.headers_mut().insert(name.clone(), value.clone());
        }
        response
    }
}

/// The trace that a `traceparent` names; absent where it is none.
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
