//! The spans of a request: itself, and the stages of its answer.
//!
//! They are made where something listens for them, which is the exporter of the feature `otlp`, and cost nothing elsewhere.
//! Names and fields follow OpenTelemetry's conventions for HTTP servers.

use std::future::Future;

use actix_web::http::StatusCode;
use actix_web::http::header::HeaderMap;
use tracing::field::Empty;
use tracing::instrument::{Instrument, Instrumented};
use tracing::{Span, debug_span};

use crate::http::Route;
use crate::pipeline::TextModel;

/// What tells these spans from others.
pub(crate) const TARGET: &str = "nerve_server::trace";

/// The span of a request to tag or of an order, both `POST`; a client's `traceparent` is its parent.
pub(crate) fn request(route: Route, id: &str, model: &TextModel, headers: &HeaderMap) -> Span {
    let span = debug_span!(
        target: TARGET,
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

/// Splitting and encoding a request's texts.
pub(crate) fn tokenize<F: Future>(texts: usize, work: F) -> Instrumented<F> {
    work.instrument(debug_span!(target: TARGET, "tokenize", nerve.texts = texts))
}

/// A window's wait for a worker.
pub(crate) fn queue(request: &Span, tokens: usize) -> Span {
    match request.is_disabled() {
        true => Span::none(),
        false => debug_span!(target: TARGET, parent: request, "queue", nerve.tokens = tokens),
    }
}

/// The run of a window's batch.
pub(crate) fn inference(request: &Span, windows: usize, positions: usize) -> Span {
    match request.is_disabled() {
        true => Span::none(),
        false => debug_span!(
            target: TARGET,
            parent: request,
            "inference",
            nerve.batch.windows = windows,
            nerve.batch.tokens = positions
        ),
    }
}

/// The way from word labels to the answer's bytes.
pub(crate) fn decode() -> Span {
    debug_span!(target: TARGET, "decode")
}
