//! A model store: versions side by side, one of them current.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use thiserror::Error;

use crate::files::{FileError, set_readable, sync};
use crate::manifest::{MANIFEST, Manifest, ManifestError};

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
    #[error(transparent)]
    File(#[from] FileError),
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
}

/// A store that nobody else publishes to until this is dropped.
pub struct LockedStore<'s> {
    store: &'s Path,
    _lock: File,
}

impl<'s> LockedStore<'s> {
    /// The store, made if it does not exist; waits for whoever else publishes to it.
    pub fn acquire(store: &'s Path) -> Result<Self, StoreError> {
        fs::create_dir_all(store).map_err(FileError::at(store))?;
        let path = store.join(LOCK);
        let file = File::create(&path).map_err(FileError::at(&path))?;
        file.lock().map_err(FileError::at(&path))?;
        Ok(Self { store, _lock: file })
    }

    /// Whether the store has a current version.
    pub fn has_current(&self) -> bool {
        self.store.join("current").symlink_metadata().is_ok()
    }

    /// [`publish`] under this lock.
    pub fn publish(&self, bundle: &Path) -> Result<PathBuf, StoreError> {
        publish_locked(bundle, self.store)
    }
}

/// Removes what publishers left that were killed.
fn sweep(dir: &Path, prefix: &str) -> Result<(), StoreError> {
    for entry in fs::read_dir(dir).map_err(FileError::at(dir))? {
        let entry = entry.map_err(FileError::at(dir))?;
        if !entry
            .file_name()
            .as_encoded_bytes()
            .starts_with(prefix.as_bytes())
        {
            continue;
        }
        let path = entry.path();
        let is_dir = entry.file_type().map_err(FileError::at(&path))?.is_dir();
        let removed = if is_dir {
            fs::remove_dir_all(&path)
        } else {
            fs::remove_file(&path)
        };
        removed.map_err(FileError::at(&path))?;
    }
    Ok(())
}

/// Puts a bundle into a store as `versions/<version>/`, makes `current` point at it and yields where it is.
///
/// The copy is made beside its place with the manifest last, checked against its hashes, synced and renamed; `current`
/// is replaced by a rename. A version the store already has is checked and made current again. Of several publishers one
/// is at work at a time, and what a killed one left is removed by the next.
pub fn publish(bundle: &Path, store: &Path) -> Result<PathBuf, StoreError> {
    LockedStore::acquire(store)?.publish(bundle)
}

fn publish_locked(bundle: &Path, store: &Path) -> Result<PathBuf, StoreError> {
    let manifest = Manifest::read(bundle)?;
    let versions = store.join("versions");
    fs::create_dir_all(&versions).map_err(FileError::at(&versions))?;
    sweep(&versions, STAGING)?;
    sweep(store, LINK)?;
    let target = versions.join(&manifest.version);
    if target.exists() {
        Manifest::read(&target)?;
    } else {
        let staging = tempfile::Builder::new()
            .prefix(STAGING)
            .tempdir_in(&versions)
            .map_err(FileError::at(&versions))?;
        for name in manifest.known_files().chain([MANIFEST]) {
            let copy = staging.path().join(name);
            fs::copy(bundle.join(name), &copy).map_err(FileError::at(&copy))?;
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
        fs::rename(staging.path(), &target).map_err(FileError::at(&target))?;
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
        .map_err(FileError::at(&current))?;
    link.persist(&current)
        .map_err(|error| FileError::at(&current)(error.error))?;
    sync(store)?;
    Ok(target)
}
