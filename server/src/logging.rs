//! Log lines on standard error, and the export of traces.

use std::io::IsTerminal;

use clap::ValueEnum;
use tracing::Subscriber;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer, Registry, fmt};

use crate::logging_error::LoggingError;

/// The format of log lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// Human-readable lines.
    Text,
    /// One JSON object per line.
    Json,
}

/// The default filter while serving.
pub const SERVING: &str = "info,actix_server=warn,object_store=warn,ort=warn";
/// The default filter while tagging a file. Downloads and exports take long, so they are shown.
pub const TAGGING: &str = "warn,nerve_export=info,nerve_repository=info";

/// Keeps the export of traces alive until dropped.
pub struct Logging {
    #[cfg(feature = "otlp")]
    _exporter: Option<crate::otlp::Exporter>,
}

/// Starts logging, filtered by `RUST_LOG`, or by `default` without it. A process that logs already keeps its logger.
///
/// With `otlp`, the base URL of an OpenTelemetry collector, the spans of requests are sent there until the returned
/// value is dropped.
pub fn start_logging(format: LogFormat, default: &str, otlp: Option<&str>) -> Result<Logging, LoggingError> {
    #[cfg(feature = "otlp")]
    {
        let exporter = otlp.map(crate::otlp::Exporter::start).transpose()?;
        let traces = exporter.as_ref().map(crate::otlp::Exporter::layer);
        start(Registry::default().with(traces).with(lines(format, default)));
        Ok(Logging { _exporter: exporter })
    }
    #[cfg(not(feature = "otlp"))]
    {
        if otlp.is_some() {
            return Err(LoggingError::NoOtlp);
        }
        start(Registry::default().with(lines(format, default)));
        Ok(Logging {})
    }
}

fn start(subscriber: impl SubscriberInitExt) {
    if let Err(error) = subscriber.try_init() {
        tracing::debug!(%error, "logging had been started before");
    }
}

/// The layer that writes log lines.
fn lines<S: Subscriber + for<'a> LookupSpan<'a>>(format: LogFormat, default: &str) -> impl Layer<S> + use<S> {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(default));
    let lines = fmt::layer()
        .with_ansi(std::io::stderr().is_terminal())
        .with_writer(std::io::stderr);
    let lines: Box<dyn Layer<S> + Send + Sync> = match format {
        LogFormat::Text => lines.boxed(),
        LogFormat::Json => lines.json().boxed(),
    };
    lines.with_filter(filter)
}

#[cfg(all(test, not(feature = "otlp")))]
mod tests {
    use super::*;

    #[test]
    fn traces_are_not_promised_where_they_cannot_be_sent() {
        let refused = start_logging(LogFormat::Json, SERVING, Some("http://127.0.0.1:4318"));
        assert!(matches!(refused, Err(LoggingError::NoOtlp)));
    }
}
