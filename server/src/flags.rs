//! The command line and the environment.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use nerve_engine::{EngineConfig, TagOptions, VersionsConfig};
use nerve_export::CheckpointOptions;

use crate::config::{ConfigError, HttpConfig, KeySource, ServerConfig};
use crate::logging::LogFormat;
use crate::offline::work::{ColumnOptions, InputFormat, OutputFormat, TagFile, TagFileError};

/// Serves an entity tagger over HTTP and gRPC.
#[derive(Debug, Parser)]
#[command(name = "nerve-server", version, args_conflicts_with_subcommands = true)]
pub struct Flags {
    /// The subcommand; without one, the program serves.
    #[command(subcommand)]
    pub command: Option<Command>,
    /// The options of serving.
    #[command(flatten)]
    pub serve: ServeFlags,
}

/// The subcommands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Print the OpenAPI document.
    Openapi,
    /// Tag the lines of a file, as `POST /ner/stream` does, or the rows of a table.
    Tag(Box<TagFlags>),
    /// Check whether a server is ready, for the health check of a container.
    Healthcheck(HealthcheckFlags),
}

/// The options of `healthcheck`.
#[derive(Debug, Args)]
pub struct HealthcheckFlags {
    /// IP address and port that the server listens on.
    #[arg(
        long,
        env = "NERVE_LISTEN",
        value_name = "IP:PORT",
        default_value = "127.0.0.1:8080",
        value_parser = address
    )]
    pub listen: SocketAddr,
}

/// The options of `tag`.
#[derive(Debug, Args)]
pub struct TagFlags {
    /// The file to tag, or - for standard input.
    #[arg(value_name = "FILE|-")]
    pub file: PathBuf,
    /// Format of the input [default: by the file's extension, ndjson for .jsonl, .ndjson and .json, lines for .txt, parquet
    /// for .parquet, arrow for .arrows].
    #[arg(long, value_enum)]
    pub input: Option<InputFormat>,
    /// Format of the output [default: by the extension of --out, ndjson for .jsonl, .ndjson and .json, conll for .conll, .iob, .iob2
    /// and .bio, html for .html, parquet for .parquet, arrow for .arrows; ndjson without --out or without an extension].
    #[arg(long, value_enum)]
    pub output: Option<OutputFormat>,
    /// File to write [default: standard output].
    #[arg(long, value_name = "FILE")]
    pub out: Option<PathBuf>,
    /// The columns of a table.
    #[command(flatten)]
    pub columns: ColumnOptions,
    /// How texts are tagged.
    #[command(flatten)]
    pub options: TagOptions,
    /// The model, its queue and its limits.
    #[command(flatten)]
    pub engine: EngineConfig,
    /// How a checkpoint is exported.
    #[command(flatten)]
    pub checkpoint: CheckpointOptions,
    /// How log lines are written.
    #[command(flatten)]
    pub log: LogFlags,
}

/// The options of serving.
#[derive(Debug, Args)]
pub struct ServeFlags {
    /// The model, its queue and its limits.
    #[command(flatten)]
    pub engine: EngineConfig,
    /// How a checkpoint is exported.
    #[command(flatten)]
    pub checkpoint: CheckpointOptions,
    /// Reloading, the canary and the cache.
    #[command(flatten)]
    pub versions: VersionsConfig,
    /// How requests are read and answered.
    #[command(flatten)]
    pub http: HttpConfig,
    /// IP address and port to listen on. 0.0.0.0:8080 is port 8080 of every IPv4 address of the machine.
    #[arg(
        long,
        env = "NERVE_LISTEN",
        value_name = "IP:PORT",
        default_value = "127.0.0.1:8080",
        value_parser = address
    )]
    pub listen: SocketAddr,
    /// IP address and port to listen on for gRPC, such as 0.0.0.0:9000 [default: no gRPC].
    #[arg(long, env = "NERVE_GRPC_LISTEN", value_name = "IP:PORT", value_parser = address)]
    pub grpc_listen: Option<SocketAddr>,
    /// File with the API keys for tagging. Each line is a key, or `sha256:` and the hexadecimal SHA-256 of the key; lines
    /// that begin with # are comments [default: the environment variable NERVE_API_KEYS; without it, tagging needs no key].
    #[arg(long, env = "NERVE_API_KEYS_FILE", value_name = "FILE")]
    pub api_keys_file: Option<PathBuf>,
    /// File with the API keys for /admin, in the same format [default: the environment variable NERVE_ADMIN_KEYS; without
    /// it, /admin is refused].
    #[arg(long, env = "NERVE_ADMIN_KEYS_FILE", value_name = "FILE")]
    pub admin_keys_file: Option<PathBuf>,
    /// Base URL of an OpenTelemetry collector that receives traces, as OTLP over HTTP. Needs a server built with the feature
    /// otlp [default: none].
    #[arg(long, env = "NERVE_OTLP_ENDPOINT", value_name = "URL")]
    pub otlp_endpoint: Option<String>,
    /// How log lines are written.
    #[command(flatten)]
    pub log: LogFlags,
}

