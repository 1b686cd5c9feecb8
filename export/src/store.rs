//! A model store: versions side by side, one of them current.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use thiserror::Error;

use crate::bundle::{ExportError, evaluate, set_readable, sync};
use crate::manifest::{MANIFEST, Manifest, ManifestError};
use crate::model::{Model, ModelError};
use crate::runtime::Runtime;

/// Held by whoever publishes.
const LOCK: &str = ".lock";
/// A version before it has its name.
const STAGING: &str = ".incoming-";
/// `current` before it has its name.
const LINK: &str = ".current-";

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
    /// The bundle was made anew while it was copied.
    #[error("{}: its version was {was} and is {now}", path.display())]
    Changed {
        /// The bundle.
        path: PathBuf,
        /// The version when publishing began.
        was: String,
        /// The version of the copy.
        now: String,
    },
    /// A copy could not be synced, or a version not be evaluated.
    #[error(transparent)]
    Sync(#[from] ExportError),
    /// The bundle, or the version that is live, cannot be opened.
    #[error("cannot open {}: {source}", path.display())]
    Open {
        /// The model.
        path: PathBuf,
        /// The defect.
        source: ModelError,
    },
}

/// What came of publishing what had to be better.
#[derive(Clone, Debug, PartialEq)]
pub struct Comparison {
    /// Where the version is; absent where it was not better, and the store is as it was.
    pub published: Option<PathBuf>,
    /// Its entity F1.
    pub f1: f64,
    /// That of the version that was live; absent in a store that had none.
    pub live_f1: Option<f64>,
}

/// [`publish`], if the bundle has a higher entity F1 on the CoNLL file `dev` than the version that is live.
///
/// Both bundles are run, the file is the same, and nothing that a manifest says of a score is believed. A store without a live
/// version takes any bundle that can be evaluated. Nobody else publishes between the comparison and its outcome.
pub fn publish_if_better(
    bundle: &Path,
    store: &Path,
    dev: &Path,
    runtime: &Runtime,
) -> Result<Comparison, StoreError> {
    let f1 = |path: &Path| -> Result<f64, StoreError> {
        let model = Model::open(path).map_err(|source| StoreError::Open {
            path: path.to_owned(),
            source,
        })?;
        Ok(evaluate(&model, dev, runtime)?.f1)
    };
    let _lock = lock(store)?;
    let candidate = f1(bundle)?;
    let has_live = store.join("current").symlink_metadata().is_ok();
    let live_f1 = has_live.then(|| f1(store)).transpose()?;
    let published = match live_f1.is_none_or(|live| candidate > live) {
        true => Some(publish_locked(bundle, store)?),
        false => None,
    };
    Ok(Comparison {
        published,
        f1: candidate,
        live_f1,
    })
}

/// The store to oneself, until the file is dropped; whoever else publishes waits.
fn lock(store: &Path) -> Result<File, StoreError> {
    fs::create_dir_all(store).map_err(io_error(store))?;
    let path = store.join(LOCK);
    let file = File::create(&path).map_err(io_error(&path))?;
    file.lock().map_err(io_error(&path))?;
    Ok(file)
}

/// Removes what publishers left that were killed.
fn sweep(dir: &Path, prefix: &str) -> Result<(), StoreError> {
    for entry in fs::read_dir(dir).map_err(io_error(dir))? {
        let entry = entry.map_err(io_error(dir))?;
        if !entry
            .file_name()
            .as_encoded_bytes()
            .starts_with(prefix.as_bytes())
        {
            continue;
        }
        let path = entry.path();
        let is_dir = entry.file_type().map_err(io_error(&path))?.is_dir();
        let removed = if is_dir {
            fs::remove_dir_all(&path)
        } else {
            fs::remove_file(&path)
        };
        removed.map_err(io_error(&path))?;
    }
    Ok(())
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
/// is replaced by a rename. A version the store already has is checked and made current again. Of several publishers one
/// is at work at a time, and what a killed one left is removed by the next.
pub fn publish(bundle: &Path, store: &Path) -> Result<PathBuf, StoreError> {
    let _lock = lock(store)?;
    publish_locked(bundle, store)
}

fn publish_locked(bundle: &Path, store: &Path) -> Result<PathBuf, StoreError> {
    let manifest = Manifest::read(bundle)?;
    let versions = store.join("versions");
    fs::create_dir_all(&versions).map_err(io_error(&versions))?;
    sweep(&versions, STAGING)?;
    sweep(store, LINK)?;
    let target = versions.join(&manifest.version);
    if target.exists() {
        Manifest::read(&target)?;
    } else {
        let staging = tempfile::Builder::new()
            .prefix(STAGING)
            .tempdir_in(&versions)
            .map_err(io_error(&versions))?;
        for name in manifest.known_files().chain([MANIFEST]) {
            let copy = staging.path().join(name);
            fs::copy(bundle.join(name), &copy).map_err(io_error(&copy))?;
            sync(&copy)?;
        }
        let copied = Manifest::read(staging.path())?;
        if copied.version != manifest.version {
            return Err(StoreError::Changed {
                path: bundle.to_owned(),
                was: manifest.version,
                now: copied.version,
            });
        }
        set_readable(staging.path())?;
        sync(staging.path())?;
        fs::rename(staging.path(), &target).map_err(io_error(&target))?;
        // The directory has moved: there is nothing left for the guard to remove.
        let _ = staging.keep();
        sync(&versions)?;
    }
    let current = store.join("current");
    let link = tempfile::Builder::new()
        .prefix(LINK)
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
