//! A model directory, opened: a bundle, a store's current bundle, or a plain Hugging Face export.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use nerve_tagging::{LabelSet, Splitter, WindowLimits, WindowLimitsError};
use serde::Serialize;
use thiserror::Error;

use crate::config::{ConfigError, ModelConfig};
use crate::encoder::{EncoderError, TextEncoder};
use crate::manifest::{Evaluation, MANIFEST, Manifest, ManifestError, file_info};
use crate::runtime::{Runtime, SessionOptions};
use crate::session::{Session, SessionError};

/// Why a model directory cannot be opened.
#[derive(Debug, Error)]
pub enum ModelError {
    /// The path does not exist or cannot be followed.
    #[error("cannot open {}: {source}", path.display())]
    Open {
        /// The path.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The directory is none of the three kinds.
    #[error(
        "{}: neither a bundle (manifest.json), a model store (current), nor an ONNX export (config.json with model.onnx or onnx/model.onnx)",
        path.display()
    )]
    Unknown {
        /// The directory.
        path: PathBuf,
    },
    /// The manifest or a file it describes is wrong.
    #[error(transparent)]
    Manifest(#[from] ManifestError),
    /// The configuration or its labels are wrong.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The tokenizer is wrong.
    #[error(transparent)]
    Encoder(#[from] EncoderError),
    /// The maximum length leaves no room for text.
    #[error("{}: maximum length {max_length}: {source}", path.display())]
    MaxLength {
        /// The directory.
        path: PathBuf,
        /// The length stated.
        max_length: usize,
        /// What is wrong with it.
        source: WindowLimitsError,
    },
    /// The tokenizer has ids that the embedding table lacks.
    #[error("{}: the tokenizer has {tokens} entries, the embedding table {rows} rows", path.display())]
    Vocabulary {
        /// The directory.
        path: PathBuf,
        /// Entries of the tokenizer.
        tokens: usize,
        /// Rows of the table.
        rows: usize,
    },
}

/// What a model is, as `/info` shows it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ModelInfo {
    /// The model's name.
    pub name: String,
    /// Its content hash.
    pub version: String,
    /// `fp32` or `int8`; `unknown` for a plain export, which does not say.
    pub precision: String,
    /// Label names, in output order.
    pub labels: Vec<String>,
    /// Longest window in tokens, special tokens included.
    pub max_length: usize,
    /// How running text is split into words.
    pub splitter: Splitter,
    /// The base model it was fine-tuned from.
    pub base: Option<String>,
    /// The evaluation it earned before it was written.
    pub evaluation: Option<Evaluation>,
}

/// An opened and checked model, ready to make sessions.
pub struct Model {
    info: ModelInfo,
    labels: LabelSet,
    encoder: Arc<TextEncoder>,
    limits: WindowLimits,
    graph: PathBuf,
    pad: u32,
}

impl Model {
    /// The model at a path: a bundle, a store (its `current`), or a directory with `config.json`, a tokenizer and
    /// `model.onnx` or `onnx/model.onnx`.
    pub fn open(path: &Path) -> Result<Self, ModelError> {
        let store_current = path.join("current");
        let at = if store_current.exists() {
            &store_current
        } else {
            path
        };
        // Resolved once: a store that flips `current` meanwhile must not mix two versions' files.
        let dir = std::fs::canonicalize(at).map_err(|source| ModelError::Open {
            path: at.to_owned(),
            source,
        })?;
        if dir.join(MANIFEST).is_file() {
            Self::open_bundle(&dir)
        } else {
            Self::open_plain(&dir)
        }
    }

    fn open_bundle(dir: &Path) -> Result<Self, ModelError> {
        let manifest = Manifest::read(dir)?;
        let config_path = dir.join("config.json");
        let config = ModelConfig::read(&config_path)?;
        let labels = config.labels(&config_path)?;
        if labels.names() != manifest.labels {
            return Err(ManifestError::Labels {
                path: dir.join(MANIFEST),
            }
            .into());
        }
        let info = ModelInfo {
            name: manifest.name,
            version: manifest.version,
            precision: manifest.precision,
            labels: manifest.labels,
            max_length: manifest.max_length.min(config.max_position_embeddings),
            splitter: manifest.splitter,
            base: manifest.base,
            evaluation: manifest.evaluation,
        };
        Self::assemble(dir, dir.join("model.onnx"), info, labels, &config)
    }

    fn open_plain(dir: &Path) -> Result<Self, ModelError> {
        let graph = ["model.onnx", "onnx/model.onnx"]
            .iter()
            .map(|file| dir.join(file))
            .find(|file| file.is_file());
        let config_path = dir.join("config.json");
        let Some(graph) = graph.filter(|_| config_path.is_file()) else {
            return Err(ModelError::Unknown { path: dir.to_owned() });
        };
        let config = ModelConfig::read(&config_path)?;
        let labels = config.labels(&config_path)?;
        let mut version = file_info(&graph)
            .map_err(|source| ModelError::Open {
                path: graph.clone(),
                source,
            })?
            .sha256;
        version.truncate(16);
        let name = dir.file_name().unwrap_or(dir.as_os_str());
        let info = ModelInfo {
            name: name.to_string_lossy().into_owned(),
            version,
            precision: "unknown".to_owned(),
            labels: labels.names().to_vec(),
            max_length: config.max_position_embeddings,
            splitter: Splitter::Bert,
            base: None,
            evaluation: None,
        };
        Self::assemble(dir, graph, info, labels, &config)
    }

    fn assemble(
        dir: &Path,
        graph: PathBuf,
        info: ModelInfo,
        labels: LabelSet,
        config: &ModelConfig,
    ) -> Result<Self, ModelError> {
        let encoder = TextEncoder::open_dir(dir)?;
        if encoder.vocab_size() > config.vocab_size {
            return Err(ModelError::Vocabulary {
                path: dir.to_owned(),
                tokens: encoder.vocab_size(),
                rows: config.vocab_size,
            });
        }
        let (before, after) = encoder.specials();
        let limits = WindowLimits::for_encoder(info.max_length, before + after).map_err(|source| {
            ModelError::MaxLength {
                path: dir.to_owned(),
                max_length: info.max_length,
                source,
            }
        })?;
        Ok(Self {
            info,
            labels,
            encoder: Arc::new(encoder),
            limits,
            graph,
            pad: config.pad_token_id,
        })
    }

    /// What the model is.
    pub fn info(&self) -> &ModelInfo {
        &self.info
    }

    /// Its labels.
    pub fn labels(&self) -> &LabelSet {
        &self.labels
    }

    /// Its tokenizer.
    pub fn encoder(&self) -> &Arc<TextEncoder> {
        &self.encoder
    }

    /// How running text is split for it.
    pub fn splitter(&self) -> Splitter {
        self.info.splitter
    }

    /// How long its windows may be.
    pub fn limits(&self) -> WindowLimits {
        self.limits
    }

    /// A new session of the model, whose logits are checked to be as wide as the labels are many.
    pub fn session(&self, runtime: &Runtime, options: &SessionOptions) -> Result<Session, SessionError> {
        Session::open(&self.graph, runtime, options, self.labels.len(), self.pad)
    }
}
