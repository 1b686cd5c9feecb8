//! The weight files of a checkpoint: one safetensors file, or the shards that an index names.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use serde::Deserialize;
use thiserror::Error;

use crate::config_error::ConfigError;
use crate::json_file::JsonFile;

/// The file of all tensors.
pub const WEIGHTS: &str = "model.safetensors";
/// The index of sharded weights.
pub const WEIGHTS_INDEX: &str = "model.safetensors.index.json";
/// Files of pickled tensors, which are programs rather than data and are not read.
pub(crate) const PICKLES: [&str; 2] = ["pytorch_model.bin", "pytorch_model.bin.index.json"];

/// Why the weight files of a checkpoint cannot be used.
#[derive(Debug, Error)]
pub enum ShardError {
    /// The index is not readable JSON.
    #[error(transparent)]
    Index(#[from] ConfigError),
    /// The index names a shard that is not a file beside it.
    #[error("{}: weight_map names the file `{file}`; a shard is a .safetensors file in the same directory", path.display())]
    Name {
        /// The index.
        path: PathBuf,
        /// The name.
        file: String,
    },
    /// The index names no shard.
    #[error("{}: weight_map is empty", path.display())]
    Empty {
        /// The index.
        path: PathBuf,
    },
    /// A shard is not there.
    #[error("{}: there is no such file, in which {} has the tensor `{tensor}`", path.display(), WEIGHTS_INDEX)]
    Absent {
        /// The shard.
        path: PathBuf,
        /// The first tensor that should be in it.
        tensor: String,
    },
    /// A shard lacks a tensor.
    #[error("{}: tensor `{tensor}` is missing, which {} places in this file", path.display(), WEIGHTS_INDEX)]
    Missing {
        /// The shard.
        path: PathBuf,
        /// The tensor.
        tensor: String,
    },
    /// Two shards have a tensor of one name.
    #[error("{}: tensor `{tensor}` is also in {}", path.display(), first.display())]
    Duplicate {
        /// The later shard.
        path: PathBuf,
        /// The tensor.
        tensor: String,
        /// The earlier shard.
        first: PathBuf,
    },
    /// The weights are in a format that is not read.
    #[error(
        "{}: only pickled weights, which are not read, since opening them can run any program; convert them, if you trust them, with: python -c \"import transformers as t; t.{class}.from_pretrained('{}').save_pretrained('{}', safe_serialization=True); t.AutoTokenizer.from_pretrained('{}').save_pretrained('{}')\"",
        dir.join(file).display(), dir.display(), dir.display(), dir.display(), dir.display()
    )]
    Pickle {
        /// The directory.
        dir: PathBuf,
        /// The file.
        file: &'static str,
        /// The class of `transformers` that opens the checkpoint.
        class: String,
    },
}

/// The weight files of a checkpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct WeightFiles {
    /// The file that stands for the weights in errors: the only one, or the index.
    pub(crate) path: PathBuf,
    /// Each file, with the tensors that the index places in it; none without an index.
    pub(crate) files: BTreeMap<PathBuf, BTreeSet<String>>,
}

impl WeightFiles {
    /// The files of the checkpoint in a directory. Without an index that is `model.safetensors`, whether it is there or not,
    /// unless there are only pickled weights; `class` is the class of `transformers` that converts them.
    pub(crate) fn find(dir: &Path, class: &str) -> Result<Self, ShardError> {
        let path = dir.join(WEIGHTS);
        let index = dir.join(WEIGHTS_INDEX);
        if path.is_file() || !index.is_file() {
            let pickle = PICKLES.into_iter().find(|file| dir.join(file).is_file());
            if let Some(file) = pickle.filter(|_| !path.is_file()) {
                return Err(ShardError::Pickle {
                    dir: dir.to_owned(),
                    file,
                    class: class.to_owned(),
                });
            }
            return Ok(Self {
                files: [(path.clone(), BTreeSet::new())].into(),
                path,
            });
        }
        let mut files = BTreeMap::new();
        for (file, tensors) in shards(&index)? {
            let path = dir.join(file);
            if let (false, Some(tensor)) = (path.is_file(), tensors.first()) {
                let tensor = tensor.clone();
                return Err(ShardError::Absent { path, tensor });
            }
            files.insert(path, tensors);
        }
        Ok(Self { path: index, files })
    }
}

/// The names of the shards that an index names, each with its tensors.
pub fn shards(index: &Path) -> Result<BTreeMap<String, BTreeSet<String>>, ShardError> {
    #[derive(Deserialize)]
    struct WeightMap(BTreeMap<String, String>);

    let file = JsonFile::read(index)?;
    let WeightMap(map) = file.field("weight_map")?.unwrap_or(WeightMap(BTreeMap::new()));
    let mut shards: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for (tensor, file) in map {
        if !is_shard_name(&file) {
            return Err(ShardError::Name {
                path: index.to_owned(),
                file,
            });
        }
        shards.entry(file).or_default().insert(tensor);
    }
    match shards.is_empty() {
        true => Err(ShardError::Empty {
            path: index.to_owned(),
        }),
        false => Ok(shards),
    }
}

/// Whether a name is that of a safetensors file, without a directory.
fn is_shard_name(name: &str) -> bool {
    let plain = Path::new(name).file_name().is_some_and(|file| file == name);
    plain && name.ends_with(".safetensors") && !name.contains(['/', '\\', '\0']) && !name.starts_with('.')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shard_is_a_file_beside_its_index() {
        for name in ["model-00001-of-00002.safetensors", "a.safetensors"] {
            assert!(is_shard_name(name), "{name}");
        }
        for name in [
            "../a.safetensors",
            "/etc/a.safetensors",
            "b/a.safetensors",
            "b\\a.safetensors",
            "a.bin",
            "..",
            "",
            ".safetensors",
            "a.safetensors/",
        ] {
            assert!(!is_shard_name(name), "{name}");
        }
    }

    #[test]
    fn pickled_weights_are_refused_with_the_command_that_converts_them() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("pytorch_model.bin"), b"").unwrap();
        let error = WeightFiles::find(dir.path(), "AutoModel")
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("pytorch_model.bin")
                && error.contains("t.AutoModel.from_pretrained('")
                && error.contains("t.AutoTokenizer.from_pretrained('"),
            "{error}"
        );
        std::fs::write(dir.path().join(WEIGHTS), b"").unwrap();
        assert!(WeightFiles::find(dir.path(), "AutoModel").is_ok());
    }
}
