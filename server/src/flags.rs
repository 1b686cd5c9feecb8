//! The command line and the environment.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use nerve_engine::{EngineConfig, TagOptions, VersionsConfig};

use crate::config::{ConfigError, HttpConfig, KeySource, ServerConfig};
use crate::logging::LogFormat;
use crate::offline::work::{InputFormat, OutputFormat, TagFile, TagFileError};

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
    /// How texts are to be tagged.
    #[command(flatten)]
    pub options: TagOptions,
    /// The model and its limits.
    #[command(flatten)]
    pub engine: EngineConfig,
    /// How log lines are written.
    #[command(flatten)]
    pub log: LogFlags,
}

/// How to serve, as typed.
#[derive(Debug, Args)]
pub struct ServeFlags {
    /// The model and its limits.
    #[command(flatten)]
    pub engine: EngineConfig,
    /// What changes while the server runs.
    #[command(flatten)]
    pub versions: VersionsConfig,
    /// How requests are read and answered.
    #[command(flatten)]
    pub http: HttpConfig,
    /// The address to listen on.
    #[arg(long, env = "NERVE_LISTEN", default_value = "127.0.0.1:8080")]
    pub listen: SocketAddr,
    /// A file of the keys that tagging needs, one a line, or sha256: and its hash [default: NERVE_API_KEYS, else none needed].
    #[arg(long, env = "NERVE_API_KEYS_FILE", value_name = "FILE")]
    pub api_keys_file: Option<PathBuf>,
    /// A file of the keys that orders (/admin) need [default: NERVE_ADMIN_KEYS, else no orders are taken].
    #[arg(long, env = "NERVE_ADMIN_KEYS_FILE", value_name = "FILE")]
    pub admin_keys_file: Option<PathBuf>,
    /// The base URL of an OpenTelemetry collector that traces are sent to, OTLP over HTTP.
    #[arg(long, env = "NERVE_OTLP_ENDPOINT", value_name = "URL")]
    pub otlp_endpoint: Option<String>,
    /// How log lines are written.
    #[command(flatten)]
    pub log: LogFlags,
}

/// How log lines are written, as typed.
#[derive(Args, Clone, Copy, Debug)]
pub struct LogFlags {
    /// How log lines are written to standard error; RUST_LOG says which.
    #[arg(long = "log", env = "NERVE_LOG", value_enum, default_value_t = LogFormat::Text)]
    pub format: LogFormat,
}

impl ServeFlags {
    /// The validated configuration these flags spell.
    pub fn config(&self) -> Result<ServerConfig, ConfigError> {
        let config = ServerConfig {
            engine: EngineConfig {
                versions: self.versions.clone(),
                ..self.engine.clone()
            },
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
    pub fn work(&self) -> Result<(EngineConfig, TagFile), TagFileError> {
        self.engine.validate()?;
        let options = self.options.clone();
        let work = TagFile::new(&self.file, self.input, self.output, self.out.clone(), options)?;
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
        assert!(parse(&["--listen", "8080"]).is_err());
    }

    #[test]
    fn options_that_mean_something_together_only_are_given_together() {
        let parse = |args: &[&str]| {
            Flags::try_parse_from([&["nerve-server"], args].concat()).map(|flags| flags.serve.config())
        };
        let both = parse(&["--canary", "c", "--canary-percent", "5"])
            .unwrap()
            .unwrap();
        let (path, percent) = ("c".into(), 5);
        assert_eq!(both.engine.versions.canary, Some(CanaryConfig { path, percent }));
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
