//! A Hugging Face checkpoint: its configuration, its labels and its weights as f32.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use half::{bf16, f16};
use nerve_tagging::LabelSet;
use safetensors::{Dtype, SafeTensors};
use thiserror::Error;

use crate::config::ModelConfig;
use crate::config_error::ConfigError;
use crate::family::spec::FieldProblem;
use crate::shards::{ShardError, WeightFiles};

/// Why a checkpoint cannot be used.
#[derive(Debug, Error)]
pub enum CheckpointError {
    /// The configuration or its labels are invalid.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// A field of the configuration is invalid.
    #[error(transparent)]
    Field(#[from] FieldProblem),
    /// The weights are in files that cannot be used.
    #[error(transparent)]
    Files(#[from] ShardError),
    /// The weights cannot be read.
    #[error("cannot read {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The error of the operating system.
        source: std::io::Error,
    },
    /// The file is not a safetensors file.
    #[error("{}: not a safetensors file: {source}", path.display())]
    Format {
        /// The file.
        path: PathBuf,
        /// The error of the safetensors library.
        source: safetensors::SafeTensorError,
    },
    /// A tensor does not contain floating-point numbers.
    #[error("{}: tensor `{tensor}` is {dtype}, not F32, F16 or BF16", path.display())]
    Type {
        /// The file.
        path: PathBuf,
        /// The name of the tensor.
        tensor: String,
        /// The element type of the tensor.
        dtype: String,
    },
    /// A tensor that the architecture needs is missing.
    #[error("{}: tensor `{tensor}` is missing", path.display())]
    Missing {
        /// The file.
        path: PathBuf,
        /// The name of the tensor.
        tensor: String,
    },
    /// The shape of a tensor is not that of the configuration.
    #[error("{}: tensor `{tensor}` is {found:?}, config.json makes it {expected:?}", path.display())]
    Shape {
        /// The file.
        path: PathBuf,
        /// The name of the tensor.
        tensor: String,
        /// The shape of the tensor.
        found: Vec<usize>,
        /// The shape according to the configuration.
        expected: Vec<usize>,
    },
    /// A tensor contains NaN or infinity.
    #[error("{}: tensor `{tensor}` holds a number that is not finite", path.display())]
    NotFinite {
        /// The file.
        path: PathBuf,
        /// The name of the tensor.
        tensor: String,
    },
}

/// The tensor of the scores that decoding adds for neighboring labels, shape `[labels + 1, labels + 1]`, as
/// [`nerve_tagging::TransitionScores::new`] takes them. Few checkpoints have it.
pub const TRANSITIONS: &str = "label_transitions";

/// A tensor of weights, in row-major order.
#[derive(Clone, Debug, PartialEq)]
pub struct Weight {
    /// The size of each axis.
    pub shape: Vec<usize>,
    /// The elements.
    pub data: Vec<f32>,
}

/// The configuration, the labels and the weights of a token classifier.
pub struct Checkpoint {
    /// The contents of `config.json`.
    pub config: ModelConfig,
    /// The labels of `config.json`.
    pub labels: LabelSet,
    path: PathBuf,
    weights: BTreeMap<String, Weight>,
}

impl Checkpoint {
    /// Opens a directory with `config.json` and `model.safetensors`, or its shards (f32, f16 or bf16).
    pub fn open(dir: &Path) -> Result<Self, CheckpointError> {
        let config_path = dir.join("config.json");
        let config = ModelConfig::read(&config_path)?;
        let labels = config.classifier_labels(&config_path)?;
        let (path, weights) = read_weights(dir, &config)?;
        Ok(Self {
            config,
            labels,
            path,
            weights,
        })
    }

    /// The rows of [`TRANSITIONS`], if the checkpoint has them.
    pub fn transitions(&self) -> Result<Option<Vec<Vec<f32>>>, CheckpointError> {
        if !self.weights.contains_key(TRANSITIONS) {
            return Ok(None);
        }
        let width = self.labels.len() + 1;
        let scores = self.tensor(TRANSITIONS, &[width, width])?;
        Ok(Some(scores.chunks(width).map(<[f32]>::to_vec).collect()))
    }

