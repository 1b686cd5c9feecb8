//! Traces to an OpenTelemetry collector: OTLP over HTTP, as protocol buffers.
//!
//! The exporter has its own thread and a bounded queue: spans that a collector does not accept are dropped and never
//! delay a request. `OTEL_SERVICE_NAME`, `OTEL_RESOURCE_ATTRIBUTES`, `OTEL_TRACES_SAMPLER`, `OTEL_BSP_*` and
//! `OTEL_EXPORTER_OTLP_HEADERS` have their meaning in the OpenTelemetry specification.

use std::collections::HashMap;
use std::time::Duration;

use actix_web::http::header::{HeaderMap, HeaderName};
use async_trait::async_trait;
use opentelemetry::Key;
use opentelemetry::propagation::{Extractor, TextMapPropagator};
use opentelemetry::trace::TracerProvider;
use opentelemetry_http::{Bytes, HttpClient, HttpError, Request, Response};
use opentelemetry_otlp::{Protocol, SpanExporter, WithExportConfig, WithHttpConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::propagation::TraceContextPropagator;
use opentelemetry_sdk::trace::SdkTracerProvider;
use tracing::{Metadata, Span, Subscriber, warn};
use tracing_opentelemetry::OpenTelemetrySpanExt;
use tracing_subscriber::Layer;
use tracing_subscriber::filter::filter_fn;
use tracing_subscriber::registry::LookupSpan;

use crate::logging_error::LoggingError;
use nerve_engine::TRACE_TARGET;

const SERVICE: &str = "nerve-server";
/// The timeout of one batch of spans.
const PATIENCE: Duration = Duration::from_secs(10);
/// The timeout for the last spans when the server ends.
const LAST_WORDS: Duration = Duration::from_secs(3);

/// A running exporter. Dropping it sends the remaining spans.
pub(crate) struct Exporter(SdkTracerProvider);

impl Exporter {
    /// An exporter to the collector at this base URL, such as `http://127.0.0.1:4318`. Spans go to the path
    /// `/v1/traces`.
    pub(crate) fn start(endpoint: &str) -> Result<Self, LoggingError> {
        let wrong = |problem: String| LoggingError::Otlp {
            endpoint: endpoint.to_owned(),
            problem,
        };
        let url: opentelemetry_http::Request<()> =
            Request::get(format!("{}/v1/traces", endpoint.trim_end_matches('/')))
                .body(())
                .map_err(|error| wrong(error.to_string()))?;
        if !matches!(url.uri().scheme_str(), Some("http" | "https")) || url.uri().host().is_none() {
            return Err(wrong("it is no URL of http or https".to_owned()));
        }
        let exporter = SpanExporter::builder()
            .with_http()
            .with_http_client(Client::new())
            .with_protocol(Protocol::HttpBinary)
            .with_endpoint(url.uri().to_string())
            .with_timeout(PATIENCE)
            .build()
            .map_err(|error| wrong(error.to_string()))?;
        let provider = SdkTracerProvider::builder()
            .with_batch_exporter(exporter)
            .with_resource(resource());
        Ok(Self(provider.build()))
    }

    /// The layer that records the spans of requests, and no others.
    pub(crate) fn layer<S: Subscriber + for<'a> LookupSpan<'a>>(&self) -> impl Layer<S> + use<S> {
        let is_trace = |metadata: &Metadata<'_>| metadata.is_span() && metadata.target() == TRACE_TARGET;
        tracing_opentelemetry::layer()
            .with_tracer(self.0.tracer(SERVICE))
            .with_location(false)
            .with_threads(false)
            .with_target(false)
            .with_tracked_inactivity(false)
            .with_filter(filter_fn(is_trace))
    }
}

impl Drop for Exporter {
    fn drop(&mut self) {
        if let Err(error) = self.0.shutdown_with_timeout(LAST_WORDS) {
            warn!(%error, "the last spans were not sent");
        }
    }
}

/// The resource that the environment describes, with the program's name as the default.
fn resource() -> Resource {
    let told = Resource::builder().build();
    let name = told.get(&Key::new("service.name"));
    if name.is_some_and(|name| !name.as_str().starts_with("unknown_service")) {
        return told;
    }
    Resource::builder().with_service_name(SERVICE).build()
}

/// Makes the span a child of the trace in the request's `traceparent` and `tracestate` (W3C Trace Context).
pub(crate) fn continue_trace(span: &Span, headers: &HeaderMap) {
    set_parent(span, &Headers(headers));
}

/// Makes the span a child of the trace in a call's `traceparent`.
pub(crate) fn continue_call(span: &Span, traceparent: Option<&str>) {
    let headers = traceparent.map(|parent| ("traceparent".to_owned(), parent.to_owned()));
    set_parent(span, &headers.into_iter().collect::<HashMap<_, _>>());
}

fn set_parent(span: &Span, headers: &dyn Extractor) {
    if !span.is_disabled() {
        let parent = TraceContextPropagator::new().extract(headers);
        // Fails if no exporter records the span.
        let _unheard = span.set_parent(parent);
    }
}

struct Headers<'h>(&'h HeaderMap);

impl Extractor for Headers<'_> {
    fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key)?.to_str().ok()
    }

    fn keys(&self) -> Vec<&str> {
        self.0.keys().map(HeaderName::as_str).collect()
    }
}

/// Sends batches from the exporter's thread, which may block.
#[derive(Debug)]
struct Client(ureq::Agent);

impl Client {
    fn new() -> Self {
        let config = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .timeout_global(Some(PATIENCE));
        Self(config.build().into())
    }
}

#[async_trait]
impl HttpClient for Client {
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let request = request.map(|body| body.to_vec());
        let (head, mut body) = self.0.run(request)?.into_parts();
        Ok(Response::from_parts(head, Bytes::from(body.read_to_vec()?)))
    }
}
