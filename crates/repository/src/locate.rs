//! Finds the directory of a model: a bundle, the current version of a store, or a plain Hugging Face export.

use std::path::{Path, PathBuf};

use thiserror::Error;

use crate::manifest::MANIFEST;
use crate::shards::{PICKLES, WEIGHTS, WEIGHTS_INDEX};

/// The files in which exporters write the graph.
const GRAPHS: [&str; 2] = ["model.onnx", "onnx/model.onnx"];

/// Why there is no model at a path.
#[derive(Debug, Error)]
pub enum LocateError {
    /// The path does not exist or cannot be followed.
    #[error("cannot open {}: {source}", path.display())]
    Open {
        /// The path.
        path: PathBuf,
        /// The error of the system.
        source: std::io::Error,
    },
    /// The directory holds no model.
    #[error(
        "{}: neither a bundle (manifest.json), a model store (current), a checkpoint (config.json with model.safetensors), nor an ONNX export (config.json with model.onnx or onnx/model.onnx)",
        path.display()
    )]
    Unknown {
        /// The directory.
        path: PathBuf,
    },
    /// The directory has a configuration, but no graph under the usual names.
    #[error("{}: no model.onnx or onnx/model.onnx; {}", path.display(), alternatives(path, found))]
    NoGraph {
        /// The directory.
        path: PathBuf,
        /// The ONNX files in the directory.
        found: Vec<String>,
    },
    /// The directory has a graph, but no configuration that names its labels.
    #[error("{}: no config.json, which names the labels", path.display())]
    NoConfig {
        /// The directory.
        path: PathBuf,
    },
    /// The graph that `--onnx-file` names does not exist.
    #[error("{}: --onnx-file {}: there is no such file", path.display(), file.display())]
    NoSuchGraph {
        /// The directory.
        path: PathBuf,
        /// The file named.
        file: PathBuf,
    },
}

fn alternatives(path: &Path, found: &[String]) -> String {
    match found {
        [] if ModelKind::of(path, None) == ModelKind::Checkpoint => format!(
            "it is a checkpoint; export it first: nerve-export --checkpoint {} --out BUNDLE",
            path.display()
        ),
        [] => "the directory has neither an ONNX file nor model.safetensors".to_owned(),
        found => format!("name one of these with --onnx-file: {}", found.join(", ")),
    }
}

/// What a directory holds, as the names of its files show.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ModelKind {
    /// A bundle or a store of bundles.
    Bundle,
    /// A checkpoint, which must be exported.
    Checkpoint,
    /// A plain export, or a directory without a model.
    PlainExport,
}

impl ModelKind {
    /// What is in a directory. A checkpoint that also has an ONNX file is a plain export only if `--onnx-file` names the file.
    pub fn of(dir: &Path, onnx_file: Option<&Path>) -> Self {
        let has = |file: &str| dir.join(file).is_file();
        if dir.join("current").symlink_metadata().is_ok() || has(MANIFEST) {
            return Self::Bundle;
        }
        let has_weights = has(WEIGHTS) || has(WEIGHTS_INDEX);
        // Pickled weights are refused with the command that converts them, unless there is a graph to serve.
        let is_pickled = || PICKLES.into_iter().any(has) && onnx_files(dir).is_empty();
        match onnx_file.is_none() && has("config.json") && (has_weights || is_pickled()) {
            true => Self::Checkpoint,
            false => Self::PlainExport,
        }
    }
}

/// The directory that holds a model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Located {
    /// The directory, symbolic links resolved.
    pub dir: PathBuf,
    /// Whether the directory is a version of a store, which has a manifest.
    pub in_store: bool,
}

/// The directory of the model at `path`: `path` itself, or the current version if it is a store.
pub fn locate(path: &Path) -> Result<Located, LocateError> {
    let store_current = path.join("current");
    // A dangling link is a damaged store, not a plain directory.
    let in_store = store_current.symlink_metadata().is_ok();
    let at = if in_store { &store_current } else { path };
    let dir = std::fs::canonicalize(at).map_err(|source| LocateError::Open {
        path: at.to_owned(),
        source,
    })?;
    Ok(Located { dir, in_store })
}

/// The graph of the export in a directory: `onnx_file` if given, else the file with a usual name.
pub fn plain_graph(dir: &Path, onnx_file: Option<&Path>) -> Result<PathBuf, LocateError> {
    let has_config = dir.join("config.json").is_file();
    let path = dir.to_owned();
    if let Some(file) = onnx_file {
        let graph = dir.join(file);
        return match (graph.is_file(), has_config) {
            (true, true) => Ok(graph),
            (true, false) => Err(LocateError::NoConfig { path }),
            (false, _) => Err(LocateError::NoSuchGraph {
                path,
                file: file.to_owned(),
            }),
        };
    }
    let usual = GRAPHS
        .iter()
        .map(|file| dir.join(file))
        .find(|file| file.is_file());
    match (usual, has_config) {
        (Some(graph), true) => Ok(graph),
        (Some(_), false) => Err(LocateError::NoConfig { path }),
        (None, true) => Err(LocateError::NoGraph {
            found: onnx_files(dir),
            path,
        }),
        (None, false) => Err(LocateError::Unknown { path }),
    }
}

/// The ONNX files of a directory and its `onnx` folder, sorted by name.
pub fn onnx_files(dir: &Path) -> Vec<String> {
    let mut found = Vec::new();
    for folder in ["", "onnx"] {
        // A folder that cannot be listed suggests nothing.
        let entries = std::fs::read_dir(dir.join(folder))
            .into_iter()
            .flatten()
            .flatten();
        let paths = entries.map(|entry| Path::new(folder).join(entry.file_name()));
        found.extend(
            paths
                .filter(|path| path.extension().is_some_and(|extension| extension == "onnx"))
                .map(|path| path.to_string_lossy().into_owned()),
        );
    }
    found.sort();
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_checkpoint_in_place_of_an_export_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().to_owned();
        let error = || {
            let (path, found) = (path.clone(), Vec::new());
            LocateError::NoGraph { path, found }.to_string()
        };
        assert!(
            error().ends_with("neither an ONNX file nor model.safetensors"),
            "{}",
            error()
        );
        for file in ["config.json", WEIGHTS] {
            std::fs::write(path.join(file), "").unwrap();
        }
        let expected = format!("nerve-export --checkpoint {} --out BUNDLE", path.display());
        assert!(error().ends_with(&expected), "{}", error());
    }
}
