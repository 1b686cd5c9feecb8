//! The trace spans of the stages of an answer, within the span of its request.
//!
//! They are created only if a subscriber records them. Names and fields follow OpenTelemetry's conventions.

use std::future::Future;

use tracing::instrument::{Instrument, Instrumented};
use tracing::{Span, debug_span};

/// The target of these spans.
pub const TRACE_TARGET: &str = "nerve_server::trace";

/// Splitting and tokenizing a request's texts.
pub(crate) fn tokenize<F: Future>(texts: usize, work: F) -> Instrumented<F> {
    work.instrument(debug_span!(target: TRACE_TARGET, "tokenize", nerve.texts = texts))
}

/// A window's time in the queue.
pub(crate) fn queue(request: &Span, tokens: usize) -> Span {
    match request.is_disabled() {
        true => Span::none(),
        false => debug_span!(target: TRACE_TARGET, parent: request, "queue", nerve.tokens = tokens),
    }
}

/// The run of a window's batch.
pub(crate) fn inference(request: &Span, windows: usize, positions: usize) -> Span {
    match request.is_disabled() {
        true => Span::none(),
        false => debug_span!(
            target: TRACE_TARGET,
            parent: request,
            "inference",
            nerve.batch.windows = windows,
            nerve.batch.tokens = positions
        ),
    }
}
