//! The validated configuration of a server.

use std::path::PathBuf;
use std::thread::available_parallelism;

use nerve_export::{Device, OpenOptions};
use thiserror::Error;

/// Everything a server is told before it starts.
#[derive(Clone, Debug)]
pub struct ServerConfig {
    /// A bundle, a store or a plain Hugging Face ONNX export.
    pub model: PathBuf,
    /// What a plain export does not say of itself.
    pub plain: OpenOptions,
    /// The ONNX Runtime library; found by itself where absent.
    pub onnxruntime: Option<PathBuf>,
    /// Where the model runs.
    pub device: Device,
    /// Inference threads, each with a session of its own.
    pub workers: usize,
    /// Threads that read requests and write answers.
    pub http_threads: usize,
    /// What may be computed together.
    pub batching: BatchLimits,
    /// What may wait.
    pub queue: QueueLimits,
    /// What one request may ask.
    pub requests: RequestLimits,
    /// How long in-flight work may take to end after the order to stop.
    pub drain_deadline_ms: u64,
}

/// What may be computed together in one run of the model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchLimits {
    /// Positions of one batch, padding included: the longest window times the number of windows. A single window that is
    /// longer runs alone.
    pub batch_tokens: usize,
    /// Windows of one batch.
    pub max_batch: usize,
    /// The share of a batch's positions that may be padding, in percent.
    pub max_padding_percent: usize,
}

/// What may wait for a worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QueueLimits {
    /// Windows; a text that fits the encoder is one.
    pub windows: usize,
    /// Tokens of all waiting windows, special tokens included.
    pub tokens: usize,
}

/// What one request may ask.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RequestLimits {
    /// Bytes of a request body.
    pub max_body_bytes: usize,
    /// Bytes of one line of a stream.
    pub max_line_bytes: usize,
    /// Texts of a `/ner/batch` request.
    pub max_texts_per_batch: usize,
    /// UTF-8 bytes of one text, or of its words joined by spaces.
    pub max_text_bytes: usize,
    /// Windows of one text.
    pub max_windows: usize,
}

/// Why a configuration makes no server.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ConfigError {
    /// A limit that must allow something allows nothing.
    #[error("--{option} must be at least 1")]
    Zero {
        /// The option's name on the command line.
        option: &'static str,
    },
    /// A percentage is none.
    #[error("--max-padding-percent is {percent}, which is more than 100")]
    Percent {
        /// What was asked for.
        percent: usize,
    },
    /// More threads than a machine has use for.
    #[error("--{option} is {count}, which is more than {MAX_THREADS}")]
    Threads {
        /// The option's name on the command line.
        option: &'static str,
        /// What was asked for.
        count: usize,
    },
}

/// The most threads of one kind.
const MAX_THREADS: usize = 1024;

/// Sessions on an accelerator: one computes while the other's batch is formed and its answers are read.
const ACCELERATOR_WORKERS: usize = 2;

impl Default for ServerConfig {
    fn default() -> Self {
        Self {
            model: PathBuf::from("models/default"),
            plain: OpenOptions::default(),
            onnxruntime: None,
            device: Device::Cpu,
            workers: default_workers(&Device::Cpu),
            http_threads: 2,
            batching: BatchLimits::default(),
            queue: QueueLimits::default(),
            requests: RequestLimits::default(),
            drain_deadline_ms: 30_000,
        }
    }
}

impl Default for BatchLimits {
    fn default() -> Self {
        Self {
            batch_tokens: 512,
            max_batch: 16,
            max_padding_percent: 10,
        }
    }
}

impl Default for QueueLimits {
    fn default() -> Self {
        Self {
            windows: 4096,
            tokens: 1 << 20,
        }
    }
}

impl Default for RequestLimits {
    fn default() -> Self {
        Self {
            max_body_bytes: 8 << 20,
            max_line_bytes: 8 << 20,
            max_texts_per_batch: 256,
            max_text_bytes: 2 << 20,
            max_windows: 8192,
        }
    }
}

/// One worker a core this process may use (affinity and cgroup quota counted), a few on an accelerator.
pub(crate) fn default_workers(device: &Device) -> usize {
    let cores = available_parallelism().map_or(1, usize::from);
    match device {
        Device::Cpu => cores,
        Device::Cuda(_) => cores.min(ACCELERATOR_WORKERS),
    }
}

impl ServerConfig {
    /// Checks that the numbers make a server.
    pub fn validate(&self) -> Result<(), ConfigError> {
        let counts = [
            ("workers", self.workers),
            ("http-threads", self.http_threads),
            ("batch-tokens", self.batching.batch_tokens),
            ("max-batch", self.batching.max_batch),
            ("queue-requests", self.queue.windows),
            ("queue-tokens", self.queue.tokens),
            ("max-body-bytes", self.requests.max_body_bytes),
            ("max-line-bytes", self.requests.max_line_bytes),
            ("max-texts-per-batch", self.requests.max_texts_per_batch),
            ("max-text-bytes", self.requests.max_text_bytes),
            ("max-windows", self.requests.max_windows),
        ];
        if let Some(&(option, _)) = counts.iter().find(|(_, count)| *count == 0) {
            return Err(ConfigError::Zero { option });
        }
        if let Some(&(option, count)) = counts[..2].iter().find(|(_, count)| *count > MAX_THREADS) {
            return Err(ConfigError::Threads { option, count });
        }
        let percent = self.batching.max_padding_percent;
        if percent > 100 {
            return Err(ConfigError::Percent { percent });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_are_valid() {
        assert_eq!(ServerConfig::default().validate(), Ok(()));
    }

    #[test]
    fn what_allows_nothing_names_its_option() {
        let mut config = ServerConfig::default();
        config.queue.tokens = 0;
        assert_eq!(
            config.validate(),
            Err(ConfigError::Zero {
                option: "queue-tokens"
            })
        );
        let mut config = ServerConfig::default();
        config.batching.max_padding_percent = 101;
        assert_eq!(config.validate(), Err(ConfigError::Percent { percent: 101 }));
        let config = ServerConfig {
            workers: 5000,
            ..ServerConfig::default()
        };
        assert_eq!(
            config.validate(),
            Err(ConfigError::Threads {
                option: "workers",
                count: 5000
            })
        );
    }
}
