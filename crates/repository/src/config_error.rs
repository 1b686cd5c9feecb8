//! Errors of `config.json` and `tokenizer_config.json`.

use std::path::{Path, PathBuf};

use nerve_tagging::LabelError;
use thiserror::Error;

use crate::family::Family;

/// A hint at the checkpoints in the directory of a missing `config.json`: that of a run has none of its own.
fn checkpoints_beside(path: &Path) -> String {
    let dir = path.parent().unwrap_or(Path::new("."));
    let found = ["best", "last"].map(|name| dir.join(name));
    let found = found.iter().filter(|dir| dir.join("config.json").is_file());
    let found: Vec<String> = found.map(|dir| dir.display().to_string()).collect();
    match &found[..] {
        [] => String::new(),
        found => format!("; the directory holds a run: give {}", found.join(" or ")),
    }
}

/// Why a `config.json` or `tokenizer_config.json` cannot be used.
#[derive(Debug, Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read {}: {source}{}", path.display(), checkpoints_beside(path))]
    Read {
        /// The file.
        path: PathBuf,
        /// The error of the system.
        source: std::io::Error,
    },
    /// The file is not a JSON object.
    #[error("{}: {source}", path.display())]
    Parse {
        /// The file.
        path: PathBuf,
        /// The line and column.
        source: serde_json::Error,
    },
    /// Nerve does not support the architecture.
    #[error("{}: model_type `{model_type}` is not supported; use one of {}", path.display(), supported())]
    Family {
        /// The file.
        path: PathBuf,
        /// The family that the file names.
        model_type: String,
    },
    /// The architecture is of another task.
    #[error(
        "{}: architectures is {}, not a token classifier; give a model with labels for tokens, whose architecture ends in ForTokenClassification",
        path.display(), architectures.join(", ")
    )]
    NotTokenClassifier {
        /// The file.
        path: PathBuf,
        /// The classes that the file names.
        architectures: Vec<String>,
    },
    /// A field has a value of another type.
    #[error("{}: {field}: {source}", path.display())]
    Field {
        /// The file.
        path: PathBuf,
        /// The field.
        field: &'static str,
        /// The value found and the type expected.
        source: serde_json::Error,
    },
    /// A field has a value that describes no model.
    #[error("{}: {field} {problem}", path.display())]
    Value {
        /// The file.
        path: PathBuf,
        /// The field.
        field: &'static str,
        /// What is wrong with the value.
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

/// The names of the families, separated by commas.
fn supported() -> String {
    Family::ALL
        .map(|family| format!("`{}`", family.model_type()))
        .join(", ")
}

#[cfg(test)]
mod tests {
    use crate::ModelConfig;

    #[test]
    fn a_run_in_place_of_its_checkpoint_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("config.json");
        let error = || ModelConfig::read(&path).unwrap_err().to_string();
        assert!(!error().contains("a run"));
        let best = dir.path().join("best");
        std::fs::create_dir(&best).unwrap();
        std::fs::write(best.join("config.json"), "{}").unwrap();
        let expected = format!("; the directory holds a run: give {}", best.display());
        assert!(error().ends_with(&expected), "{}", error());
    }
}
