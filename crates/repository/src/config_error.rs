//! Why a model's JSON files cannot be used.

use std::path::PathBuf;

use nerve_tagging::LabelError;
use thiserror::Error;

use crate::family::Family;

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
    #[error("{}: model_type `{model_type}` is not supported, only {}", path.display(), supported())]
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

/// The families' names, in a sentence.
fn supported() -> String {
    Family::ALL
        .map(|family| format!("`{}`", family.model_type()))
        .join(", ")
}
