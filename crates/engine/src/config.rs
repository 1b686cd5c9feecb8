//! The configuration of an engine, and its command-line options.

use std::path::PathBuf;
use std::thread::available_parallelism;

use clap::Args;
use nerve_inference::{Device, Kernels, OpenOptions};
use nerve_repository::{HubSource, ModelAddress};
use nerve_tagging::Splitter;
use thiserror::Error;

use crate::device::DeviceChoice;

/// The configuration of an engine. A program can flatten it into its command line.
#[derive(Args, Clone, Debug, Default)]
pub struct EngineConfig {
    /// The model and its threads.
    #[command(flatten)]
    pub model: ModelConfig,
    /// The limits of a batch.
    #[command(flatten)]
    pub batching: Batching,
    /// The limits of the queue.
    #[command(flatten)]
    pub queue: QueueLimits,
    /// The limits of a text and of a line.
    #[command(flatten)]
    pub texts: TextLimits,
    /// Reloading, the canary and the cache, which only a program that serves has as options.
    #[arg(skip)]
    pub versions: VersionsConfig,
}

/// Which model runs, and where.
#[derive(Args, Clone, Debug)]
pub struct ModelConfig {
    /// A bundle, a store, a plain Hugging Face ONNX export, a checkpoint, which is exported and kept in NERVE_CACHE, a model of the
    /// Hugging Face hub such as dslim/bert-base-NER, which @ and a branch, tag or commit may follow, or the URL of a store on object
    /// storage such as s3://bucket/prefix, gs://bucket/prefix or az://container/prefix.
    #[arg(
        id = "model",
        long = "model",
        env = "NERVE_MODEL",
        default_value = DEFAULT_MODEL,
        value_name = "PATH|HUB_ID|URL"
    )]
    pub address: ModelAddress,
    /// The model of the hub whose files are at the address.
    #[arg(skip)]
    pub source: Option<HubSource>,
    /// The ONNX file of a plain export, relative to its directory [default: model.onnx, or onnx/model.onnx]. Of a checkpoint or a
    /// model of the hub, it is served instead of an export.
    #[arg(long, env = "NERVE_ONNX_FILE", value_name = "FILE")]
    pub onnx_file: Option<PathBuf>,
    /// How running text is split into words for a plain export or a checkpoint: corpus, whitespace or bert [default: bert for a plain
    /// export, corpus for a checkpoint].
    #[arg(long, env = "NERVE_SPLITTER")]
    pub splitter: Option<Splitter>,
    /// The device that the model runs on: cpu, cuda, cuda:N, or auto, which is CUDA if the model can run on it, else the CPU.
    #[arg(long, env = "NERVE_DEVICE", default_value = "cpu")]
    pub device: DeviceChoice,
    /// Which kernels compute the encoder on the CPU: nerve (an error for a model that they cannot compute), onnxruntime, or auto, which uses
    /// Nerve's wherever they can.
    #[arg(long, env = "NERVE_KERNELS", default_value = "auto")]
    pub kernels: Kernels,
    /// The ONNX Runtime library [default: ORT_DYLIB_PATH, or .onnxruntime/ near the executable].
    #[arg(long, env = "NERVE_ONNXRUNTIME", value_name = "PATH")]
    pub onnxruntime: Option<PathBuf>,
    /// Number of inference threads, each with its own session [default: one per core, 2 on CUDA].
    #[arg(long, env = "NERVE_WORKERS", value_name = "N")]
    pub workers: Option<usize>,
    /// Number of threads that compute a window together while no other window waits or runs. They have a session of their
    /// own; 1 disables it [default: one per core, at most 4; 1 on CUDA].
    #[arg(long, env = "NERVE_LONE_THREADS", value_name = "N")]
    pub lone_threads: Option<usize>,
    /// Number of threads that split and tokenize texts [default: one per core, at least 2].
    #[arg(long, env = "NERVE_TEXT_THREADS", value_name = "N")]
    pub text_threads: Option<usize>,
}

/// Reloading, the canary and the cache.
#[derive(Args, Clone, Debug)]
pub struct VersionsConfig {
    /// Size in bytes of the cache of recent answers, per model version; 0 disables it.
    #[arg(long, env = "NERVE_CACHE_BYTES", value_name = "N", default_value_t = Self::default().cache_bytes)]
    pub cache_bytes: usize,
    /// Interval in milliseconds for checking whether another version of the model is published; 0 disables the check, and file notifications too.
    #[arg(long, env = "NERVE_RELOAD_POLL_MS", value_name = "MS", default_value_t = Self::default().reload_poll_ms)]
    pub reload_poll_ms: u64,
    /// A second model; none if absent.
    #[command(flatten)]
    pub canary: Option<CanaryConfig>,
}