    /// The elements of the tensor that is called `name` in BERT's files, by its name in this model family. An error
    /// if its shape is not `shape`.
    pub fn tensor(&self, name: &str, shape: &[usize]) -> Result<&[f32], CheckpointError> {
        let names = self.config.family.tensor_names(name);
        let found = names.iter().find_map(|name| self.weights.get(name));
        let [tensor, _] = names;
        let Some(weight) = found else {
            return Err(CheckpointError::Missing {
                path: self.path.clone(),
                tensor,
            });
        };
        if weight.shape != shape {
            return Err(CheckpointError::Shape {
                path: self.path.clone(),
                tensor,
                found: weight.shape.clone(),
                expected: shape.to_vec(),
            });
        }
        Ok(&weight.data)
    }
}

/// Reads all floating-point tensors of a checkpoint as f32, by name, and the file to name in errors: `model.safetensors`, or the
/// index of its shards.
///
/// As in `transformers`, the names `gamma` and `beta` that old files use for layer normalizations become `weight` and
/// `bias`. Integer tensors, such as the `position_ids` of old exports, are left out. A value that is not finite is an
/// error.
pub fn read_weights(
    dir: &Path,
    config: &ModelConfig,
) -> Result<(PathBuf, BTreeMap<String, Weight>), CheckpointError> {
    let WeightFiles { path, files } = WeightFiles::find(dir, config.auto_class())?;
    let mut weights = BTreeMap::new();
    let mut origins: BTreeMap<String, PathBuf> = BTreeMap::new();
    for (file, expected) in files {
        let mut missing = expected;
        for (name, weight) in read_file(&file)? {
            missing.remove(&name);
            if let Some(first) = origins.insert(name.clone(), file.clone()) {
                let (path, tensor) = (file, name);
                return Err(ShardError::Duplicate { path, tensor, first }.into());
            }
            weights.extend(weight.map(|weight| (current_name(&name), weight)));
        }
        if let Some(tensor) = missing.pop_first() {
            return Err(ShardError::Missing { path: file, tensor }.into());
        }
    }
    Ok((path, weights))
}

/// The tensors of a safetensors file by name; nothing in place of a tensor of integers.
fn read_file(path: &Path) -> Result<Vec<(String, Option<Weight>)>, CheckpointError> {
    let bytes = std::fs::read(path).map_err(|source| CheckpointError::Read {
        path: path.to_owned(),
        source,
    })?;
    let file = SafeTensors::deserialize(&bytes).map_err(|source| CheckpointError::Format {
        path: path.to_owned(),
        source,
    })?;
    let mut weights = Vec::new();
    for (name, view) in file.iter() {
        let bytes = view.data();
        let data: Vec<f32> = match view.dtype() {
            Dtype::F32 => widen(bytes, f32::from_le_bytes),
            Dtype::F16 => widen(bytes, |b| f16::from_le_bytes(b).to_f32()),
            Dtype::BF16 => widen(bytes, |b| bf16::from_le_bytes(b).to_f32()),
            Dtype::I64 | Dtype::I32 | Dtype::U8 | Dtype::BOOL => {
                weights.push((name.to_owned(), None));
                continue;
            }
            other => {
                return Err(CheckpointError::Type {
                    path: path.to_owned(),
                    tensor: name.to_owned(),
                    dtype: format!("{other:?}"),
                });
            }
        };
        if data.iter().any(|x| !x.is_finite()) {
            return Err(CheckpointError::NotFinite {
                path: path.to_owned(),
                tensor: name.to_owned(),
            });
        }
        let shape = view.shape().to_vec();
        weights.push((name.to_owned(), Some(Weight { shape, data })));
    }
    Ok(weights)
}

fn current_name(name: &str) -> String {
    name.replace("LayerNorm.gamma", "LayerNorm.weight")
        .replace("LayerNorm.beta", "LayerNorm.bias")
}

fn widen<const N: usize>(bytes: &[u8], number: impl Fn([u8; N]) -> f32) -> Vec<f32> {
    let (chunks, _) = bytes.as_chunks::<N>();
    chunks.iter().map(|chunk| number(*chunk)).collect()
}
