//! Models of the hub, refused by their configuration before anything large is fetched.

use std::path::{Path, PathBuf};

use nerve_repository::hub::{Files, HubClient};
use nerve_repository::{HubModel, HubSource, PlainConfig};

use crate::prepare::error::PrepareError;
use crate::prepare::find::check_config;

/// The directory of a checkpoint of the hub, and its commit.
pub(crate) fn fetch_checkpoint(model: &HubModel) -> Result<(PathBuf, HubSource), PrepareError> {
    fetch(model, Files::Checkpoint, check_config)
}

/// The directory of a model of the hub with one of its ONNX files, and its commit.
pub(crate) fn fetch_graph(model: &HubModel, file: &Path) -> Result<(PathBuf, HubSource), PrepareError> {
    // A name that is not UTF-8 is not on the hub.
    let file = file.to_string_lossy();
    fetch(model, Files::Onnx(&file), |dir| {
        PlainConfig::read(dir)?;
        Ok(())
    })
}

/// Fetches these files, once the small ones have passed a check.
fn fetch(
    model: &HubModel,
    files: Files<'_>,
    check: impl Fn(&Path) -> Result<(), PrepareError>,
) -> Result<(PathBuf, HubSource), PrepareError> {
    let client = HubClient::from_env()?;
    let small = client.fetch(model, Files::Tokenizer)?;
    check(&small.dir)?;
    // The branch may move between the two.
    let pinned = HubModel {
        id: model.id.clone(),
        revision: Some(small.commit),
    };
    let fetched = client.fetch(&pinned, files)?;
    let source = HubSource {
        id: pinned.id,
        commit: fetched.commit,
    };
    Ok((fetched.dir, source))
}
