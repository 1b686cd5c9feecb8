//! The command line and the environment.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use nerve_export::{Device, OpenOptions};
use nerve_tagging::Splitter;

use crate::config::{BatchLimits, ConfigError, QueueLimits, RequestLimits, ServerConfig, default_workers};
use crate::http::{AggregationOption, OffsetsOption, Options};
use crate::logging::LogFormat;
use crate::offline::{InputFormat, OutputFormat, TagFile, TagFileError};

/// Serves an entity tagger over HTTP.
#[derive(Debug, Parser)]
#[command(name = "nerve-server", version, args_conflicts_with_subcommands = true)]
pub struct Flags {
    /// What to do instead of serving.
    #[command(subcommand)]
    pub command: Option<Command>,
    /// How to serve.
    #[command(flatten)]
    pub serve: ServeFlags,
}

/// What the program does besides serving.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Print the API's OpenAPI document.
    Openapi,
    /// Tag the lines of a file, as `POST /ner/stream` does.
    Tag(Box<TagFlags>),
}

/// What to tag and how to write it, as typed.
#[derive(Debug, Args)]
pub struct TagFlags {
    /// The file, or - for standard input.
    #[arg(value_name = "FILE|-")]
    pub file: PathBuf,
    /// What a line is [default: by the file's extension, .jsonl and .ndjson, or .txt].
    #[arg(long, value_enum)]
    pub input: Option<InputFormat>,
    /// What is written.
    #[arg(long, value_enum, default_value_t = OutputFormat::Ndjson)]
    pub output: OutputFormat,
    /// Where it is written [default: standard output].
    #[arg(long, value_name = "FILE")]
    pub out: Option<PathBuf>,
    /// The unit in which offsets are counted [default: codepoint]; ndjson.
    #[arg(long, value_enum)]
    pub(crate) offsets: Option<OffsetsOption>,
    /// Entities with a lower score are left out; ndjson and html.
    #[arg(long, value_name = "SCORE")]
    pub(crate) threshold: Option<f64>,
    /// The entity types to answer with, separated by commas [default: all]; ndjson and html.
    #[arg(long, value_name = "TYPE", value_delimiter = ',')]
    pub(crate) labels: Option<Vec<String>>,
    /// What is labelled and by which tokens [default: first].
    #[arg(long, value_enum)]
    pub(crate) aggregation: Option<AggregationOption>,
    /// Decide each label by itself, so that an I-X may have no B-X before it.
    #[arg(long)]
    pub(crate) unconstrained: bool,
    /// Leave out the words; ndjson.
    #[arg(long)]
    pub(crate) no_words: bool,
    /// The model and its limits.
    #[command(flatten)]
    pub model: ModelFlags,
}

/// How to serve, as typed.
#[derive(Debug, Args)]
pub struct ServeFlags {
    /// The model and its limits.
    #[command(flatten)]
    pub model: ModelFlags,
    /// The address to listen on.
    #[arg(long, env = "NERVE_LISTEN", default_value = "127.0.0.1:8080")]
    pub listen: SocketAddr,
    /// Threads that read requests and write answers.
    #[arg(long, env = "NERVE_HTTP_THREADS", value_name = "N", default_value_t = ServerConfig::default().http_threads)]
    pub http_threads: usize,
    /// Bytes of a request body.
    #[arg(long, env = "NERVE_MAX_BODY_BYTES", value_name = "N", default_value_t = RequestLimits::default().max_body_bytes)]
    pub max_body_bytes: usize,
    /// Texts of a batch request.
    #[arg(long, env = "NERVE_MAX_TEXTS_PER_BATCH", value_name = "N", default_value_t = RequestLimits::default().max_texts_per_batch)]
    pub max_texts_per_batch: usize,
    /// How long in-flight work may take to end after SIGTERM.
    #[arg(long, env = "NERVE_DRAIN_DEADLINE_MS", value_name = "MS", default_value_t = ServerConfig::default().drain_deadline_ms)]
    pub drain_deadline_ms: u64,
}

