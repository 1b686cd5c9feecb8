//! A model store: versions side by side, one of them current.

use std::fs;
use std::path::{Path, PathBuf};

use thiserror::Error;

use crate::bundle::{ExportError, set_readable, sync};
use crate::manifest::{MANIFEST, Manifest, ManifestError};

/// Why a bundle was not published.
#[derive(Debug, Error)]
pub enum StoreError {
    /// The bundle, or the version of it that the store already has, is damaged.
    #[error(transparent)]
    Manifest(#[from] ManifestError),
    /// A file cannot be read or written.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A copy could not be synced.
    #[error(transparent)]
    Sync(#[from] ExportError),
}

fn io_error(path: &Path) -> impl Fn(std::io::Error) -> StoreError + '_ {
    move |source| StoreError::Io {
        path: path.to_owned(),
        source,
    }
}

/// Puts a bundle into a store as `versions/<version>/`, makes `current` point at it and yields where it is.
///
/// The copy is made beside its place with the manifest last, checked against its hashes, synced and renamed; `current`
/// is replaced by a rename. A version the store already has is checked and made current again.
pub fn publish(bundle: &Path, store: &Path) -> Result<PathBuf, StoreError> {
    let manifest = Manifest::read(bundle)?;
    let versions = store.join("versions");
    fs::create_dir_all(&versions).map_err(io_error(&versions))?;
    let target = versions.join(&manifest.version);
    if target.exists() {
        Manifest::read(&target)?;
    } else {
        let staging = tempfile::Builder::new()
            .prefix(".incoming-")
            .tempdir_in(&versions)
            .map_err(io_error(&versions))?;
        for name in manifest.known_files().chain([MANIFEST]) {
            let copy = staging.path().join(name);
            fs::copy(bundle.join(name), &copy).map_err(io_error(&copy))?;
            sync(&copy)?;
        }
        Manifest::read(staging.path())?;
        set_readable(staging.path())?;
        sync(staging.path())?;
        fs::rename(staging.path(), &target).map_err(io_error(&target))?;
        // The directory has moved: there is nothing left for the guard to remove.
        let _ = staging.keep();
        sync(&versions)?;
    }
    let current = store.join("current");
    let link = tempfile::Builder::new()
        .prefix(".current-")
        .make_in(store, |path| {
            std::os::unix::fs::symlink(Path::new("versions").join(&manifest.version), path)
        })
        .map_err(io_error(&current))?;
    link.persist(&current).map_err(|error| StoreError::Io {
        path: current,
        source: error.error,
    })?;
    sync(store)?;
    Ok(target)
}
