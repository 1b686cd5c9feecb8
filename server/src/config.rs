//! The validated configuration of a server.

use std::fmt;
use std::path::PathBuf;
use std::thread::available_parallelism;

use nerve_inference::{Device, OpenOptions};
use thiserror::Error;

use crate::device::DeviceChoice;

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
    pub device: DeviceChoice,
    /// Inference threads, each with a session of its own; as many as the device wants where absent.
    pub workers: Option<usize>,
    /// Threads inside an operator for a window that has the machine to itself; 1 where it runs as others do, and as many as
    /// pay where absent.
    pub lone_threads: Option<usize>,
    /// Threads that read requests and write answers.
    pub http_threads: usize,
    /// What may be computed together.
    pub batching: Batching,
    /// What may wait.
    pub queue: QueueLimits,
    /// What one request may ask.
    pub requests: RequestLimits,
    /// Bytes of the cache of recent answers; 0 for none.
    pub cache_bytes: usize,
    /// How often another version of the model is looked for, file events aside; 0 for never.
    pub reload_poll_ms: u64,
    /// A second model, which answers a share of the requests.
    pub canary: Option<CanaryConfig>,
    /// How long a request may take.
    pub request_timeout_ms: u64,
    /// How long a request's head, and then its body, may take to arrive.
    pub read_timeout_ms: u64,
    /// How long a client may send nothing of a stream, or read nothing of an answer.
    pub idle_timeout_ms: u64,
    /// Bytes of the bodies of all requests that are being answered.
    pub max_inflight_bytes: usize,
    /// Connections that are served at a time; more wait to be accepted.
    pub max_connections: usize,
    /// Who may tag; anybody where absent.
    pub api_keys: Option<KeySource>,
    /// Who may give orders; nobody where absent.
    pub admin_keys: Option<KeySource>,
    /// Origins whose pages may ask; `*` is any.
    pub cors_origins: Vec<String>,
    /// The certificate and key to serve HTTPS with; plain HTTP where absent.
    pub tls: Option<TlsFiles>,
    /// How long the listener stays open, not ready, after the order to stop.
    pub drain_delay_ms: u64,
    /// How long in-flight work may take to end once the listener is closed.
    pub drain_deadline_ms: u64,
}

/// A second model beside the stable one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CanaryConfig {
    /// A bundle, a store or a plain Hugging Face ONNX export.
    pub path: PathBuf,
    /// The share of requests it answers, from 0 to 100.
    pub percent: u8,
}

/// Where API keys are read.
#[derive(Clone, PartialEq, Eq)]
pub enum KeySource {
    /// A file, a key a line, or `sha256:` and its hash in hexadecimal; read again when it changes.
    File(PathBuf),
    /// A variable of the environment, its keys separated by commas.
    Variable {
        /// The variable's name.
        name: String,
        /// Its value.
        value: String,
    },
}

// The value of a variable is a secret.
impl fmt::Debug for KeySource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => write!(f, "File({})", path.display()),
            Self::Variable { name, .. } => write!(f, "Variable({name})"),
        }
    }
}

/// What HTTPS is served with, as PEM files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsFiles {
    /// The certificate and those of its issuers.
    pub certificate: PathBuf,
    /// Its private key.
    pub key: PathBuf,
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

