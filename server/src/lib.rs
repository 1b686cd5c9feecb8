//! Serves an entity tagger over HTTP: text to words to windows to batches to labels to entities.
//!
//! [`run`] serves on a listener until it is told to stop. Inside, `http` reads requests and writes answers, `pipeline`
//! turns texts into windows and labels into entities, and `scheduler` batches windows and runs them on worker threads.

mod config;
mod flags;
mod health;
mod http;
mod infer;
mod logging;
mod metrics;
mod pipeline;
mod run;
mod scheduler;
#[cfg(test)]
mod tests;

pub use config::{BatchLimits, ConfigError, QueueLimits, RequestLimits, ServerConfig};
pub use flags::{Command, Flags, ServeFlags};
pub use http::openapi_json;
pub use logging::{LogFormat, start_logging};
pub use run::{ServerError, run};