/// What is run and within which limits, as typed.
#[derive(Debug, Args)]
pub struct ModelFlags {
    /// A bundle, a store or a plain Hugging Face ONNX export.
    #[arg(
        long,
        env = "NERVE_MODEL",
        default_value = "models/default",
        value_name = "PATH"
    )]
    pub model: PathBuf,
    /// The graph of a plain export, relative to its directory [default: model.onnx, else onnx/model.onnx].
    #[arg(long, env = "NERVE_ONNX_FILE", value_name = "FILE")]
    pub onnx_file: Option<PathBuf>,
    /// How a plain export's running text is split into words: corpus, whitespace or bert [default: bert].
    #[arg(long, env = "NERVE_SPLITTER")]
    pub splitter: Option<Splitter>,
    /// Where the model runs: cpu, cuda or cuda:N.
    #[arg(long, env = "NERVE_DEVICE", default_value = "cpu")]
    pub device: Device,
    /// The ONNX Runtime library [default: ORT_DYLIB_PATH, else .onnxruntime/ near the executable].
    #[arg(long, env = "NERVE_ONNXRUNTIME", value_name = "PATH")]
    pub onnxruntime: Option<PathBuf>,
    /// Inference threads, each with a session of its own [default: one a core, 2 on CUDA].
    #[arg(long, env = "NERVE_WORKERS", value_name = "N")]
    pub workers: Option<usize>,
    /// Positions of one batch, padding included.
    #[arg(long, env = "NERVE_BATCH_TOKENS", value_name = "N", default_value_t = BatchLimits::default().batch_tokens)]
    pub batch_tokens: usize,
    /// Windows of one batch.
    #[arg(long, env = "NERVE_MAX_BATCH", value_name = "N", default_value_t = BatchLimits::default().max_batch)]
    pub max_batch: usize,
    /// The share of a batch that may be padding.
    #[arg(long, env = "NERVE_MAX_PADDING_PERCENT", value_name = "N", default_value_t = BatchLimits::default().max_padding_percent)]
    pub max_padding_percent: usize,
    /// Windows that may wait (a text that fits the encoder is one).
    #[arg(long, env = "NERVE_QUEUE_REQUESTS", value_name = "N", default_value_t = QueueLimits::default().windows)]
    pub queue_requests: usize,
    /// Tokens that may wait.
    #[arg(long, env = "NERVE_QUEUE_TOKENS", value_name = "N", default_value_t = QueueLimits::default().tokens)]
    pub queue_tokens: usize,
    /// Bytes of one line of a stream.
    #[arg(long, env = "NERVE_MAX_LINE_BYTES", value_name = "N", default_value_t = RequestLimits::default().max_line_bytes)]
    pub max_line_bytes: usize,
    /// UTF-8 bytes of one text.
    #[arg(long, env = "NERVE_MAX_TEXT_BYTES", value_name = "N", default_value_t = RequestLimits::default().max_text_bytes)]
    pub max_text_bytes: usize,
    /// Windows of one text.
    #[arg(long, env = "NERVE_MAX_WINDOWS", value_name = "N", default_value_t = RequestLimits::default().max_windows)]
    pub max_windows: usize,
    /// How log lines are written to standard error; RUST_LOG says which.
    #[arg(long, env = "NERVE_LOG", value_enum, default_value_t = LogFormat::Text)]
    pub log: LogFormat,
}

impl ServeFlags {
    /// The validated configuration these flags spell.
    pub fn config(&self) -> Result<ServerConfig, ConfigError> {
        let model = self.model.config();
        let config = ServerConfig {
            http_threads: self.http_threads,
            requests: RequestLimits {
                max_body_bytes: self.max_body_bytes,
                max_texts_per_batch: self.max_texts_per_batch,
                ..model.requests
            },
            drain_deadline_ms: self.drain_deadline_ms,
            ..model
        };
        config.validate()?;
        Ok(config)
    }
}

impl TagFlags {
    /// The validated configuration and work these flags spell.
    pub fn work(&self) -> Result<(ServerConfig, TagFile), TagFileError> {
        let config = self.model.config();
        config.validate()?;
        let options = Options {
            offsets: self.offsets,
            threshold: self.threshold,
            labels: self.labels.clone(),
            include_words: self.no_words.then_some(false),
            aggregation: self.aggregation,
            constrained: self.unconstrained.then_some(false),
        };
        let work = TagFile::new(&self.file, self.input, self.output, self.out.clone(), options)?;
        Ok((config, work))
    }
}

impl ModelFlags {
    /// The configuration these flags spell, with the defaults of what only serving needs; to be validated.
    fn config(&self) -> ServerConfig {
        ServerConfig {
            model: self.model.clone(),
            plain: OpenOptions {
                onnx_file: self.onnx_file.clone(),
                splitter: self.splitter,
            },
            onnxruntime: self.onnxruntime.clone(),
            device: self.device,
            workers: self.workers.unwrap_or_else(|| default_workers(&self.device)),
            batching: BatchLimits {
                batch_tokens: self.batch_tokens,
                max_batch: self.max_batch,
                max_padding_percent: self.max_padding_percent,
            },
            queue: QueueLimits {
                windows: self.queue_requests,
                tokens: self.queue_tokens,
            },
            requests: RequestLimits {
                max_line_bytes: self.max_line_bytes,
                max_text_bytes: self.max_text_bytes,
                max_windows: self.max_windows,
                ..RequestLimits::default()
            },
            ..ServerConfig::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_flags_spell_the_defaults() {
        let flags = Flags::try_parse_from(["nerve-server"]).unwrap();
        let config = flags.serve.config().unwrap();
        assert_eq!(format!("{config:?}"), format!("{:?}", ServerConfig::default()));
    }

    #[test]
    fn a_flag_reaches_the_configuration_or_its_error() {
        let parse = |args: &[&str]| {
            Flags::try_parse_from([&["nerve-server"], args].concat()).map(|flags| flags.serve.config())
        };
        assert_eq!(
            parse(&["--max-batch", "3"]).unwrap().unwrap().batching.max_batch,
            3
        );
        assert_eq!(
            parse(&["--max-batch", "0"]).unwrap().unwrap_err(),
            ConfigError::Zero { option: "max-batch" }
        );
        let plain = parse(&[
            "--onnx-file",
            "onnx/model_quantized.onnx",
            "--splitter",
            "whitespace",
        ]);
        assert_eq!(
            plain.unwrap().unwrap().plain,
            OpenOptions {
                onnx_file: Some("onnx/model_quantized.onnx".into()),
                splitter: Some(Splitter::Whitespace),
            }
        );
        assert!(parse(&["--splitter", "axe"]).is_err());
        assert!(parse(&["--device", "abacus"]).is_err());
        assert!(parse(&["--listen", "8080"]).is_err());
    }
}
