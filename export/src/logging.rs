//! The log of the programs that have no other.

use std::io::{IsTerminal, stderr};

use tracing_subscriber::EnvFilter;

/// Writes what downloads and exports report to standard error, or the lines that the environment variable RUST_LOG selects.
pub fn start_logging() {
    let usual = || EnvFilter::new("nerve_repository=info,nerve_export=info");
    let lines = tracing_subscriber::fmt()
        .with_env_filter(EnvFilter::try_from_default_env().unwrap_or_else(|_| usual()))
        .with_writer(stderr)
        .with_ansi(stderr().is_terminal())
        .with_target(false)
        .without_time();
    // A process that logs already keeps its logger.
    let _ = lines.try_init();
}
