//! The command line and the environment.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use nerve_inference::OpenOptions;
use nerve_tagging::Splitter;

use crate::config::{
    Batching, CanaryConfig, ConfigError, KeySource, QueueLimits, RequestLimits, ServerConfig, TlsFiles,
};
use crate::device::DeviceChoice;
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
    /// Ask a server whether it is ready, as a container's health check.
    Healthcheck(HealthcheckFlags),
}

/// Which server to ask, as typed.
#[derive(Debug, Args)]
pub struct HealthcheckFlags {
    /// The address the server listens on.
    #[arg(long, env = "NERVE_LISTEN", default_value = "127.0.0.1:8080")]
    pub listen: SocketAddr,
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
    /// Bytes of the answers of recent texts that are kept, to be given again to who asks the same; 0 for none.
    #[arg(long, env = "NERVE_CACHE_BYTES", value_name = "N", default_value_t = ServerConfig::default().cache_bytes)]
    pub cache_bytes: usize,
    /// How often another version of the model is looked for, file events aside; 0 for never.
    #[arg(long, env = "NERVE_RELOAD_POLL_MS", value_name = "MS", default_value_t = ServerConfig::default().reload_poll_ms)]
    pub reload_poll_ms: u64,
    /// A second model, which answers a share of the requests.
    #[arg(long, env = "NERVE_CANARY", value_name = "PATH")]
    pub canary: Option<PathBuf>,
    /// The share of requests that the second model answers.
    #[arg(long, env = "NERVE_CANARY_PERCENT", value_name = "N")]
    pub canary_percent: Option<u8>,
    /// How long a request may take; x-request-timeout-ms asks for less.
    #[arg(long, env = "NERVE_REQUEST_TIMEOUT_MS", value_name = "MS", default_value_t = ServerConfig::default().request_timeout_ms)]
    pub request_timeout_ms: u64,
    /// How long a request's head, and then its body, may take to arrive.
    #[arg(long, env = "NERVE_READ_TIMEOUT_MS", value_name = "MS", default_value_t = ServerConfig::default().read_timeout_ms)]
    pub read_timeout_ms: u64,
    /// How long a client may send nothing of a stream, or read nothing of an answer.
    #[arg(long, env = "NERVE_IDLE_TIMEOUT_MS", value_name = "MS", default_value_t = ServerConfig::default().idle_timeout_ms)]
    pub idle_timeout_ms: u64,
    /// Bytes of the bodies of all requests that are being answered.
    #[arg(long, env = "NERVE_MAX_INFLIGHT_BYTES", value_name = "N", default_value_t = ServerConfig::default().max_inflight_bytes)]
    pub max_inflight_bytes: usize,
    /// Connections that are served at a time; more wait to be accepted.
    #[arg(long, env = "NERVE_MAX_CONNECTIONS", value_name = "N", default_value_t = ServerConfig::default().max_connections)]
    pub max_connections: usize,
    /// A file of the keys that tagging needs, one a line, or sha256: and its hash [default: NERVE_API_KEYS, else none needed].
    #[arg(long, env = "NERVE_API_KEYS_FILE", value_name = "FILE")]
    pub api_keys_file: Option<PathBuf>,
    /// A file of the keys that orders (/admin) need [default: NERVE_ADMIN_KEYS, else no orders are taken].
    #[arg(long, env = "NERVE_ADMIN_KEYS_FILE", value_name = "FILE")]
    pub admin_keys_file: Option<PathBuf>,
    /// An origin whose pages may ask, or * for any; may be given several times.
    #[arg(long, env = "NERVE_CORS_ORIGIN", value_name = "ORIGIN", value_delimiter = ',')]
    pub cors_origin: Vec<String>,
    /// The certificate to serve HTTPS with, PEM.
    #[arg(long, env = "NERVE_TLS_CERT", value_name = "FILE")]
    pub tls_cert: Option<PathBuf>,
    /// The certificate's private key, PEM.
    #[arg(long, env = "NERVE_TLS_KEY", value_name = "FILE")]
    pub tls_key: Option<PathBuf>,
    /// The base URL of an OpenTelemetry collector that traces are sent to, OTLP over HTTP.
    #[arg(long, env = "NERVE_OTLP_ENDPOINT", value_name = "URL")]
    pub otlp_endpoint: Option<String>,
    /// How long the listener stays open, not ready, after SIGTERM.
    #[arg(long, env = "NERVE_DRAIN_DELAY_MS", value_name = "MS", default_value_t = ServerConfig::default().drain_delay_ms)]
    pub drain_delay_ms: u64,
    /// How long in-flight work may take to end once the listener is closed.
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
    /// Positions of one batch, padding included [default: 384, 256 if the graph computes padding, 8192 on CUDA].
    #[arg(long, env = "NERVE_BATCH_TOKENS", value_name = "N")]
    pub batch_tokens: Option<usize>,
    /// Windows of one batch [default: 24, 16 if the graph computes padding, 128 on CUDA].
    #[arg(long, env = "NERVE_MAX_BATCH", value_name = "N")]
    pub max_batch: Option<usize>,
    /// The share of a batch that may be padding, in percent [default: 20, 5 if the graph computes padding, 10 on CUDA].
    #[arg(long, env = "NERVE_MAX_PADDING_PERCENT", value_name = "N")]
    pub max_padding_percent: Option<usize>,
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
    /// Words of one text.
    #[arg(long, env = "NERVE_MAX_WORDS", value_name = "N", default_value_t = RequestLimits::default().max_words)]
    pub max_words: usize,
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
            cache_bytes: self.cache_bytes,
            reload_poll_ms: self.reload_poll_ms,
            canary: both(self.canary.clone(), self.canary_percent, ConfigError::Canary)?
                .map(|(path, percent)| CanaryConfig { path, percent }),
            request_timeout_ms: self.request_timeout_ms,
            read_timeout_ms: self.read_timeout_ms,
            idle_timeout_ms: self.idle_timeout_ms,
            max_inflight_bytes: self.max_inflight_bytes,
            max_connections: self.max_connections,
            api_keys: keys("api-keys-file", self.api_keys_file.clone(), "NERVE_API_KEYS")?,
            admin_keys: keys(
                "admin-keys-file",
                self.admin_keys_file.clone(),
                "NERVE_ADMIN_KEYS",
            )?,
            cors_origins: self.cors_origin.clone(),
            tls: both(self.tls_cert.clone(), self.tls_key.clone(), ConfigError::Tls)?
                .map(|(certificate, key)| TlsFiles { certificate, key }),
            drain_delay_ms: self.drain_delay_ms,
            drain_deadline_ms: self.drain_deadline_ms,
            ..model
        };
        config.validate()?;
        Ok(config)
    }
}

/// Two options that mean something together only.
fn both<A, B>(a: Option<A>, b: Option<B>, error: ConfigError) -> Result<Option<(A, B)>, ConfigError> {
    match (a, b) {
        (Some(a), Some(b)) => Ok(Some((a, b))),
        (None, None) => Ok(None),
        (Some(_), None) | (None, Some(_)) => Err(error),
    }
}

/// Where keys are read: the file, or else the variable. Not an option of its own: what is typed is seen by every process.
fn keys(
    option: &'static str,
    file: Option<PathBuf>,
    variable: &'static str,
) -> Result<Option<KeySource>, ConfigError> {
    let value = std::env::var(variable).ok();
    match (file, value) {
        (Some(_), Some(_)) => Err(ConfigError::TwoKeySources { option, variable }),
        (Some(path), None) => Ok(Some(KeySource::File(path))),
        (None, Some(value)) => Ok(Some(KeySource::Variable {
            name: variable.to_owned(),
            value,
        })),
        (None, None) => Ok(None),
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
            workers: self.workers,
            lone_threads: self.lone_threads,
            batching: Batching {
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
                max_words: self.max_words,
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
            parse(&["--max-batch", "3"])
                .unwrap()
                .unwrap()
                .batching(true)
                .max_batch,
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
