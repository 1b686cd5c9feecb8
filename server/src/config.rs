//! The configuration of a server, and its command-line options.

use std::fmt;
use std::path::PathBuf;

use clap::Args;
use nerve_engine::{EngineConfig, OptionError, check_counts, check_threads};
use nerve_export::CheckpointOptions;
use thiserror::Error;

/// What a short text and its answer need, compressed.
const LEAST_INFLIGHT_BYTES: usize = 256 << 10;

/// The configuration of a server.
#[derive(Clone, Debug, Default)]
pub struct ServerConfig {
    /// The model, its queue and its limits.
    pub engine: EngineConfig,
    /// How a checkpoint is exported.
    pub checkpoint: CheckpointOptions,
    /// How requests are read and answered.
    pub http: HttpConfig,
    /// The keys that allow tagging; tagging needs no key if absent.
    pub api_keys: Option<KeySource>,
    /// The keys that allow admin requests; admin requests are refused if absent.
    pub admin_keys: Option<KeySource>,
}

/// How requests are read and answered.
#[derive(Args, Clone, Debug)]
pub struct HttpConfig {
    /// Number of threads that read requests and write answers.
    #[arg(long, env = "NERVE_HTTP_THREADS", value_name = "N", default_value_t = Self::default().http_threads)]
    pub http_threads: usize,
    /// Maximum size of a request body, decompressed, in bytes.
    #[arg(long, env = "NERVE_MAX_BODY_BYTES", value_name = "N", default_value_t = Self::default().max_body_bytes)]
    pub max_body_bytes: usize,
    /// Maximum number of texts in a batch request.
    #[arg(long, env = "NERVE_MAX_TEXTS_PER_BATCH", value_name = "N", default_value_t = Self::default().max_texts_per_batch)]
    pub max_texts_per_batch: usize,
    /// Maximum time in milliseconds that a request may take. The header x-request-timeout-ms can shorten it.
    #[arg(long, env = "NERVE_REQUEST_TIMEOUT_MS", value_name = "MS", default_value_t = Self::default().request_timeout_ms)]
    pub request_timeout_ms: u64,
    /// Maximum time in milliseconds for a request's head to arrive, and again for its body. The body of a stream has
    /// --idle-timeout-ms instead.
    #[arg(long, env = "NERVE_READ_TIMEOUT_MS", value_name = "MS", default_value_t = Self::default().read_timeout_ms)]
    pub read_timeout_ms: u64,
    /// Maximum time in milliseconds for which a client may send nothing of a stream, or read nothing of an answer.
    #[arg(long, env = "NERVE_IDLE_TIMEOUT_MS", value_name = "MS", default_value_t = Self::default().idle_timeout_ms)]
    pub idle_timeout_ms: u64,
    /// Maximum memory of all requests and their answers together, in bytes, at least 262144. A request is refused with 429 where others hold
    /// it, and with 413 where it needs more than all of it.
    #[arg(long, env = "NERVE_MAX_INFLIGHT_BYTES", value_name = "N", default_value_t = Self::default().max_inflight_bytes)]
    pub max_inflight_bytes: usize,
    /// Maximum number of open connections. Further connections wait to be accepted.
    #[arg(long, env = "NERVE_MAX_CONNECTIONS", value_name = "N", default_value_t = Self::default().max_connections)]
    pub max_connections: usize,
    /// Origin whose pages may send requests, or * for every origin; may be given several times [default: none].
    #[arg(
        long = "cors-origin",
        env = "NERVE_CORS_ORIGIN",
        value_name = "ORIGIN",
        value_delimiter = ','
    )]
    pub cors_origins: Vec<String>,
    /// The files that HTTPS is served with; plain HTTP if absent.
    #[command(flatten)]
    pub tls: Option<TlsFiles>,
    /// Time in milliseconds after SIGTERM for which the server still accepts connections while /health/ready answers 503.
    #[arg(long, env = "NERVE_DRAIN_DELAY_MS", value_name = "MS", default_value_t = Self::default().drain_delay_ms)]
    pub drain_delay_ms: u64,
    /// Maximum time in milliseconds that requests in flight may take once the listener is closed.
    #[arg(long, env = "NERVE_DRAIN_DEADLINE_MS", value_name = "MS", default_value_t = Self::default().drain_deadline_ms)]
    pub drain_deadline_ms: u64,
}