/// A second model, which answers a share of the requests.
#[derive(Args, Clone, Debug, PartialEq, Eq)]
pub struct CanaryConfig {
    /// A second model, named as --model is, which answers --canary-percent of the requests. Needs --canary-percent.
    #[arg(
        id = "canary",
        long = "canary",
        env = "NERVE_CANARY",
        value_name = "PATH|HUB_ID|URL",
        required = false,
        requires = "canary-percent"
    )]
    pub address: ModelAddress,
    /// The model of the hub whose files are at the address.
    #[arg(skip)]
    pub source: Option<HubSource>,
    /// Percentage of the requests that the second model answers, from 0 to 100. Needs --canary.
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

/// The limits of one run of the model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchLimits {
    /// Token positions of one batch, padding included: the longest window times the number of windows. A single window that
    /// is longer runs alone.
    pub batch_tokens: usize,
    /// Number of windows in one batch.
    pub max_batch: usize,
    /// The percentage of a batch's positions that may be padding.
    pub max_padding_percent: usize,
}

/// Batch limits that replace those chosen for the device and the graph ([`BatchLimits::of`]).
#[derive(Args, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Batching {
    /// Maximum number of token positions in one batch, padding included [default: 384; 256 for a graph that is not padding-free; 8192 on CUDA].
    #[arg(long, env = "NERVE_BATCH_TOKENS", value_name = "N")]
    pub batch_tokens: Option<usize>,
    /// Maximum number of windows in one batch [default: 24; 16 for a graph that is not padding-free; 128 on CUDA].
    #[arg(long, env = "NERVE_MAX_BATCH", value_name = "N")]
    pub max_batch: Option<usize>,
    /// Maximum percentage of a batch that may be padding [default: 20; 5 for a graph that is not padding-free; 10 on CUDA].
    #[arg(long, env = "NERVE_MAX_PADDING_PERCENT", value_name = "N")]
    pub max_padding_percent: Option<usize>,
}

/// How much may wait for a worker.
#[derive(Args, Clone, Copy, Debug, PartialEq, Eq)]
pub struct QueueLimits {
    /// Maximum number of windows that wait for a worker, and of requests that wait to be tokenized. A text that fits the model
    /// is one window.
    #[arg(long = "queue-requests", env = "NERVE_QUEUE_REQUESTS", value_name = "N", default_value_t = Self::default().windows)]
    pub windows: usize,
    /// Maximum number of tokens that wait for a worker, special tokens included.
    #[arg(long = "queue-tokens", env = "NERVE_QUEUE_TOKENS", value_name = "N", default_value_t = Self::default().tokens)]
    pub tokens: usize,
}

/// How long a text, or a line of a stream, may be.
#[derive(Args, Clone, Copy, Debug, PartialEq, Eq)]
pub struct TextLimits {
    /// Maximum size of one line of a stream, in bytes.
    #[arg(long, env = "NERVE_MAX_LINE_BYTES", value_name = "N", default_value_t = Self::default().max_line_bytes)]
    pub max_line_bytes: usize,
    /// Maximum size of one text, in UTF-8 bytes. Words that are given count as joined by spaces.
    #[arg(long, env = "NERVE_MAX_TEXT_BYTES", value_name = "N", default_value_t = Self::default().max_text_bytes)]
    pub max_text_bytes: usize,
    /// Maximum number of words in one text. With `aggregation` simple or none, or `stride`, the maximum number of tokens.
    #[arg(long, env = "NERVE_MAX_WORDS", value_name = "N", default_value_t = Self::default().max_words)]
    pub max_words: usize,
    /// Maximum number of windows that one text may need.
    #[arg(long, env = "NERVE_MAX_WINDOWS", value_name = "N", default_value_t = Self::default().max_windows)]
    pub max_windows: usize,
}

/// An option whose value is invalid.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum OptionError {
    /// A limit is 0.
    #[error("--{option} is 0; it must be at least 1")]
    Zero {
        /// The option's name on the command line.
        option: &'static str,
    },
    /// A percentage is above 100.
    #[error("--{option} is {percent}; it must be at most 100")]
    Percent {
        /// The option's name on the command line.
        option: &'static str,
        /// The value given.
        percent: usize,
    },
    /// There would be too many threads.
    #[error("--{option} is {count}; it must be at most {MAX_THREADS}")]
    Threads {
        /// The option's name on the command line.
        option: &'static str,
        /// The value given.
        count: usize,
    },
}

/// The model that is served if none is named. With `./`, it is a path even where there is no such directory.
const DEFAULT_MODEL: &str = "./models/default";

/// The maximum number of threads of one kind.
const MAX_THREADS: usize = 1024;

/// More threads than these do not speed up a single window, which has few rows.
const MOST_LONE_THREADS: usize = 4;

