//! Model directories in the Hugging Face layout: reading a base model or a tagger, and writing a checkpoint.

pub(crate) mod masked;
pub(crate) mod outside_bias;

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};

use candle_core::{Device, Tensor, Var};
use nerve_inference::{TextTokenizer, TokenizerError};
use nerve_repository::{ModelConfig, TRANSITIONS, WEIGHTS, Weight, read_weights};
use nerve_tagging::{LabelId, LabelSet};
use thiserror::Error;

use crate::model::bert::BertTagger;
use crate::model::checkpoint::outside_bias::{OutsideBias, OutsideBiasError};
use crate::model::families::parameter_shapes;
use crate::model::init::initial;
use crate::model::parameters::Parameters;
use crate::ops::values;
use crate::safetensors_file::{F32Tensor, write_tensors};

/// Why a model directory cannot be read or written.
#[derive(Debug, Error)]
pub enum CheckpointError {
    /// The configuration is invalid.
    #[error(transparent)]
    Config(#[from] nerve_repository::ConfigError),
    /// The weights are invalid.
    #[error(transparent)]
    Weights(#[from] nerve_repository::CheckpointError),
    /// The tokenizer is invalid.
    #[error(transparent)]
    Tokenizer(#[from] TokenizerError),
    /// The tokenizer has ids beyond the last row of the embedding table.
    #[error("{}: the tokenizer has {tokens} entries, the embedding table {rows} rows", dir.display())]
    Vocabulary {
        /// The model directory.
        dir: PathBuf,
        /// The number of entries of the tokenizer.
        tokens: usize,
        /// The number of rows of the embedding table.
        rows: usize,
    },
    /// Nerve does not continue the pre-training of the family.
    #[error("{}: model_type is `{model_type}`, which `pretrain` does not support; train it directly, or pre-train a base of another family", path.display())]
    NoMaskedHead {
        /// The `config.json`.
        path: PathBuf,
        /// The family.
        model_type: &'static str,
    },
    /// A file cannot be written.
    #[error("cannot write {}: {source}", path.display())]
    Write {
        /// The file or directory.
        path: PathBuf,
        /// The error of the operating system.
        source: std::io::Error,
    },
    /// The weights cannot be written as safetensors.
    #[error("cannot write {}: {source}", path.display())]
    Format {
        /// The file.
        path: PathBuf,
        /// The error of the safetensors library.
        source: safetensors::SafeTensorError,
    },
    /// The bias of `O` cannot be read.
    #[error(transparent)]
    OutsideBias(#[from] OutsideBiasError),
    /// A candle operation failed.
    #[error(transparent)]
    Candle(#[from] candle_core::Error),
}

/// An open model directory: configuration, tokenizer and weights.
pub struct ModelDir {
    /// The contents of `config.json`.
    pub config: ModelConfig,
    /// The tokenizer.
    pub tokenizer: TextTokenizer,
    /// The file of the weights, or the index of its shards, for errors.
    path: PathBuf,
    weights: Source,
    device: Device,
    /// Whether the tagger has scores of transitions between labels; where absent, if the directory has them for its labels.
    has_transitions: Option<bool>,
}

enum Source {
    /// The tensors of a file, or of shards, by their names in it.
    File(BTreeMap<String, Weight>),
    /// No weights: all are initialized at random.
    Fresh,
}

impl ModelDir {
    /// Opens a directory with `config.json`, `model.safetensors` or its shards, and `tokenizer.json` or `vocab.txt`.
    pub fn open(dir: &Path) -> Result<Self, CheckpointError> {
        let config = ModelConfig::read(&dir.join("config.json"))?;
        let (path, weights) = read_weights(dir, &config)?;
        let tokenizer = TextTokenizer::open_dir(dir)?;
        Self::new((dir, path), config, tokenizer, Source::File(weights))
    }

    /// A model with random weights and the tokenizer of a directory; `shape` yields the configuration for a
    /// vocabulary size.
    pub fn scratch(dir: &Path, shape: impl FnOnce(usize) -> ModelConfig) -> Result<Self, CheckpointError> {
        let tokenizer = TextTokenizer::open_dir(dir)?;
        let config = shape(tokenizer.vocab_size());
        config.validate(&dir.join("config.json"))?;
        Self::new((dir, dir.join(WEIGHTS)), config, tokenizer, Source::Fresh)
    }

    fn new(
        (dir, path): (&Path, PathBuf),
        config: ModelConfig,
        tokenizer: TextTokenizer,
        weights: Source,
    ) -> Result<Self, CheckpointError> {
        if tokenizer.vocab_size() > config.vocab_size {
            return Err(CheckpointError::Vocabulary {
                dir: dir.to_owned(),
                tokens: tokenizer.vocab_size(),
                rows: config.vocab_size,
            });
        }
        Ok(Self {
            config,
            tokenizer,
            path,
            weights,
            device: Device::Cpu,
            has_transitions: None,
        })
    }

    /// The same model, to be loaded on this device.
    pub fn on(self, device: Device) -> Self {
        Self { device, ..self }
    }

    /// The same model, whose tagger has scores of transitions between labels or has none.
    pub(crate) fn with_transitions(self, has_transitions: bool) -> Self {
        Self {
            has_transitions: Some(has_transitions),
            ..self
        }
    }

    /// The labels of the classifier in the directory; `None` if it has no classifier or its labels are not IOB2.
    pub fn labels(&self) -> Option<LabelSet> {
        LabelSet::from_id2label(&self.config.id2label).ok()
    }

    /// The labels of the classifier in the directory, in any scheme; `None` if it has no classifier.
    pub(crate) fn head_labels(&self) -> Option<LabelSet> {
        match &self.weights {
            Source::File(weights) if weights.contains_key("classifier.weight") => {
                LabelSet::learn_id2label(&self.config.id2label).ok()
            }
            _ => None,
        }
    }

    /// The same model, which is that of `dir`, with the bias of `O` that was trained, where it has been changed since.
    pub(crate) fn with_trained_outside_bias(mut self, dir: &Path) -> Result<Self, CheckpointError> {
        let labels = self.head_labels();
        if let (Some(labels), Source::File(weights)) = (labels, &mut self.weights) {
            let outside = labels.outside();
            let trained = OutsideBias::read(dir, outside)?.trained();
            let bias = weights.get_mut("classifier.bias");
            if let Some(bias) = bias.and_then(|bias| bias.data.get_mut(outside.0)) {
                *bias = trained;
            }
        }
        Ok(self)
    }

    /// The same model with these dropout probabilities; an absent one keeps the model's own.
    pub(crate) fn with_dropout(mut self, hidden: Option<f64>, attention: Option<f64>) -> Self {
        self.config.set_dropout(hidden, attention);
        self
    }

    /// The network with a head for these labels, and the tokenizer.
    ///
    /// For every label that the directory's classifier also has, the head keeps the classifier's row. The other rows
    /// are initialized from the seed. Scores of transitions are those of the directory if it has these labels, and else 0.
    pub fn into_tagger(
        self,
        labels: &LabelSet,
        seed: u64,
    ) -> Result<(BertTagger, TextTokenizer), CheckpointError> {
        let head_labels = self.head_labels();
        let own_head = LabelSet::learn_id2label(&self.config.id2label).as_ref() == Ok(labels);
        let mut config = self.config.with_labels(labels);
        // The network computes in f32. With these keys, `transformers` would round the written weights to the type of
        // the base model.
        for key in ["dtype", "torch_dtype"] {
            config.other.remove(key);
        }
        let mut fresh = BTreeMap::new();
        let mut tensors = Vec::new();
        let path = self.path;
        let mut weights = self.weights;
        let own_transitions =
            own_head && matches!(&weights, Source::File(weights) if weights.contains_key(TRANSITIONS));
        let mut shapes = parameter_shapes(&config, labels.len());
        if self.has_transitions.unwrap_or(own_transitions) {
            shapes.insert(TRANSITIONS.to_owned(), vec![labels.len() + 1; 2]);
        }
        for (name, shape) in shapes {
            let is_own = match name.as_str() {
                TRANSITIONS => own_transitions,
                name => own_head || !name.starts_with("classifier."),
            };
            let names = config.family.tensor_names(&name);
            match &mut weights {
                // An encoder alone has no layers of a head below the classifier.
                Source::File(weights)
                    if is_own
                        && (own_head || !name.starts_with("head.") || weights.contains_key(&names[0])) =>
                {
                    let data = take(weights, names, &shape, &path)?;
                    tensors.push((name, shape, data));
                }
                _ => {
                    fresh.insert(name, shape);
                }
            }
        }
        let mut drawn = initial(&config, &fresh, seed);
        if let (Some(own), Source::File(weights)) = (&head_labels, &weights) {
            keep_rows(&mut drawn, labels, own, weights);
        }
        tensors.extend(drawn);
        Ok((
            BertTagger::new(config, Parameters::new(tensors, &self.device)?)?,
            self.tokenizer,
        ))
    }
}

/// Replaces the random rows of a classifier by a file's rows for the same labels, if the shape of the file's
/// classifier fits its labels `own`.
fn keep_rows(
    drawn: &mut [(String, Vec<usize>, Vec<f32>)],
    labels: &LabelSet,
    own: &LabelSet,
    weights: &BTreeMap<String, Weight>,
) {
    for (name, shape, data) in drawn {
        let width: usize = shape[1..].iter().product();
        let kept = weights.get(name.as_str());
        let fits =
            |kept: &&Weight| kept.shape.get(1..) == shape.get(1..) && kept.data.len() == own.len() * width;
        let Some(kept) = kept.filter(fits) else {
            continue;
        };
        for (row, label) in data.chunks_exact_mut(width).zip(labels.names()) {
            if let Some(LabelId(at)) = own.parse(label) {
                row.copy_from_slice(&kept.data[at * width..][..width]);
            }
        }
    }
}

/// The elements of a tensor, which a file names either with the prefix of a tagger or without it.
fn take(
    weights: &mut BTreeMap<String, Weight>,
    names: [String; 2],
    shape: &[usize],
    path: &Path,
) -> Result<Vec<f32>, nerve_repository::CheckpointError> {
    let found = names.iter().find_map(|name| weights.remove(name));
    let [tensor, _] = names;
    let Some(weight) = found else {
        return Err(nerve_repository::CheckpointError::Missing {
            path: path.to_owned(),
            tensor,
        });
    };
    if weight.shape != shape {
        return Err(nerve_repository::CheckpointError::Shape {
            path: path.to_owned(),
            tensor,
            found: weight.shape,
            expected: shape.to_vec(),
        });
    }
    Ok(weight.data)
}

/// Writes a tagger to `dir`: `config.json`, `model.safetensors`, `tokenizer.json` and `tokenizer_config.json`, and BERTweet's own
/// tokenizer files if it has them.
///
/// `max_length` is the longest window of the training in tokens, special tokens included; it becomes
/// `model_max_length` of `tokenizer_config.json`. The files are written to a temporary directory, which then replaces
/// `dir`.
pub fn write_checkpoint(
    dir: &Path,
    tagger: &BertTagger,
    tokenizer: &TextTokenizer,
    max_length: usize,
) -> Result<(), CheckpointError> {
    let family = tagger.config().family;
    write_model(dir, tagger.config(), (tokenizer, max_length), || {
        let named = tagger.parameters().iter().map(|(name, var)| {
            let [name, _] = family.tensor_names(name);
            (name, var)
        });
        named.collect()
    })
}

/// Writes a model to `dir`, its parameters by the names that `named` yields.
fn write_model<'p>(
    dir: &Path,
    config: &ModelConfig,
    (tokenizer, max_length): (&TextTokenizer, usize),
    named: impl FnOnce() -> Vec<(String, &'p Var)>,
) -> Result<(), CheckpointError> {
    replace_dir(dir, |made| {
        let path = made.join("config.json");
        let config = serde_json::to_vec_pretty(config).map_err(|error| CheckpointError::Write {
            path: path.clone(),
            source: error.into(),
        })?;
        std::fs::write(&path, config).map_err(|source| CheckpointError::Write { path, source })?;
        tokenizer.save(&made.join("tokenizer.json"))?;
        tokenizer.save_config(&made.join("tokenizer_config.json"), max_length)?;
        tokenizer.save_bertweet_files(made)?;
        write_weights(&made.join(WEIGHTS), named())
    })
}

fn write_weights(path: &Path, named: Vec<(String, &Var)>) -> Result<(), CheckpointError> {
    let on_cpu = |(name, var): (String, &Var)| -> Result<(String, Tensor), CheckpointError> {
        Ok((name, var.to_device(&Device::Cpu)?))
    };
    let parameters = named.into_iter().map(on_cpu).collect::<Result<Vec<_>, _>>()?;
    let tensors = parameters
        .iter()
        .map(|(name, tensor)| {
            let shape = tensor.dims().to_vec();
            Ok((
                name.clone(),
                F32Tensor {
                    shape,
                    values: values(tensor)?,
                },
            ))
        })
        .collect::<Result<Vec<_>, CheckpointError>>()?;
    // `transformers` refuses a file whose metadata does not name the framework.
    let metadata = HashMap::from([("format".to_owned(), "pt".to_owned())]);
    write_tensors(path, tensors, Some(metadata)).map_err(|source| CheckpointError::Format {
        path: path.to_owned(),
        source,
    })
}

/// Fills a temporary directory next to `dir` and renames it to `dir`, which replaces an existing one.
fn replace_dir(
    dir: &Path,
    fill: impl FnOnce(&Path) -> Result<(), CheckpointError>,
) -> Result<(), CheckpointError> {
    let failed = |path: &Path| {
        let path = path.to_owned();
        move |source| CheckpointError::Write { path, source }
    };
    let parent = match dir.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    std::fs::create_dir_all(parent).map_err(failed(parent))?;
    let work = tempfile::Builder::new()
        .prefix(".checkpoint-")
        .tempdir_in(parent)
        .map_err(failed(parent))?;
    let made = work.path().join("made");
    std::fs::create_dir(&made).map_err(failed(&made))?;
    fill(&made)?;
    if dir.exists() {
        std::fs::rename(dir, work.path().join("replaced")).map_err(failed(dir))?;
    }
    std::fs::rename(&made, dir).map_err(failed(dir))
}

#[cfg(test)]
mod tests;