/// How log lines are written.
#[derive(Args, Clone, Copy, Debug)]
pub struct LogFlags {
    /// Format of log lines on standard error. The environment variable RUST_LOG selects the lines, such as
    /// RUST_LOG=nerve_server=debug.
    #[arg(long = "log", env = "NERVE_LOG", value_enum, default_value_t = LogFormat::Text)]
    pub format: LogFormat,
}

impl ServeFlags {
    /// The validated configuration.
    pub fn config(&self) -> Result<ServerConfig, ConfigError> {
        let config = ServerConfig {
            engine: EngineConfig {
                versions: self.versions.clone(),
                ..self.engine.clone()
            },
            checkpoint: self.checkpoint.clone(),
            http: self.http.clone(),
            api_keys: keys("api-keys-file", self.api_keys_file.clone(), "NERVE_API_KEYS")?,
            admin_keys: keys(
                "admin-keys-file",
                self.admin_keys_file.clone(),
                "NERVE_ADMIN_KEYS",
            )?,
        };
        config.validate()?;
        Ok(config)
    }
}

/// The address and port that an option gives.
fn address(given: &str) -> Result<SocketAddr, &'static str> {
    given
        .parse()
        .map_err(|_| "expected IP:PORT, such as 127.0.0.1:8080")
}

/// The source of keys: the file, or the variable. Keys are no option, because every process can read the arguments of
/// others.
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
    /// The validated configuration, and the file to tag.
    pub fn work(&self) -> Result<(EngineConfig, TagFile), TagFileError> {
        self.engine.validate()?;
        let options = self.options.clone();
        let work = TagFile::new(
            &self.file,
            self.input,
            self.output,
            self.out.clone(),
            self.columns.clone(),
            options,
        )?;
        Ok((self.engine.clone(), work))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use nerve_engine::{CanaryConfig, OptionError};
    use nerve_tagging::Splitter;

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
        let given = parse(&["--max-batch", "3"]).unwrap().unwrap();
        assert_eq!(given.engine.batching.max_batch, Some(3));
        let option = "max-batch";
        assert_eq!(
            parse(&["--max-batch", "0"]).unwrap().unwrap_err(),
            ConfigError::Option(OptionError::Zero { option })
        );
        let plain = parse(&[
            "--onnx-file",
            "onnx/model_quantized.onnx",
            "--splitter",
            "whitespace",
        ]);
        let model = plain.unwrap().unwrap().engine.model;
        assert_eq!(model.onnx_file, Some("onnx/model_quantized.onnx".into()));
        assert_eq!(model.splitter, Some(Splitter::Whitespace));
        assert!(parse(&["--splitter", "axe"]).is_err());
        assert!(parse(&["--device", "abacus"]).is_err());
        for option in ["--listen", "--grpc-listen"] {
            let refused = parse(&[option, "8080"]).unwrap_err().to_string();
            assert!(
                refused.contains("expected IP:PORT, such as 127.0.0.1:8080"),
                "{refused}"
            );
        }
    }

    #[test]
    fn options_that_mean_something_together_only_are_given_together() {
        let parse = |args: &[&str]| {
            Flags::try_parse_from([&["nerve-server"], args].concat()).map(|flags| flags.serve.config())
        };
        let both = parse(&["--canary", "./c", "--canary-percent", "5"])
            .unwrap()
            .unwrap();
        let canary = CanaryConfig {
            address: "./c".parse().unwrap(),
            source: None,
            percent: 5,
        };
        assert_eq!(both.engine.versions.canary, Some(canary));
        let tls = parse(&["--tls-cert", "c.pem", "--tls-key", "k.pem"])
            .unwrap()
            .unwrap();
        assert!(tls.http.tls.is_some());
        for alone in [
            ["--canary", "c"],
            ["--canary-percent", "5"],
            ["--tls-cert", "c"],
            ["--tls-key", "c"],
        ] {
            assert!(parse(&alone).is_err(), "{alone:?}");
        }
    }

    #[test]
    fn a_file_is_tagged_by_the_options_of_a_request() {
        let parse = |args: &[&str]| {
            let flags = Flags::try_parse_from([&["nerve-server", "tag", "a.jsonl"], args].concat()).unwrap();
            match flags.command {
                Some(Command::Tag(flags)) => flags.options,
                other => panic!("{other:?}"),
            }
        };
        let plain = parse(&[]);
        assert!(plain.constrained != Some(false) && plain.include_words != Some(false));
        let set = parse(&[
            "--unconstrained",
            "--no-words",
            "--labels",
            "a,b",
            "--aggregation",
            "max",
        ]);
        assert_eq!((set.constrained, set.include_words), (Some(false), Some(false)));
        assert_eq!(set.labels.unwrap(), ["a", "b"]);
    }
}
