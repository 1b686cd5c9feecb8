//! Models of the hub, refused by their configuration before anything large is fetched.

use std::path::{Component, Path, PathBuf};

use nerve_repository::hub::{Files, HubClient};
use nerve_repository::{HubModel, HubSource, PlainConfig};

use crate::prepare::check_config::check_config;
use crate::prepare::error::PrepareError;

/// The directory of a checkpoint of the hub, and its commit.
pub(crate) fn fetch_checkpoint(model: &HubModel) -> Result<(PathBuf, HubSource), PrepareError> {
    fetch(model, [Files::Config, Files::Checkpoint], check_config)
}

/// The directory of a model of the hub with one of its ONNX files, and its commit.
pub(crate) fn fetch_graph(model: &HubModel, file: &Path) -> Result<(PathBuf, HubSource), PrepareError> {
    // The hub has no `./`. A name that is not UTF-8 is not on the hub.
    let file: PathBuf = file
        .components()
        .filter(|part| *part != Component::CurDir)
        .collect();
    let file = file.to_string_lossy();
    // The length may be in the tokenizer's configuration.
    fetch(model, [Files::Tokenizer, Files::Onnx(&file)], |dir| {
        PlainConfig::read(dir)?;
        Ok(())
    })
}

/// Fetches small files, and after they have passed a check the others.
fn fetch(
    model: &HubModel,
    [small, all]: [Files<'_>; 2],
    check: impl Fn(&Path) -> Result<(), PrepareError>,
) -> Result<(PathBuf, HubSource), PrepareError> {
    let failed = |source| PrepareError::Hub {
        model: model.clone(),
        source: Box::new(source),
    };
    let client = HubClient::from_env().map_err(failed)?;
    let small = client.fetch(model, small).map_err(failed)?;
    // Something may have altered the cache since its files were fetched.
    client.verify(model, &small).map_err(failed)?;
    check(&small.dir)?;
    // The branch may move between the two.
    let pinned = HubModel {
        id: model.id.clone(),
        revision: Some(small.commit),
    };
    let fetched = client.fetch(&pinned, all).map_err(failed)?;
    client.verify(&pinned, &fetched).map_err(failed)?;
    let source = HubSource {
        id: pinned.id,
        commit: fetched.commit,
    };
    Ok((fetched.dir, source))
}
