//! The trace spans of a request, and of writing its answer.
//!
//! They are created only if a subscriber records them, which is the exporter of the feature `otlp`. Names and fields
//! follow OpenTelemetry's conventions for HTTP servers.

use actix_web::http::StatusCode;
use actix_web::http::header::HeaderMap;
use nerve_engine::{TRACE_TARGET, TextModel};
use tracing::field::Empty;
use tracing::{Span, debug_span};

use crate::http::route::Route;

/// The span of a tagging or admin request, whose parent is the client's `traceparent`.
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

/// The span of a gRPC call that tags texts, whose parent is the client's `traceparent`.
pub(crate) fn call(route: Route, id: &str, model: &TextModel, traceparent: Option<&str>) -> Span {
    let (service, method) = route
        .name()
        .trim_start_matches('/')
        .split_once('/')
        .unwrap_or_default();
    let span = debug_span!(
        target: TRACE_TARGET,
        "call",
        otel.name = format!("{service}/{method}"),
        otel.kind = "server",
        rpc.system = "grpc",
        rpc.service = service,
        rpc.method = method,
        nerve.request.id = id,
        nerve.model.name = model.name,
        nerve.model.version = model.version,
    );
    #[cfg(feature = "otlp")]
    crate::otlp::continue_call(&span, traceparent);
    #[cfg(not(feature = "otlp"))]
    let _unread = traceparent;
    span
}

/// Records the status of the answer.
pub(crate) fn answered(span: &Span, status: StatusCode) {
    span.record("http.response.status_code", status.as_u16());
    if status.is_server_error() {
        span.record("otel.status_code", "ERROR");
    }
}

/// The span from word labels to the answer's bytes.
pub(crate) fn decode() -> Span {
    debug_span!(target: TRACE_TARGET, "decode")
}
