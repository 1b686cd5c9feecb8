//! Why a model or a data set of the hub cannot be fetched.

use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::time::Duration;

use thiserror::Error;

use crate::hub::repository::{HubRepository, RepositoryKind};
use crate::shards::ShardError;

/// Why a model or a data set of the hub cannot be fetched.
#[derive(Debug, Error)]
pub enum HubError {
    /// An environment variable has an unusable value.
    #[error("{name} {problem}")]
    Setting {
        /// The variable.
        name: &'static str,
        /// What is wrong.
        problem: String,
    },
    /// The environment names no directory for the cache.
    #[error(
        "there is no directory for what is fetched from the hub: set HF_HUB_CACHE, HF_HOME, XDG_CACHE_HOME or HOME"
    )]
    NoCache,
    /// The file of the token cannot be read.
    #[error("{}: the hub's token cannot be read: {source}; correct the file, or set HF_TOKEN", path.display())]
    Token {
        /// The file.
        path: PathBuf,
        /// The error of the system.
        source: io::Error,
    },
    /// A file of a repository, or the list of its files, is not to be had.
    #[error("{repository}: {file}: {fault}")]
    File {
        /// The model or data set.
        repository: HubRepository,
        /// The file, or `list of files`.
        file: String,
        /// What is wrong.
        fault: Box<HubFault>,
    },
}

