//! The configuration of an engine, as its options spell it.

use std::path::PathBuf;
use std::thread::available_parallelism;

use clap::Args;
use nerve_inference::{Device, OpenOptions};
use nerve_tagging::Splitter;
use thiserror::Error;

use crate::device::DeviceChoice;

/// Everything an engine is told before it starts. It can be flattened into a command line.
#[derive(Args, Clone, Debug, Default)]
pub struct EngineConfig {
    /// The model and its threads.
    #[command(flatten)]
    pub model: ModelConfig,
    /// What may be computed together.
    #[command(flatten)]
    pub batching: Batching,
    /// What may wait.
    #[command(flatten)]
    pub queue: QueueLimits,
    /// What may be asked at once.
    #[command(flatten)]
    pub texts: TextLimits,
    /// What changes while the engine runs; for a command that serves, options of their own.
    #[arg(skip)]
    pub versions: VersionsConfig,
}

/// Which model is run, and where.
#[derive(Args, Clone, Debug)]
pub struct ModelConfig {
    /// A bundle, a store or a plain Hugging Face ONNX export.
    #[arg(
        id = "model",
        long = "model",
        env = "NERVE_MODEL",
        default_value = "models/default",
        value_name = "PATH"
    )]
    pub path: PathBuf,
    /// The graph of a plain export, relative to its directory [default: model.onnx, else onnx/model.onnx].
    #[arg(long, env = "NERVE_ONNX_FILE", value_name = "FILE")]
    pub onnx_file: Option<PathBuf>,
    /// How a plain export's running text is split into words: corpus, whitespace or bert [default: bert].
    #[arg(long, env = "NERVE_SPLITTER")]
    pub splitter: Option<Splitter>,
    /// Where the model runs: cpu, cuda, cuda:N, or auto, which takes CUDA where the model runs on it.
    #[arg(long, env = "NERVE_DEVICE", default_value = "cpu")]
    pub device: DeviceChoice,
    /// The ONNX Runtime library [default: ORT_DYLIB_PATH, else .onnxruntime/ near the executable].
    #[arg(long, env = "NERVE_ONNXRUNTIME", value_name = "PATH")]
    pub onnxruntime: Option<PathBuf>,
    /// Inference threads, each with a session of its own [default: one a core, 2 on CUDA].
    #[arg(long, env = "NERVE_WORKERS", value_name = "N")]
    pub workers: Option<usize>,
    /// Threads for a window that has the machine to itself, in a session of their own; 1 for none [default: one a core, at most
    /// 4; 1 on CUDA].
    #[arg(long, env = "NERVE_LONE_THREADS", value_name = "N")]
    pub lone_threads: Option<usize>,
}

/// What changes while the engine runs, and what is kept of answers.
#[derive(Args, Clone, Debug)]
pub struct VersionsConfig {
    /// Bytes of the answers of recent texts that are kept, to be given again to who asks the same; 0 for none.
    #[arg(long, env = "NERVE_CACHE_BYTES", value_name = "N", default_value_t = Self::default().cache_bytes)]
    pub cache_bytes: usize,
    /// How often another version of the model is looked for, file events aside; 0 for never.
    #[arg(long, env = "NERVE_RELOAD_POLL_MS", value_name = "MS", default_value_t = Self::default().reload_poll_ms)]
    pub reload_poll_ms: u64,
    /// A second model, which answers a share of the requests.
    #[command(flatten)]
    pub canary: Option<CanaryConfig>,
}

