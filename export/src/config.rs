//! `config.json` of a Hugging Face BERT token classifier.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use nerve_tagging::{LabelError, LabelSet};
use serde::{Deserialize, Serialize};
use thiserror::Error;

/// The shape of a BERT encoder and its token-classification head, named as in Hugging Face's `config.json`.
///
/// Fields this project does not read are kept, so that a configuration that is read and written again loses nothing.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ModelConfig {
    /// The architecture family; `bert` is the one supported.
    #[serde(default = "bert")]
    pub model_type: String,
    /// Class names in `transformers`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub architectures: Vec<String>,
    /// Rows of the word embedding table.
    pub vocab_size: usize,
    /// Width of the hidden states.
    pub hidden_size: usize,
    /// Encoder layers.
    pub num_hidden_layers: usize,
    /// Attention heads a layer; divides `hidden_size`.
    pub num_attention_heads: usize,
    /// Width of the feed-forward layers.
    pub intermediate_size: usize,
    /// The feed-forward activation.
    #[serde(default)]
    pub hidden_act: Activation,
    /// Dropout probability of embeddings and sub-layer outputs.
    #[serde(default = "tenth")]
    pub hidden_dropout_prob: f64,
    /// Dropout probability of attention weights.
    #[serde(default = "tenth")]
    pub attention_probs_dropout_prob: f64,
    /// Dropout probability before the head; `hidden_dropout_prob` where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub classifier_dropout: Option<f64>,
    /// Longest sequence, special tokens included.
    #[serde(default = "positions")]
    pub max_position_embeddings: usize,
    /// Rows of the token type table.
    #[serde(default = "token_types")]
    pub type_vocab_size: usize,
    /// Standard deviation of freshly drawn weights.
    #[serde(default = "initializer_range")]
    pub initializer_range: f64,
    /// Epsilon of every layer normalisation.
    #[serde(default = "layer_norm_eps")]
    pub layer_norm_eps: f64,
    /// Vocabulary id of the padding token.
    #[serde(default)]
    pub pad_token_id: u32,
    /// Label names by id; empty for an encoder without a head.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub id2label: BTreeMap<String, String>,
    /// Label ids by name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub label2id: BTreeMap<String, usize>,
    /// Everything else in the file.
    #[serde(flatten)]
    pub other: BTreeMap<String, serde_json::Value>,
}

/// The feed-forward activation functions Nerve trains and exports.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Activation {
    /// `x * Phi(x)`, exact, with the error function (Hendrycks and Gimpel 2016).
    #[default]
    #[serde(rename = "gelu")]
    Gelu,
    /// The tanh approximation of GELU.
    #[serde(rename = "gelu_new", alias = "gelu_pytorch_tanh")]
    GeluTanh,
    /// `max(x, 0)`.
    #[serde(rename = "relu")]
    Relu,
}

fn bert() -> String {
    "bert".to_owned()
}

fn tenth() -> f64 {
    0.1
}

fn positions() -> usize {
    512
}

fn token_types() -> usize {
    2
}

fn initializer_range() -> f64 {
    0.02
}

fn layer_norm_eps() -> f64 {
    1e-12
}

/// Why a `config.json` cannot be used.
#[derive(Debug, Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The file is not JSON of the expected fields.
    #[error("{}: {source}", path.display())]
    Parse {
        /// The file.
        path: PathBuf,
        /// The line, column and field.
        source: serde_json::Error,
    },
    /// The architecture is one Nerve does not know.
    #[error("{}: model_type `{model_type}` is not supported, only `bert`", path.display())]
    Family {
        /// The file.
        path: PathBuf,
        /// The family it names.
        model_type: String,
    },
    /// A field is not of the type it should have.
    #[error("{}: {field}: {source}", path.display())]
    Field {
        /// The file.
        path: PathBuf,
        /// The field.
        field: &'static str,
        /// What was found and what expected.
        source: serde_json::Error,
    },
    /// A field's value makes no model.
    #[error("{}: {field} {problem}", path.display())]
    Value {
        /// The file.
        path: PathBuf,
        /// The field.
        field: &'static str,
        /// What is wrong with it.
        problem: String,
    },
    /// `id2label` is not a label set.
    #[error("{}: {source}", path.display())]
    Labels {
        /// The file.
        path: PathBuf,
        /// The defect.
        source: LabelError,
    },
}

impl ModelConfig {
    /// The validated configuration in a `config.json`.
    pub fn read(path: &Path) -> Result<Self, ConfigError> {
        let text = std::fs::read_to_string(path).map_err(|source| ConfigError::Read {
            path: path.to_owned(),
            source,
        })?;
        let config: Self = serde_json::from_str(&text).map_err(|source| ConfigError::Parse {
            path: path.to_owned(),
            source,
        })?;
        config.validate(path)?;
        Ok(config)
    }

