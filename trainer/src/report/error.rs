//! The error of writing a report, and the function that writes its files.

use std::path::{Path, PathBuf};

use thiserror::Error;

/// A report could not be written.
#[derive(Debug, Error)]
#[error("cannot write {}: {source}", path.display())]
pub struct ReportError {
    /// The file or directory.
    pub path: PathBuf,
    /// The error of the operating system.
    pub source: std::io::Error,
}

impl ReportError {
    /// Turns an I/O error into the error of writing `path`.
    pub(super) fn at(path: &Path) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self { path, source }
    }
}

/// Writes a text file of a report and returns its path.
pub(super) fn write(path: PathBuf, text: &str) -> Result<PathBuf, ReportError> {
    std::fs::write(&path, text).map_err(ReportError::at(&path))?;
    Ok(path)
}