/// A second model beside the stable one.
#[derive(Args, Clone, Debug, PartialEq, Eq)]
pub struct CanaryConfig {
    /// A second model, which answers a share of the requests.
    #[arg(
        id = "canary",
        long = "canary",
        env = "NERVE_CANARY",
        value_name = "PATH",
        required = false,
        requires = "canary-percent"
    )]
    pub path: PathBuf,
    /// The share of requests that the second model answers.
    #[arg(
        id = "canary-percent",
        long = "canary-percent",
        env = "NERVE_CANARY_PERCENT",
        value_name = "N",
        required = false,
        requires = "canary"
    )]
    pub percent: u8,
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
#[derive(Args, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Batching {
    /// Positions of one batch, padding included [default: 384, 256 if the graph computes padding, 8192 on CUDA].
    #[arg(long, env = "NERVE_BATCH_TOKENS", value_name = "N")]
    pub batch_tokens: Option<usize>,
    /// Windows of one batch [default: 24, 16 if the graph computes padding, 128 on CUDA].
    #[arg(long, env = "NERVE_MAX_BATCH", value_name = "N")]
    pub max_batch: Option<usize>,
    /// The share of a batch that may be padding, in percent [default: 20, 5 if the graph computes padding, 10 on CUDA].
    #[arg(long, env = "NERVE_MAX_PADDING_PERCENT", value_name = "N")]
    pub max_padding_percent: Option<usize>,
}

/// What may wait for a worker.
#[derive(Args, Clone, Copy, Debug, PartialEq, Eq)]
pub struct QueueLimits {
    /// Windows that may wait (a text that fits the encoder is one).
    #[arg(long = "queue-requests", env = "NERVE_QUEUE_REQUESTS", value_name = "N", default_value_t = Self::default().windows)]
    pub windows: usize,
    /// Tokens that may wait, special tokens included.
    #[arg(long = "queue-tokens", env = "NERVE_QUEUE_TOKENS", value_name = "N", default_value_t = Self::default().tokens)]
    pub tokens: usize,
}

/// How long a text, or a line of a stream, may be.
#[derive(Args, Clone, Copy, Debug, PartialEq, Eq)]
pub struct TextLimits {
    /// Bytes of one line of a stream.
    #[arg(long, env = "NERVE_MAX_LINE_BYTES", value_name = "N", default_value_t = Self::default().max_line_bytes)]
    pub max_line_bytes: usize,
    /// UTF-8 bytes of one text, or of its words joined by spaces.
    #[arg(long, env = "NERVE_MAX_TEXT_BYTES", value_name = "N", default_value_t = Self::default().max_text_bytes)]
    pub max_text_bytes: usize,
    /// Words of one text.
    #[arg(long, env = "NERVE_MAX_WORDS", value_name = "N", default_value_t = Self::default().max_words)]
    pub max_words: usize,
    /// Windows of one text.
    #[arg(long, env = "NERVE_MAX_WINDOWS", value_name = "N", default_value_t = Self::default().max_windows)]
    pub max_windows: usize,
}

/// An option whose value makes no engine.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum OptionError {
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

impl Default for ModelConfig {
    fn default() -> Self {
        Self {
            path: PathBuf::from("models/default"),
            onnx_file: None,
            splitter: None,
            device: DeviceChoice::On(Device::Cpu),
            onnxruntime: None,
            workers: None,
            lone_threads: None,
        }
    }
}