    /// Checks that the numbers make a BERT; `path` is named in the error.
    pub fn validate(&self, path: &Path) -> Result<(), ConfigError> {
        if self.model_type != "bert" {
            return Err(ConfigError::Family {
                path: path.to_owned(),
                model_type: self.model_type.clone(),
            });
        }
        let value = |field, problem: String| ConfigError::Value {
            path: path.to_owned(),
            field,
            problem,
        };
        let sizes = [
            ("vocab_size", self.vocab_size),
            ("hidden_size", self.hidden_size),
            ("num_hidden_layers", self.num_hidden_layers),
            ("num_attention_heads", self.num_attention_heads),
            ("intermediate_size", self.intermediate_size),
            ("max_position_embeddings", self.max_position_embeddings),
            ("type_vocab_size", self.type_vocab_size),
        ];
        if let Some((field, _)) = sizes.iter().find(|(_, size)| *size == 0) {
            return Err(value(field, "is 0".to_owned()));
        }
        if !self.hidden_size.is_multiple_of(self.num_attention_heads) {
            return Err(value(
                "num_attention_heads",
                format!(
                    "is {}, which does not divide hidden_size {}",
                    self.num_attention_heads, self.hidden_size
                ),
            ));
        }
        let probabilities = [
            ("hidden_dropout_prob", Some(self.hidden_dropout_prob)),
            (
                "attention_probs_dropout_prob",
                Some(self.attention_probs_dropout_prob),
            ),
            ("classifier_dropout", self.classifier_dropout),
        ];
        for (field, probability) in probabilities {
            if let Some(p) = probability.filter(|p| !(0.0..1.0).contains(p)) {
                return Err(value(field, format!("is {p}, not in [0, 1)")));
            }
        }
        match self.other.get("position_embedding_type") {
            Some(kind) if kind != "absolute" => Err(value(
                "position_embedding_type",
                format!("is {kind}; only \"absolute\" is supported"),
            )),
            _ => Ok(()),
        }
    }

    /// The label set of `id2label`; `path` is named in the error.
    pub fn labels(&self, path: &Path) -> Result<LabelSet, ConfigError> {
        LabelSet::from_id2label(&self.id2label).map_err(|source| ConfigError::Labels {
            path: path.to_owned(),
            source,
        })
    }

    /// The same encoder with a head for these labels.
    pub fn with_labels(mut self, labels: &LabelSet) -> Self {
        self.architectures = vec!["BertForTokenClassification".to_owned()];
        self.id2label = labels.id2label();
        self.label2id = labels.names().iter().cloned().zip(0..).collect();
        self
    }

    /// Width of one attention head.
    pub fn head_size(&self) -> usize {
        self.hidden_size / self.num_attention_heads
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINIMAL: &str = r#"{"vocab_size": 10, "hidden_size": 8, "num_hidden_layers": 1,
        "num_attention_heads": 2, "intermediate_size": 16, "use_cache": true}"#;

    fn read(text: &str) -> Result<ModelConfig, ConfigError> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("config.json");
        std::fs::write(&path, text).unwrap();
        ModelConfig::read(&path)
    }

    #[test]
    fn defaults_are_bert_and_unknown_fields_survive() {
        let config = read(MINIMAL).unwrap();
        assert_eq!(config.layer_norm_eps, 1e-12);
        assert_eq!(config.hidden_act, Activation::Gelu);
        let text = serde_json::to_string(&config).unwrap();
        assert!(text.contains(r#""use_cache":true"#));
        assert_eq!(read(&text).unwrap(), config);
    }

    #[test]
    fn what_makes_no_model_names_its_field() {
        let edited = |from: &str, to: &str| read(&MINIMAL.replace(from, to)).unwrap_err().to_string();
        assert!(
            edited("\"num_attention_heads\": 2", "\"num_attention_heads\": 3")
                .contains("num_attention_heads")
        );
        assert!(edited("\"hidden_size\": 8", "\"hidden_size\": 0").contains("hidden_size is 0"));
        assert!(edited("\"use_cache\": true", "\"model_type\": \"t5\"").contains("t5"));
        assert!(edited("\"use_cache\": true", "\"hidden_act\": \"silu\"").contains("silu"));
        assert!(
            edited("\"use_cache\": true", "\"hidden_dropout_prob\": 1.0").contains("hidden_dropout_prob")
        );
        assert!(edited("\"vocab_size\": 10,", "").contains("vocab_size"));
    }
}
