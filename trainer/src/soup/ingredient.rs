//! A checkpoint of a soup, and what it must have in common with the others.

use std::path::{Path, PathBuf};

use nerve_inference::TextTokenizer;
use nerve_repository::{MaxLength, ModelConfig};
use nerve_tagging::LabelSet;
use serde_json::{Map, Value};

use crate::soup::error::SoupError;

/// Keys of `config.json` that change no output.
const WITHOUT_EFFECT: [&str; 5] = [
    "_name_or_path",
    "transformers_version",
    "dtype",
    "torch_dtype",
    "embedding_dropout",
];

/// A checkpoint with what its weights depend on.
#[derive(Debug)]
pub(super) struct Ingredient {
    pub(super) path: PathBuf,
    pub(super) labels: LabelSet,
    /// The longest window in tokens, special tokens included.
    pub(super) max_length: usize,
    config: Map<String, Value>,
    tokenizer: [(&'static str, String); 2],
}

impl Ingredient {
    /// The checkpoint in a directory.
    pub(super) fn open(dir: &Path) -> Result<Self, SoupError> {
        let path = dir.join("config.json");
        let config = ModelConfig::read(&path)?;
        let max_length = MaxLength::of_checkpoint(dir)?.tokens();
        Ok(Self {
            path: dir.to_owned(),
            labels: config.classifier_labels(&path)?,
            max_length,
            config: compared(config),
            tokenizer: tokenizer_files(&TextTokenizer::open_dir(dir)?, max_length)?,
        })
    }

    /// An error that names the first difference to another checkpoint in labels, configuration or tokenizer.
    pub(super) fn check_same(&self, other: &Self) -> Result<(), SoupError> {
        let different = |what: String, values: [String; 2]| {
            Err(SoupError::Different {
                paths: [self.path.clone(), other.path.clone()],
                what,
                values,
            })
        };
        let labels = [&self.labels, &other.labels].map(|labels| labels.names().join(", "));
        if labels[0] != labels[1] {
            return different("the list of labels".to_owned(), labels);
        }
        if self.max_length != other.max_length {
            let lengths = [self.max_length, other.max_length].map(|length| length.to_string());
            return different("`model_max_length`".to_owned(), lengths);
        }
        for key in self.config.keys().chain(other.config.keys()) {
            let values = [self.config.get(key), other.config.get(key)];
            if values[0] != values[1] {
                let shown = |value: Option<&Value>| value.map_or("absent".to_owned(), Value::to_string);
                return different(format!("`{key}` of config.json"), values.map(shown));
            }
        }
        for ((name, own), (_, others)) in self.tokenizer.iter().zip(&other.tokenizer) {
            if own != others {
                let mut lines = own.lines().zip(others.lines());
                let first = lines.find(|(own, others)| own != others);
                let values = first.map_or(["longer", "shorter"], |(own, others)| [own.trim(), others.trim()]);
                return different(format!("a line of {name}"), values.map(shortened));
            }
        }
        Ok(())
    }
}

/// What of a configuration must be the same: all but the labels, which are compared by themselves, and what has no effect
/// after training.
fn compared(config: ModelConfig) -> Map<String, Value> {
    let mut fields = ModelConfig {
        architectures: Vec::new(),
        hidden_dropout_prob: 0.0,
        attention_probs_dropout_prob: 0.0,
        classifier_dropout: None,
        initializer_range: 0.0,
        id2label: Default::default(),
        label2id: Default::default(),
        ..config
    }
    .to_fields();
    fields.retain(|key, _| !WITHOUT_EFFECT.contains(&key.as_str()));
    fields
}

/// The files of a tokenizer as a checkpoint has them, one JSON field a line.
fn tokenizer_files(
    tokenizer: &TextTokenizer,
    max_length: usize,
) -> Result<[(&'static str, String); 2], SoupError> {
    let dir = tempfile::tempdir()?;
    let (names, paths) = (
        ["tokenizer.json", "tokenizer_config.json"],
        [dir.path().join("tokenizer.json"), dir.path().join("config.json")],
    );
    tokenizer.save(&paths[0])?;
    tokenizer.save_config(&paths[1], max_length)?;
    let read = |path: &Path| -> Result<String, SoupError> {
        let value: Value = serde_json::from_slice(&std::fs::read(path)?).map_err(std::io::Error::from)?;
        Ok(serde_json::to_string_pretty(&value).map_err(std::io::Error::from)?)
    };
    Ok([(names[0], read(&paths[0])?), (names[1], read(&paths[1])?)])
}

fn shortened(text: &str) -> String {
    const MOST: usize = 80;
    match text.char_indices().nth(MOST) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}