impl Default for VersionsConfig {
    fn default() -> Self {
        Self {
            cache_bytes: 0,
            reload_poll_ms: 5_000,
            canary: None,
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

impl Default for TextLimits {
    fn default() -> Self {
        Self {
            max_line_bytes: 8 << 20,
            max_text_bytes: 2 << 20,
            max_words: 1 << 20,
            max_windows: 8192,
        }
    }
}

impl ModelConfig {
    /// Where the model runs; before it is chosen, the processor.
    pub fn device(&self) -> Device {
        match self.device {
            DeviceChoice::On(device) => device,
            DeviceChoice::Auto => Device::Cpu,
        }
    }

    /// What a plain export does not say of itself.
    pub(crate) fn plain(&self) -> OpenOptions {
        OpenOptions {
            onnx_file: self.onnx_file.clone(),
            splitter: self.splitter,
        }
    }

    /// Inference threads: unless told otherwise one a core that this process may use (affinity and the quota of its cgroup,
    /// v1 or v2, counted), and a few on an accelerator.
    pub fn workers(&self) -> usize {
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
}

impl EngineConfig {
    /// What may be computed together by a graph that is padding-free, or is not.
    pub(crate) fn batch_limits(&self, padding_free: bool) -> BatchLimits {
        let usual = BatchLimits::of(self.model.device(), padding_free);
        let set = self.batching;
        BatchLimits {
            batch_tokens: set.batch_tokens.unwrap_or(usual.batch_tokens),
            max_batch: set.max_batch.unwrap_or(usual.max_batch),
            max_padding_percent: set.max_padding_percent.unwrap_or(usual.max_padding_percent),
        }
    }

    /// Checks that the numbers make an engine.
    pub fn validate(&self) -> Result<(), OptionError> {
        let batching = self.batch_limits(false);
        check_threads(&[
            ("workers", self.model.workers()),
            ("lone-threads", self.model.lone_threads()),
        ])?;
        check_counts(&[
            ("batch-tokens", batching.batch_tokens),
            ("max-batch", batching.max_batch),
            ("queue-requests", self.queue.windows),
            ("queue-tokens", self.queue.tokens),
            ("max-line-bytes", self.texts.max_line_bytes),
            ("max-text-bytes", self.texts.max_text_bytes),
            ("max-words", self.texts.max_words),
            ("max-windows", self.texts.max_windows),
        ])?;
        let canary = self.versions.canary.as_ref();
        let percents = [
            ("max-padding-percent", batching.max_padding_percent),
            (
                "canary-percent",
                canary.map_or(0, |canary| usize::from(canary.percent)),
            ),
        ];
        match percents.into_iter().find(|(_, percent)| *percent > 100) {
            Some((option, percent)) => Err(OptionError::Percent { option, percent }),
            None => Ok(()),
        }
    }
}

/// Checks numbers of threads, each with the name of its option.
pub fn check_threads(threads: &[(&'static str, usize)]) -> Result<(), OptionError> {
    check_counts(threads)?;
    match threads.iter().find(|(_, count)| *count > MAX_THREADS) {
        Some(&(option, count)) => Err(OptionError::Threads { option, count }),
        None => Ok(()),
    }
}

/// Checks limits that must allow something, each with the name of its option.
pub fn check_counts(counts: &[(&'static str, usize)]) -> Result<(), OptionError> {
    match counts.iter().find(|(_, count)| *count == 0) {
        Some(&(option, _)) => Err(OptionError::Zero { option }),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_are_valid() {
        assert_eq!(EngineConfig::default().validate(), Ok(()));
    }

    #[test]
    fn only_a_padding_free_graph_on_a_processor_is_given_much_padding() {
        let limits = |device, padding_free| {
            let mut config = EngineConfig::default();
            config.model.device = DeviceChoice::On(device);
            config.batch_limits(padding_free)
        };
        assert_eq!(limits(Device::Cpu, true), BatchLimits::PADDING_FREE);
        assert_eq!(limits(Device::Cpu, false), BatchLimits::PROCESSOR);
        assert_eq!(limits(Device::Cuda(0), true), BatchLimits::ACCELERATOR);
        let mut config = EngineConfig::default();
        config.batching.max_padding_percent = Some(7);
        assert_eq!(config.batch_limits(true).max_padding_percent, 7);
    }

    #[test]
    fn what_allows_nothing_names_its_option() {
        let mut config = EngineConfig::default();
        config.queue.tokens = 0;
        let option = "queue-tokens";
        assert_eq!(config.validate(), Err(OptionError::Zero { option }));
        let mut config = EngineConfig::default();
        config.batching.max_padding_percent = Some(101);
        assert_eq!(
            config.validate().unwrap_err().to_string(),
            "--max-padding-percent is 101, which is more than 100"
        );
        let mut config = EngineConfig::default();
        config.model.workers = Some(5000);
        let (option, count) = ("workers", 5000);
        assert_eq!(config.validate(), Err(OptionError::Threads { option, count }));
    }
}