/// What of [`BatchLimits`] is not to be as the device and the graph want it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Batching {
    /// [`BatchLimits::batch_tokens`].
    pub batch_tokens: Option<usize>,
    /// [`BatchLimits::max_batch`].
    pub max_batch: Option<usize>,
    /// [`BatchLimits::max_padding_percent`].
    pub max_padding_percent: Option<usize>,
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
    /// Words of one text.
    pub max_words: usize,
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
    #[error("--{option} is {percent}, which is more than 100")]
    Percent {
        /// The option's name on the command line.
        option: &'static str,
        /// What was asked for.
        percent: usize,
    },
    /// A canary without its share, or a share without a canary.
    #[error("--canary and --canary-percent go together")]
    Canary,
    /// A certificate without its key, or a key without its certificate.
    #[error("--tls-cert and --tls-key go together")]
    Tls,
    /// Keys from a file and from the environment.
    #[error("--{option} and {variable} are two sources of the same keys; give one")]
    TwoKeySources {
        /// The option's name on the command line.
        option: &'static str,
        /// The variable.
        variable: &'static str,
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

/// Threads that share the few rows of one text with gain.
const MOST_LONE_THREADS: usize = 4;

/// Sessions on an accelerator: one computes while the other's batch is formed and its answers are read.
const ACCELERATOR_WORKERS: usize = 2;

impl Default for ServerConfig {
    fn default() -> Self {
        Self {
            model: PathBuf::from("models/default"),
            plain: OpenOptions::default(),
            onnxruntime: None,
            device: DeviceChoice::On(Device::Cpu),
            workers: None,
            lone_threads: None,
            http_threads: 2,
            batching: Batching::default(),
            queue: QueueLimits::default(),
            requests: RequestLimits::default(),
            cache_bytes: 0,
            reload_poll_ms: 5_000,
            canary: None,
            request_timeout_ms: 30_000,
            read_timeout_ms: 15_000,
            idle_timeout_ms: 60_000,
            max_inflight_bytes: 256 << 20,
            max_connections: 25_000,
            api_keys: None,
            admin_keys: None,
            cors_origins: Vec::new(),
            tls: None,
            drain_delay_ms: 0,
            drain_deadline_ms: 30_000,
        }
    }
}

impl BatchLimits {
    /// On a processor, for a graph that computes padding too. What of a batch this large passes from one operator to the next
    /// stays in a core's own cache: measured with MiniLM in int8, a token costs 79 µs from 256 tokens on, 84 at 128 and 100
    /// at 32.
    pub const PROCESSOR: Self = Self {
        batch_tokens: 256,
        max_batch: 16,
        max_padding_percent: 5,
    };
    /// On a processor, for a padding-free graph: a position of padding costs an eighth of a token there (MiniLM in int8,
    /// windows of 25 tokens), so that larger batches gain more than their padding loses.
    pub const PADDING_FREE: Self = Self {
        batch_tokens: 384,
        max_batch: 24,
        max_padding_percent: 20,
    };
    /// On an accelerator, which a small batch leaves idle.
    pub const ACCELERATOR: Self = Self {
        batch_tokens: 8192,
        max_batch: 128,
        max_padding_percent: 10,
    };

    /// What suits a device and a graph.
    pub fn of(device: Device, padding_free: bool) -> Self {
        match device {
            Device::Cpu if padding_free => Self::PADDING_FREE,
            Device::Cpu => Self::PROCESSOR,
            Device::Cuda(_) => Self::ACCELERATOR,
        }
    }
}

impl Default for QueueLimits {
    fn default() -> Self {
        Self {
            // On two cores a second and a half of work, so that overload is refused before it is late.
            windows: 1024,
            tokens: 1 << 20,
        }
    }
}

impl Default for RequestLimits {
    fn default() -> Self {
        Self {
            max_body_bytes: 8 << 20,
            max_line_bytes: 8 << 20,
            max_texts_per_batch: 1024,
            max_text_bytes: 2 << 20,
            max_words: 1 << 20,
            max_windows: 8192,
        }
    }
}

impl ServerConfig {
    /// Where the model runs; before it is chosen, the processor.
    pub(crate) fn device(&self) -> Device {
        match self.device {
            DeviceChoice::On(device) => device,
            DeviceChoice::Auto => Device::Cpu,
        }
    }

    /// Inference threads: unless told otherwise one a core that this process may use (affinity and the quota of its cgroup,
    /// v1 or v2, counted), and a few on an accelerator.
    pub(crate) fn workers(&self) -> usize {
        self.workers.unwrap_or_else(|| {
            let cores = available_parallelism().map_or(1, usize::from);
            match self.device() {
                Device::Cpu => cores,
                Device::Cuda(_) => cores.min(ACCELERATOR_WORKERS),
            }
        })
    }

    /// Threads inside an operator for a window that has the machine to itself.
    pub(crate) fn lone_threads(&self) -> usize {
        self.lone_threads.unwrap_or_else(|| {
            let cores = available_parallelism().map_or(1, usize::from);
            match self.device() {
                Device::Cpu => cores.min(MOST_LONE_THREADS),
                Device::Cuda(_) => 1,
            }
        })
    }

    /// What may be computed together by a graph that is padding-free, or is not.
    pub(crate) fn batching(&self, padding_free: bool) -> BatchLimits {
        let usual = BatchLimits::of(self.device(), padding_free);
        BatchLimits {
            batch_tokens: self.batching.batch_tokens.unwrap_or(usual.batch_tokens),
            max_batch: self.batching.max_batch.unwrap_or(usual.max_batch),
            max_padding_percent: self
                .batching
                .max_padding_percent
                .unwrap_or(usual.max_padding_percent),
        }
    }

    /// Checks that the numbers make a server.
    pub fn validate(&self) -> Result<(), ConfigError> {
        let batching = self.batching(false);
        let counts = [
            ("workers", self.workers()),
            ("lone-threads", self.lone_threads()),
            ("http-threads", self.http_threads),
            ("batch-tokens", batching.batch_tokens),
            ("max-batch", batching.max_batch),
            ("queue-requests", self.queue.windows),
            ("queue-tokens", self.queue.tokens),
            ("max-body-bytes", self.requests.max_body_bytes),
            ("max-line-bytes", self.requests.max_line_bytes),
            ("max-texts-per-batch", self.requests.max_texts_per_batch),
            ("max-text-bytes", self.requests.max_text_bytes),
            ("max-words", self.requests.max_words),
            ("max-windows", self.requests.max_windows),
            ("max-inflight-bytes", self.max_inflight_bytes),
            ("max-connections", self.max_connections),
            ("request-timeout-ms", to_count(self.request_timeout_ms)),
            ("read-timeout-ms", to_count(self.read_timeout_ms)),
            ("idle-timeout-ms", to_count(self.idle_timeout_ms)),
        ];
        if let Some(&(option, _)) = counts.iter().find(|(_, count)| *count == 0) {
            return Err(ConfigError::Zero { option });
        }
        if let Some(&(option, count)) = counts[..3].iter().find(|(_, count)| *count > MAX_THREADS) {
            return Err(ConfigError::Threads { option, count });
        }
        let canary = self
            .canary
            .as_ref()
            .map_or(0, |canary| usize::from(canary.percent));
        let percents = [
            ("max-padding-percent", batching.max_padding_percent),
            ("canary-percent", canary),
        ];
        match percents.into_iter().find(|(_, percent)| *percent > 100) {
            Some((option, percent)) => Err(ConfigError::Percent { option, percent }),
            None => Ok(()),
        }
    }

    /// Connections of each of the threads that share them.
    pub(crate) fn connections_per_thread(&self) -> usize {
        self.max_connections.div_ceil(self.http_threads.max(1))
    }
}

/// A number of milliseconds, to be told from none.
fn to_count(ms: u64) -> usize {
    usize::try_from(ms).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_are_valid() {
        assert_eq!(ServerConfig::default().validate(), Ok(()));
    }

    #[test]
    fn only_a_padding_free_graph_on_a_processor_is_given_much_padding() {
        let limits = |device, padding_free| {
            let config = ServerConfig {
                device: DeviceChoice::On(device),
                ..ServerConfig::default()
            };
            config.batching(padding_free)
        };
        assert_eq!(limits(Device::Cpu, true), BatchLimits::PADDING_FREE);
        assert_eq!(limits(Device::Cpu, false), BatchLimits::PROCESSOR);
        assert_eq!(limits(Device::Cuda(0), true), BatchLimits::ACCELERATOR);
        let mut config = ServerConfig::default();
        config.batching.max_padding_percent = Some(7);
        assert_eq!(config.batching(true).max_padding_percent, 7);
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
        config.batching.max_padding_percent = Some(101);
        assert_eq!(
            config.validate().unwrap_err().to_string(),
            "--max-padding-percent is 101, which is more than 100"
        );
        let config = ServerConfig {
            workers: Some(5000),
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
