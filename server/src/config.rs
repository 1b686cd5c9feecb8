//! The validated configuration of a server, as its options spell it.

use std::fmt;
use std::path::PathBuf;

use clap::Args;
use nerve_engine::{EngineConfig, OptionError, check_counts, check_threads};
use thiserror::Error;

/// Everything a server is told before it starts.
#[derive(Clone, Debug, Default)]
pub struct ServerConfig {
    /// The model, and what it is asked within which limits.
    pub engine: EngineConfig,
    /// How requests are read and answered.
    pub http: HttpConfig,
    /// Who may tag; anybody where absent.
    pub api_keys: Option<KeySource>,
    /// Who may give orders; nobody where absent.
    pub admin_keys: Option<KeySource>,
}

/// How requests are read and answered.
#[derive(Args, Clone, Debug)]
pub struct HttpConfig {
    /// Threads that read requests and write answers.
    #[arg(long, env = "NERVE_HTTP_THREADS", value_name = "N", default_value_t = Self::default().http_threads)]
    pub http_threads: usize,
    /// Bytes of a request body.
    #[arg(long, env = "NERVE_MAX_BODY_BYTES", value_name = "N", default_value_t = Self::default().max_body_bytes)]
    pub max_body_bytes: usize,
    /// Texts of a batch request.
    #[arg(long, env = "NERVE_MAX_TEXTS_PER_BATCH", value_name = "N", default_value_t = Self::default().max_texts_per_batch)]
    pub max_texts_per_batch: usize,
    /// How long a request may take; x-request-timeout-ms asks for less.
    #[arg(long, env = "NERVE_REQUEST_TIMEOUT_MS", value_name = "MS", default_value_t = Self::default().request_timeout_ms)]
    pub request_timeout_ms: u64,
    /// How long a request's head, and then its body, may take to arrive.
    #[arg(long, env = "NERVE_READ_TIMEOUT_MS", value_name = "MS", default_value_t = Self::default().read_timeout_ms)]
    pub read_timeout_ms: u64,
    /// How long a client may send nothing of a stream, or read nothing of an answer.
    #[arg(long, env = "NERVE_IDLE_TIMEOUT_MS", value_name = "MS", default_value_t = Self::default().idle_timeout_ms)]
    pub idle_timeout_ms: u64,
    /// Bytes of the bodies of all requests that are being answered.
    #[arg(long, env = "NERVE_MAX_INFLIGHT_BYTES", value_name = "N", default_value_t = Self::default().max_inflight_bytes)]
    pub max_inflight_bytes: usize,
    /// Connections that are served at a time; more wait to be accepted.
    #[arg(long, env = "NERVE_MAX_CONNECTIONS", value_name = "N", default_value_t = Self::default().max_connections)]
    pub max_connections: usize,
    /// An origin whose pages may ask, or * for any; may be given several times.
    #[arg(
        long = "cors-origin",
        env = "NERVE_CORS_ORIGIN",
        value_name = "ORIGIN",
        value_delimiter = ','
    )]
    pub cors_origins: Vec<String>,
    /// What HTTPS is served with; plain HTTP where absent.
    #[command(flatten)]
    pub tls: Option<TlsFiles>,
    /// How long the listener stays open, not ready, after SIGTERM.
    #[arg(long, env = "NERVE_DRAIN_DELAY_MS", value_name = "MS", default_value_t = Self::default().drain_delay_ms)]
    pub drain_delay_ms: u64,
    /// How long in-flight work may take to end once the listener is closed.
    #[arg(long, env = "NERVE_DRAIN_DEADLINE_MS", value_name = "MS", default_value_t = Self::default().drain_deadline_ms)]
    pub drain_deadline_ms: u64,
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
#[derive(Args, Clone, Debug, PartialEq, Eq)]
pub struct TlsFiles {
    /// The certificate to serve HTTPS with, PEM.
    #[arg(
        id = "tls-cert",
        long = "tls-cert",
        env = "NERVE_TLS_CERT",
        value_name = "FILE",
        required = false,
        requires = "tls-key"
    )]
    pub certificate: PathBuf,
    /// The certificate's private key, PEM.
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

/// Why a configuration makes no server.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ConfigError {
    /// An option's value is out of bounds.
    #[error(transparent)]
    Option(#[from] OptionError),
    /// Keys from a file and from the environment.
    #[error("--{option} and {variable} are two sources of the same keys; give one")]
    TwoKeySources {
        /// The option's name on the command line.
        option: &'static str,
        /// The variable.
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
            max_inflight_bytes: 256 << 20,
            max_connections: 25_000,
            cors_origins: Vec::new(),
            tls: None,
            drain_delay_ms: 0,
            drain_deadline_ms: 30_000,
        }
    }
}

impl ServerConfig {
    /// Checks that the numbers make a server.
    pub fn validate(&self) -> Result<(), ConfigError> {
        self.engine.validate()?;
        check_threads(&[("http-threads", self.http.http_threads)])?;
        check_counts(&[
            ("max-body-bytes", self.http.max_body_bytes),
            ("max-texts-per-batch", self.http.max_texts_per_batch),
            ("max-inflight-bytes", self.http.max_inflight_bytes),
            ("max-connections", self.http.max_connections),
            ("request-timeout-ms", to_count(self.http.request_timeout_ms)),
            ("read-timeout-ms", to_count(self.http.read_timeout_ms)),
            ("idle-timeout-ms", to_count(self.http.idle_timeout_ms)),
        ])?;
        Ok(())
    }
}

impl HttpConfig {
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
    fn what_allows_nothing_names_its_option() {
        let mut config = ServerConfig::default();
        config.http.read_timeout_ms = 0;
        let option = "read-timeout-ms";
        assert_eq!(
            config.validate(),
            Err(ConfigError::Option(OptionError::Zero { option }))
        );
    }
}