/// Where API keys are read from.
#[derive(Clone, PartialEq, Eq)]
pub enum KeySource {
    /// A file with one key per line, or `sha256:` and the key's hash in hexadecimal. It is read again when it
    /// changes.
    File(PathBuf),
    /// An environment variable with keys separated by commas.
    Variable {
        /// The variable's name.
        name: String,
        /// The variable's value.
        value: String,
    },
}

// The value of the variable is a secret.
impl fmt::Debug for KeySource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => write!(f, "File({})", path.display()),
            Self::Variable { name, .. } => write!(f, "Variable({name})"),
        }
    }
}

/// The files that HTTPS is served with, in PEM format.
#[derive(Args, Clone, Debug, PartialEq, Eq)]
pub struct TlsFiles {
    /// The certificate for HTTPS, and its chain, as a PEM file.
    #[arg(
        id = "tls-cert",
        long = "tls-cert",
        env = "NERVE_TLS_CERT",
        value_name = "FILE",
        required = false,
        requires = "tls-key"
    )]
    pub certificate: PathBuf,
    /// The private key of the certificate, as a PEM file.
    #[arg(
        id = "tls-key",
        long = "tls-key",
        env = "NERVE_TLS_KEY",
        value_name = "FILE",
        required = false,
        requires = "tls-cert"
    )]
    pub key: PathBuf,
}

/// Why a configuration is invalid.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ConfigError {
    /// An option's value is invalid.
    #[error(transparent)]
    Option(#[from] OptionError),
    /// The budget of memory is too small for a single request.
    #[error(
        "--max-inflight-bytes is {given}; it must be at least {LEAST_INFLIGHT_BYTES}, which a short text and its answer need"
    )]
    InflightBytes {
        /// The value given.
        given: usize,
    },
    /// The keys are given both in a file and in the environment.
    #[error("--{option} and {variable} are two sources of the same keys; give one")]
    TwoKeySources {
        /// The option's name on the command line.
        option: &'static str,
        /// The variable's name.
        variable: &'static str,
    },
}

impl Default for HttpConfig {
    fn default() -> Self {
        Self {
            http_threads: 2,
            max_body_bytes: 8 << 20,
            max_texts_per_batch: 1024,
            request_timeout_ms: 30_000,
            read_timeout_ms: 15_000,
            idle_timeout_ms: 60_000,
            max_inflight_bytes: 512 << 20,
            max_connections: 25_000,
            cors_origins: Vec::new(),
            tls: None,
            drain_delay_ms: 0,
            drain_deadline_ms: 30_000,
        }
    }
}

impl ServerConfig {
    /// Checks the values of all options.
    pub fn validate(&self) -> Result<(), ConfigError> {
        self.engine.validate()?;
        check_threads(&[("http-threads", self.http.http_threads)])?;
        check_counts(&[
            ("max-body-bytes", self.http.max_body_bytes),
            ("max-texts-per-batch", self.http.max_texts_per_batch),
            ("max-connections", self.http.max_connections),
            ("request-timeout-ms", to_count(self.http.request_timeout_ms)),
            ("read-timeout-ms", to_count(self.http.read_timeout_ms)),
            ("idle-timeout-ms", to_count(self.http.idle_timeout_ms)),
        ])?;
        let given = self.http.max_inflight_bytes;
        if given < LEAST_INFLIGHT_BYTES {
            return Err(ConfigError::InflightBytes { given });
        }
        Ok(())
    }
}

impl HttpConfig {
    /// The number of connections of each thread.
    pub(crate) fn connections_per_thread(&self) -> usize {
        self.max_connections.div_ceil(self.http_threads.max(1))
    }
}

/// Milliseconds as a count, to be compared with 0.
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
    fn what_allows_nothing_names_its_option() {
        let mut config = ServerConfig::default();
        config.http.read_timeout_ms = 0;
        let option = "read-timeout-ms";
        assert_eq!(
            config.validate(),
            Err(ConfigError::Option(OptionError::Zero { option }))
        );
    }

    #[test]
    fn memory_for_no_request_is_refused() {
        let validated = |given| {
            let mut config = ServerConfig::default();
            config.http.max_inflight_bytes = given;
            config.validate()
        };
        assert_eq!(validated(LEAST_INFLIGHT_BYTES), Ok(()));
        for given in [0, 1, LEAST_INFLIGHT_BYTES - 1] {
            assert_eq!(validated(given), Err(ConfigError::InflightBytes { given }));
        }
    }
}