/// Why a file of the hub is not to be had.
#[derive(Debug, Error)]
pub enum HubFault {
    /// 401.
    #[error(
        "the hub does not accept {} for this {kind} (401{}); {}",
        if *has_token { "the token" } else { "a request without token" },
        in_brackets(said),
        if *has_token { "set HF_TOKEN to a valid token that may read it" }
        else { "check the name; if it is private or gated, set HF_TOKEN to a token that may read it" }
    )]
    Unauthorized {
        /// What the repository holds.
        kind: RepositoryKind,
        /// Whether a token was sent.
        has_token: bool,
        /// The hub's own words.
        said: String,
    },
    /// The model is gated, and the token has no access, or there is none.
    #[error(
        "the {kind} is gated ({status}{}); accept its conditions at {page}, and set HF_TOKEN to a token of that account{}",
        in_brackets(said),
        if *has_token { " (the present token has no access)" } else { "" }
    )]
    Gated {
        /// What the repository holds.
        kind: RepositoryKind,
        /// 401 or 403.
        status: u16,
        /// Where the conditions are accepted.
        page: String,
        /// Whether a token was sent.
        has_token: bool,
        /// The hub's own words.
        said: String,
    },
    /// 403 for another reason.
    #[error(
        "the hub refuses access (403{}); set HF_TOKEN to a token that may read this {kind}",
        in_brackets(said)
    )]
    Forbidden {
        /// What the repository holds.
        kind: RepositoryKind,
        /// The hub's own words.
        said: String,
    },
    /// There is no such model or data set, or it is private.
    #[error("{endpoint} has no such {kind} (404); check the name{}", if *has_token { "" } else { ", and set HF_TOKEN if it is private" })]
    NotFound {
        /// What the repository holds.
        kind: RepositoryKind,
        /// The hub.
        endpoint: String,
        /// Whether a token was sent.
        has_token: bool,
    },
    /// The repository has no such revision.
    #[error("the {kind} has no revision `{revision}` (404); name a branch, tag or commit of it after @")]
    RevisionNotFound {
        /// What the repository holds.
        kind: RepositoryKind,
        /// The revision.
        revision: String,
    },
    /// The repository has no such file.
    #[error("there is no such file{}", and_has(.alternatives))]
    FileNotFound {
        /// Files of the same kind that it has.
        alternatives: Vec<String>,
    },
    /// 429.
    #[error("the hub limits the rate of requests (429); try again {}, or set HF_TOKEN, which has a higher limit", later(*wait))]
    RateLimited {
        /// When the hub takes requests again, if it says.
        wait: Option<Duration>,
    },
    /// 5xx or 408.
    #[error("the hub has a fault ({status}); try again {}", later(*wait))]
    Server {
        /// The status.
        status: u16,
        /// When the hub takes requests again, if it says.
        wait: Option<Duration>,
    },
    /// A status that has no meaning here.
    #[error("the hub answers with status {status}; check HF_ENDPOINT, and proxies on the way")]
    Status {
        /// The status.
        status: u16,
    },
    /// The host that the hub redirects to does not give the content.
    #[error(
        "{url}, to which the hub redirects, answers with status {status}; try again later, and check proxies on the way"
    )]
    Storage {
        /// The address, without query.
        url: String,
        /// The status.
        status: u16,
    },
    /// The part on disk is longer than the file.
    #[error(
        "the hub has no byte {received} of it, but {received} bytes are on disk; they are downloaded anew"
    )]
    Range {
        /// Bytes on disk.
        received: u64,
    },
    /// There is no answer.
    #[error(
        "{url} cannot be reached: {source}; check the network and HF_ENDPOINT, or set HF_HUB_OFFLINE=1 to use the cache alone"
    )]
    Unreachable {
        /// The address, without query.
        url: String,
        /// The error of the HTTP client.
        source: Box<ureq::Error>,
    },
    /// Answers come too slowly.
    #[error(
        "{received} bytes after {seconds} s, which is too slow; check the network; the next start continues there"
    )]
    TooSlow {
        /// Bytes on disk.
        received: u64,
        /// The time they took.
        seconds: u64,
    },
    /// The answer ended early, each time.
    #[error("the answer ends after {received} of {size} bytes; try again, which continues there")]
    Truncated {
        /// Bytes on disk.
        received: u64,
        /// The size of the file.
        size: u64,
    },
    /// The content is not what the hub says it is.
    #[error(
        "the content is not that of the hub: its {what} is {found} instead of {expected}; a proxy or mirror on the way alters it; nothing of it was kept"
    )]
    Altered {
        /// `size`, `SHA-256` or `Git hash`.
        what: &'static str,
        /// What was received.
        found: String,
        /// What the hub says.
        expected: String,
    },
    /// A file in the cache is not what its name says.
    #[error("{} in the cache is damaged: its {what} is {found}; delete this file, and run the command again", path.display())]
    CacheAltered {
        /// The file.
        path: PathBuf,
        /// `SHA-256` or `Git hash`.
        what: &'static str,
        /// What it is.
        found: String,
    },
    /// The disk is full.
    #[error("{}: the disk is full{}; make room, or set HF_HUB_CACHE to a directory on a larger disk", path.display(), of_size(*size))]
    DiskFull {
        /// The file that has no room.
        path: PathBuf,
        /// Its size, if known.
        size: Option<u64>,
    },
    /// The cache cannot be written or read.
    #[error("{}: {source}; make this directory writable, or set HF_HUB_CACHE to one that is", path.display())]
    Cache {
        /// The file or directory.
        path: PathBuf,
        /// The error of the system.
        source: io::Error,
    },
    /// The answer has no meaning.
    #[error("the answer of {url} is not that of a hub: {problem}; check HF_ENDPOINT, and proxies on the way")]
    Answer {
        /// The address, without query.
        url: String,
        /// What is wrong.
        problem: String,
    },
    /// The weights are pickled.
    #[error(
        "the model has neither this file nor {index}; pickled weights ({pickle}) are not read, since opening them can run any program; \
         convert them, if you trust them, with: python -c \"import transformers as t; \
         t.AutoModelForTokenClassification.from_pretrained('{id}').save_pretrained('DIR', safe_serialization=True); \
         t.AutoTokenizer.from_pretrained('{id}').save_pretrained('DIR')\", and give DIR",
        index = crate::shards::WEIGHTS_INDEX
    )]
    Pickle {
        /// The hub id.
        id: String,
        /// The pickled file.
        pickle: &'static str,
    },
    /// The model has no tokenizer that is read.
    #[error(
        "the model has neither this file nor vocab.txt; write it with: python -c \"import transformers as t; \
         t.AutoTokenizer.from_pretrained('{id}').save_pretrained('DIR')\", and give DIR with the model's other files"
    )]
    NoTokenizer {
        /// The hub id.
        id: String,
    },
    /// The index of sharded weights is unusable.
    #[error(transparent)]
    Shards(#[from] ShardError),
    /// The ONNX file is unusable.
    #[error("not an ONNX file that can be fetched: {problem}")]
    Onnx {
        /// What is wrong.
        problem: String,
    },
    /// A data set has no Parquet files.
    #[error(
        "the revision has no Parquet files of splits: the hub converts most public data sets to the branch {}; if it has not converted \
         this one, write it with: python -c \"import datasets as d; \
         [split.to_parquet(f'DIR/{{name}}.parquet') for name, split in d.load_dataset('{id}').items()]\", and give DIR",
        RepositoryKind::Dataset.default_revision()
    )]
    NoParquet {
        /// The id of the data set.
        id: String,
    },
    /// A data set has several configurations, and none is named.
    #[error("the data set has several configurations: {}; name one after a colon, as in {id}:{}", configs.join(", "), configs.first().map_or("", String::as_str))]
    Configs {
        /// The id of the data set.
        id: String,
        /// The configurations.
        configs: Vec<String>,
    },
    /// A data set lacks the configuration that is named.
    #[error("the data set has no configuration `{config}`; it has {}", configs.join(", "))]
    NoConfig {
        /// The configuration.
        config: String,
        /// Those that it has.
        configs: Vec<String>,
    },
    /// A data set has no split to train on.
    #[error("the data set has no split `train`{}", and_has(.files))]
    NoTrainSplit {
        /// Its Parquet files.
        files: Vec<String>,
    },
    /// HF_HUB_OFFLINE is set, and the cache lacks the file.
    #[error("it is not in the cache {}, and HF_HUB_OFFLINE is set; unset it, or fetch the {kind} on a machine with network and copy the cache", cache.display())]
    Offline {
        /// What the repository holds.
        kind: RepositoryKind,
        /// The cache.
        cache: PathBuf,
    },
}

