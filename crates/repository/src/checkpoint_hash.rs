//! The hash of everything in a checkpoint that decides what its export contains.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use crate::checkpoint::CheckpointError;
use crate::config::ModelConfig;
use crate::file_info::FileInfo;
use crate::shards::WeightFiles;
use crate::version::VersionHasher;

/// The files besides the weights that an export reads.
const FILES: [&str; 6] = [
    "bpe.codes",
    "calibration.json",
    "config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "vocab.txt",
];

/// A hash of the contents of a checkpoint's files, with these named values. Reads the files completely.
pub fn checkpoint_hash(dir: &Path, options: &BTreeMap<&str, String>) -> Result<String, CheckpointError> {
    let config = ModelConfig::read(&dir.join("config.json"))?;
    let weights = WeightFiles::find(dir, config.auto_class())?;
    let mut paths: BTreeSet<PathBuf> = FILES.map(|file| dir.join(file)).into();
    paths.retain(|path| path.is_file());
    paths.insert(weights.path);
    paths.extend(weights.files.into_keys());
    let mut files = BTreeMap::new();
    for path in paths {
        let info = FileInfo::of(&path).map_err(|source| CheckpointError::Read {
            path: path.clone(),
            source,
        })?;
        let name = path.file_name().unwrap_or_default();
        files.insert(name.to_string_lossy().into_owned(), info);
    }
    let mut hasher = VersionHasher::default();
    hasher.add_files(&files);
    for (name, value) in options {
        hasher.add_line(name, value);
    }
    Ok(hasher.finish())
}
