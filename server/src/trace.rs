//! The span of a request, and of the writing of its answer.
//!
//! They are made where something listens for them, which is the exporter of the feature `otlp`, and cost nothing elsewhere.
//! Names and fields follow OpenTelemetry's conventions for HTTP servers.

use actix_web::http::StatusCode;
use actix_web::http::header::HeaderMap;
use nerve_engine::{TRACE_TARGET, TextModel};
use tracing::field::Empty;
use tracing::{Span, debug_span};

use crate::http::route::Route;

/// The span of a request to tag or of an order, both `POST`; a client's `traceparent` is its parent.
pub(crate) fn request(route: Route, id: &str, model: &TextModel, headers: &HeaderMap) -> Span {
    let span = debug_span!(
        target: TRACE_TARGET,
        "request",
        otel.name = format!("POST {}", route.name()),
        otel.kind = "server",
        otel.status_code = Empty,
        http.request.method = "POST",
        http.route = route.name(),
        http.response.status_code = Empty,
        nerve.request.id = id,
        nerve.model.name = model.name,
        nerve.model.version = model.version,
    );
    #[cfg(feature = "otlp")]
    crate::otlp::continue_trace(&span, headers);
    #[cfg(not(feature = "otlp"))]
    let _unread = headers;
    span
}

/// Notes how a request was answered.
pub(crate) fn answered(span: &Span, status: StatusCode) {
    span.record("http.response.status_code", status.as_u16());
    if status.is_server_error() {
        span.record("otel.status_code", "ERROR");
    }
}

/// The way from word labels to the answer's bytes.
pub(crate) fn decode() -> Span {
    debug_span!(target: TRACE_TARGET, "decode")
}
