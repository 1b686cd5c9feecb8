//! Serves an entity tagger over HTTP: text to words to windows to batches to labels to entities.
//!
//! [`run`] serves on a listener until it is told to stop. Inside, `http` reads requests and writes answers, `pipeline`
//! turns texts into windows and labels into entities, `scheduler` batches windows and runs them on worker threads, and
//! `bulk` sends lines through both for streams. [`tag_file`] is a stream from a file, without HTTP.

mod bulk;
mod config;
mod device;
mod flags;
#[cfg(any(test, fuzzing))]
pub mod fuzz;
mod health;
mod healthcheck;
mod http;
mod infer;
mod logging;
mod memory;
mod metrics;
mod models;
mod offline;
#[cfg(feature = "otlp")]
mod otlp;
mod pipeline;
mod run;
mod scheduler;
#[cfg(test)]
mod tests;
mod tls;
mod trace;

pub use config::{
    BatchLimits, Batching, CanaryConfig, ConfigError, KeySource, QueueLimits, RequestLimits, ServerConfig,
    TlsFiles,
};
pub use device::DeviceChoice;
pub use flags::{Command, Flags, HealthcheckFlags, ModelFlags, ServeFlags, TagFlags};
pub use healthcheck::{HealthcheckError, healthcheck};
pub use http::{KeyError, openapi_json};
pub use logging::{LogFormat, Logging, LoggingError, SERVING, TAGGING, start_logging};
pub use offline::{InputFormat, OutputFormat, TagFile, TagFileError, Tally, tag_file};
pub use run::{ServerError, Stopped, run};
pub use scheduler::{LOOKAHEAD, next_batch, share};
pub use tls::TlsError;
