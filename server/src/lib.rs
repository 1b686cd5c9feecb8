//! Serves an entity tagger over HTTP and gRPC.
//!
//! [`run`] serves on a listener until its shutdown future completes: `http` reads requests, passes them to the
//! engine, and writes the answers; `grpc` does the same for calls of the Open Inference Protocol. [`tag_file`] sends the lines of a file through the same engine, without HTTP.

mod config;
mod flags;
#[cfg(any(test, fuzzing))]
pub mod fuzz;
mod grpc;
mod healthcheck;
mod http;
mod logging;
mod logging_error;
mod offline;
#[cfg(feature = "otlp")]
mod otlp;
mod reloaded;
mod run;
#[cfg(test)]
mod tests;
mod tls;
mod trace;

pub use config::{ConfigError, HttpConfig, KeySource, ServerConfig, TlsFiles};
pub use flags::{Command, Flags, HealthcheckFlags, LogFlags, ServeFlags, TagFlags};
pub use healthcheck::{HealthcheckError, healthcheck};
pub use http::keys::KeyError;
pub use http::openapi::openapi_json;
pub use logging::{LogFormat, Logging, SERVING, TAGGING, start_logging};
pub use logging_error::LoggingError;
pub use offline::columns::error::TableError;
pub use offline::tag::tag_file;
pub use offline::tally::{Tally, TextUnit};
pub use offline::work::{ColumnOptions, InputFormat, OutputFormat, TagFile, TagFileError};
pub use run::{Listeners, ServerError, Stopped, run};
pub use tls::TlsError;