impl HubFault {
    /// Whether the same request may succeed later.
    pub(super) fn is_temporary(&self) -> bool {
        match self {
            Self::RateLimited { .. }
            | Self::Server { .. }
            | Self::Storage { .. }
            | Self::Range { .. }
            | Self::Truncated { .. } => true,
            Self::Unreachable { source, .. } => match &**source {
                // Certificates are wrong until someone corrects them.
                ureq::Error::Io(error) => error.kind() != ErrorKind::InvalidData,
                ureq::Error::Timeout(_)
                | ureq::Error::HostNotFound
                | ureq::Error::ConnectionFailed
                | ureq::Error::ConnectProxyFailed(_)
                | ureq::Error::Protocol(_) => true,
                _ => false,
            },
            _ => false,
        }
    }

    /// The time that the hub asks to wait.
    pub(super) fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::RateLimited { wait } | Self::Server { wait, .. } => *wait,
            _ => None,
        }
    }

    /// The error of the system at a file or directory of the cache.
    pub(super) fn cache(path: &Path, size: Option<u64>, source: io::Error) -> Self {
        let path = path.to_owned();
        match source.kind() {
            ErrorKind::StorageFull | ErrorKind::QuotaExceeded | ErrorKind::FileTooLarge => {
                Self::DiskFull { path, size }
            }
            _ => Self::Cache { path, source },
        }
    }
}

fn in_brackets(said: &str) -> String {
    match said {
        "" => String::new(),
        said => format!(": {said}"),
    }
}

fn later(wait: Option<Duration>) -> String {
    match wait {
        Some(wait) => format!("in {} s", wait.as_secs()),
        None => "later".to_owned(),
    }
}

fn of_size(size: Option<u64>) -> String {
    size.map(|size| format!(" (the file has {size} bytes)"))
        .unwrap_or_default()
}

fn and_has(found: &[String]) -> String {
    match found {
        [] => String::new(),
        found => {
            // The names are the hub's, and may hold control characters.
            let names: Vec<String> = found.iter().map(|name| name.escape_debug().to_string()).collect();
            format!("; it has {}", names.join(", "))
        }
    }
}
