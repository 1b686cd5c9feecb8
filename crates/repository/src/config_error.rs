//! Errors of `config.json` and `tokenizer_config.json`.

use std::path::PathBuf;

use nerve_tagging::LabelError;
use thiserror::Error;

use crate::family::Family;

/// Why a `config.json` or `tokenizer_config.json` cannot be used.
#[derive(Debug, Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read {}: {source}", path.display())]
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