/// Sessions on an accelerator: one computes while the batch of the other is formed and its logits are read.
const ACCELERATOR_WORKERS: usize = 2;

/// The second thread keeps a step of a long text from delaying short texts on a single core.
const LEAST_TEXT_THREADS: usize = 2;

impl Default for ModelConfig {
    fn default() -> Self {
        Self {
            address: ModelAddress::Local(PathBuf::from(DEFAULT_MODEL)),
            source: None,
            onnx_file: None,
            splitter: None,
            device: DeviceChoice::On(Device::Cpu),
            kernels: Kernels::default(),
            onnxruntime: None,
            workers: None,
            lone_threads: None,
            text_threads: None,
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
    /// On a CPU, for a graph that computes padding. The intermediate tensors of a batch of this size stay in a core's own
    /// cache: measured with MiniLM in int8, a token takes 79 µs from 256 tokens on, 84 at 128 and 100 at 32.
    pub const PROCESSOR: Self = Self {
        batch_tokens: 256,
        max_batch: 16,
        max_padding_percent: 5,
    };
    /// On a CPU, for a padding-free graph. A position of padding takes a sixth of the time of a token there (MiniLM in int8) and
    /// nothing on Nerve's kernels, so larger batches gain more than their padding loses. Windows of like length still run together
    /// on Nerve's kernels: a short window beside long ones would wait for them.
    pub const PADDING_FREE: Self = Self {
        batch_tokens: 384,
        max_batch: 24,
        max_padding_percent: 20,
    };
    /// On an accelerator, which a small batch does not occupy.
    pub const ACCELERATOR: Self = Self {
        batch_tokens: 8192,
        max_batch: 128,
        max_padding_percent: 10,
    };

    /// The limits for a device and a graph.
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
            // A second and a half of work on two cores, so that overload is refused before requests time out.
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
    /// The device; the CPU until `auto` is resolved.
    pub fn device(&self) -> Device {
        match self.device {
            DeviceChoice::On(device) => device,
            DeviceChoice::Auto => Device::Cpu,
        }
    }

    /// How to open the model.
    pub(crate) fn plain(&self, source: Option<&HubSource>) -> OpenOptions {
        OpenOptions {
            kernels: self.kernels,
            device: self.device(),
            onnx_file: self.onnx_file.clone(),
            splitter: self.splitter,
            source: source.cloned(),
        }
    }

    /// Number of inference threads. By default one for each core that this process may use, within its CPU affinity and the
    /// quota of its cgroup (v1 or v2), and two on an accelerator.
    pub fn workers(&self) -> usize {
        self.workers.unwrap_or_else(|| {
            let cores = available_parallelism().map_or(1, usize::from);
            match self.device() {
                Device::Cpu => cores,
                Device::Cuda(_) => cores.min(ACCELERATOR_WORKERS),
            }
        })
    }

    /// Number of threads that split and tokenize texts.
    pub(crate) fn text_threads(&self) -> usize {
        self.text_threads.unwrap_or_else(|| {
            available_parallelism()
                .map_or(1, usize::from)
                .max(LEAST_TEXT_THREADS)
        })
    }

    /// Number of threads inside each operator for a window that has the machine to itself.
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
    /// The limits of a batch for a graph that is padding-free, or is not.
    pub(crate) fn batch_limits(&self, padding_free: bool) -> BatchLimits {
        let usual = BatchLimits::of(self.model.device(), padding_free);
        let set = self.batching;
        BatchLimits {
            batch_tokens: set.batch_tokens.unwrap_or(usual.batch_tokens),
            max_batch: set.max_batch.unwrap_or(usual.max_batch),
            max_padding_percent: set.max_padding_percent.unwrap_or(usual.max_padding_percent),
        }
    }

    /// Checks the values of all options.
    pub fn validate(&self) -> Result<(), OptionError> {
        let batching = self.batch_limits(false);
        check_threads(&[
            ("workers", self.model.workers()),
            ("lone-threads", self.model.lone_threads()),
            ("text-threads", self.model.text_threads()),
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

/// Checks numbers of threads, each with its option's name.
pub fn check_threads(threads: &[(&'static str, usize)]) -> Result<(), OptionError> {
    check_counts(threads)?;
    match threads.iter().find(|(_, count)| *count > MAX_THREADS) {
        Some(&(option, count)) => Err(OptionError::Threads { option, count }),
        None => Ok(()),
    }
}

/// Checks that limits are not 0, each with its option's name.
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
            "--max-padding-percent is 101; it must be at most 100"
        );
        let mut config = EngineConfig::default();
        config.model.workers = Some(5000);
        let (option, count) = ("workers", 5000);
        assert_eq!(config.validate(), Err(OptionError::Threads { option, count }));
    }
}
