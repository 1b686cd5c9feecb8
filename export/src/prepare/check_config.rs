//! Refuses a checkpoint by its configuration.

use std::path::Path;

use nerve_repository::ModelConfig;

use crate::prepare::error::PrepareError;

/// Fails unless the configuration in a directory is that of a token classifier that can be exported.
pub(crate) fn check_config(dir: &Path) -> Result<(), PrepareError> {
    let path = dir.join("config.json");
    ModelConfig::read(&path)?.classifier_labels(&path)?;
    Ok(())
}
