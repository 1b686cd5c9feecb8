//! A model store: `STORE/versions/<version>/` holds bundles, and the symbolic link `STORE/current` names one of them.

use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::{Duration, Instant};

use tempfile::TempDir;
use thiserror::Error;

use crate::files::{
    FileError, copy_synced, create_dir_synced, rename_synced, set_readable, sync, write_synced,
};
use crate::manifest::{FORMAT_VERSION, MANIFEST, Manifest, ManifestError};
use crate::version::{is_version, listed};

/// The file that a publisher locks.
const LOCK: &str = ".lock";
/// The prefix of a version's temporary directory.
const STAGING: &str = ".incoming-";
/// The prefix of the temporary link that replaces `current`.
const LINK: &str = ".current-";

/// Why a bundle was not published.
#[derive(Debug, Error)]
pub enum StoreError {
    /// The bundle is damaged.
    #[error(transparent)]
    Manifest(#[from] ManifestError),
    /// A file cannot be read or written.
    #[error(transparent)]
    File(#[from] FileError),
    /// The manifest of a copy cannot be written as JSON.
    #[error("{}: {source}", path.display())]
    Json {
        /// The manifest.
        path: PathBuf,
        /// The cause.
        source: serde_json::Error,
    },
    /// The store has no such version.
    #[error("{}: there is no version {version:?}; {versions}", store.display())]
    NoVersion {
        /// The store.
        store: PathBuf,
        /// The version asked for.
        version: String,
        /// The versions that the store has.
        versions: String,
    },
    /// The store would be inside a bundle.
    #[error("{} is a bundle (it has {MANIFEST}), not a store; name another directory with --store", path.display())]
    IsBundle {
        /// The directory.
        path: PathBuf,
    },
    /// The bundle was replaced while it was copied.
    #[error("{}: the version was {was} and became {now} while the bundle was copied; publish it again", path.display())]
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
    /// Locks the store, which is made if it does not exist; waits while another process publishes to it.
    pub fn acquire(store: &'s Path) -> Result<Self, StoreError> {
        check_store(store)?;
        create_dir_synced(store)?;
        let path = store.join(LOCK);
        let file = File::create(&path).map_err(FileError::at(&path))?;
        file.lock().map_err(FileError::at(&path))?;
        Ok(Self { store, _lock: file })
    }

    /// Locks the store unless another process has locked it for all of `patience`.
    pub(crate) fn acquire_within(store: &'s Path, patience: Duration) -> Result<Option<Self>, StoreError> {
        const RETRY: Duration = Duration::from_millis(50);
        create_dir_synced(store)?;
        let path = store.join(LOCK);
        let file = File::create(&path).map_err(FileError::at(&path))?;
        let end = Instant::now() + patience;
        loop {
            match file.try_lock() {
                Ok(()) => return Ok(Some(Self { store, _lock: file })),
                Err(TryLockError::WouldBlock) if Instant::now() < end => sleep(RETRY),
                Err(TryLockError::WouldBlock) => return Ok(None),
                Err(TryLockError::Error(error)) => return Err(FileError::at(&path)(error).into()),
            }
        }
    }

    /// Whether the store has a current version.
    pub fn has_current(&self) -> bool {
        self.store.join("current").symlink_metadata().is_ok()
    }

    /// [`publish`] under this lock.
    pub fn publish(&self, bundle: &Path) -> Result<PathBuf, StoreError> {
        let manifest = Manifest::read(bundle)?.into_current_format(bundle)?;
        let versions = self.versions()?;
        self.remove_temporary()?;
        let target = versions.join(&manifest.version);
        // A version with the same answers but another origin has another manifest.
        if Manifest::read(&target).ok().as_ref() != Some(&manifest) {
            place(&stage(bundle, &manifest, &versions)?, &manifest, &target)?;
        }
        self.set_current(&manifest.version)?;
        Ok(target)
    }

    /// Makes an earlier version of the store current again, and yields its directory.
    pub fn restore(&self, version: &str) -> Result<PathBuf, StoreError> {
        let versions = self.store.join("versions");
        let target = versions.join(version);
        if !is_version(version) || !target.is_dir() {
            // A store that cannot be listed has no version to suggest.
            let entries = fs::read_dir(versions).into_iter().flatten().flatten();
            let names = entries.filter_map(|entry| entry.file_name().into_string().ok());
            return Err(StoreError::NoVersion {
                store: self.store.to_owned(),
                version: version.to_owned(),
                versions: listed(names.collect()),
            });
        }
        Manifest::read(&target)?;
        self.set_current(version)?;
        Ok(target)
    }

    /// Puts the version that `fill` writes into an empty directory in its place, without making it current.
    pub(crate) fn add<E: From<StoreError>>(
        &self,
        fill: impl FnOnce(&Path) -> Result<Manifest, E>,
    ) -> Result<(), E> {
        let versions = self.versions()?;
        self.remove_temporary()?;
        let staging = staging_dir(&versions)?;
        let manifest = fill(staging.path())?;
        set_readable(staging.path()).map_err(StoreError::from)?;
        Ok(place(&staging, &manifest, &versions.join(&manifest.version))?)
    }

    /// The directory of the versions, which is made if it does not exist.
    fn versions(&self) -> Result<PathBuf, StoreError> {
        let versions = self.store.join("versions");
        create_dir_synced(&versions)?;
        Ok(versions)
    }

    /// Removes what killed processes left.
    pub(crate) fn remove_temporary(&self) -> Result<(), StoreError> {
        remove_temporary(&self.versions()?, STAGING)?;
        Ok(remove_temporary(self.store, LINK)?)
    }

    /// Makes `current` name a version.
    pub(crate) fn set_current(&self, version: &str) -> Result<(), StoreError> {
        let current = self.store.join("current");
        let link = tempfile::Builder::new()
            .prefix(LINK)
            .make_in(self.store, |path| {
                std::os::unix::fs::symlink(Path::new("versions").join(version), path)
            })
            .map_err(FileError::at(&current))?;
        link.persist(&current)
            .map_err(|error| FileError::at(&current)(error.error))?;
        Ok(sync(self.store)?)
    }
}

/// Fails if the directory of a store is a bundle: servers of that bundle would then serve the versions inside it.
pub fn check_store(store: &Path) -> Result<(), StoreError> {
    match store.join(MANIFEST).symlink_metadata() {
        Ok(_) => Err(StoreError::IsBundle {
            path: store.to_owned(),
        }),
        Err(_) => Ok(()),
    }
}

/// Puts a bundle into a store as `versions/<version>/`, makes it the current version and yields its directory.
///
/// The bundle is copied to a temporary directory beside its place, checked against its hashes, synced and renamed; `current` is
/// replaced by a rename. A version that the store already has is made current again; if its copy in the store is damaged, or was
/// made from elsewhere (base model, evaluation), the bundle's files replace it. The version in the store is that of the current
/// format: in format 1, bundles that answer differently can have the same version. Only one publisher works at a time, and the
/// next one removes what a killed one left.
pub fn publish(bundle: &Path, store: &Path) -> Result<PathBuf, StoreError> {
    LockedStore::acquire(store)?.publish(bundle)
}

/// A synced and checked copy of a bundle in a temporary directory below `versions`.
fn stage(bundle: &Path, manifest: &Manifest, versions: &Path) -> Result<TempDir, StoreError> {
    let staging = staging_dir(versions)?;
    for name in manifest.known_files().chain([MANIFEST]) {
        copy_synced(&bundle.join(name), &staging.path().join(name))?;
    }
    let read = Manifest::read(staging.path())?;
    let is_current = read.format_version == FORMAT_VERSION;
    let copied = read.into_current_format(staging.path())?;
    if copied.version != manifest.version {
        return Err(StoreError::Changed {
            path: bundle.to_owned(),
            was: manifest.version.clone(),
            now: copied.version,
        });
    }
    if !is_current {
        let path = staging.path().join(MANIFEST);
        let text = serde_json::to_vec_pretty(&copied).map_err(|source| StoreError::Json {
            path: path.clone(),
            source,
        })?;
        write_synced(&path, &text)?;
    }
    set_readable(staging.path())?;
    sync(staging.path())?;
    Ok(staging)
}

/// A temporary directory below `versions`.
fn staging_dir(versions: &Path) -> Result<TempDir, StoreError> {
    Ok(tempfile::Builder::new()
        .prefix(STAGING)
        .tempdir_in(versions)
        .map_err(FileError::at(versions))?)
}

/// Moves a staged version to its place.
///
/// A copy that is there is replaced file by file, the manifest last, so that at every moment it is either what it was or
/// whole: a directory cannot be replaced by one rename on every file system.
fn place(staging: &TempDir, manifest: &Manifest, target: &Path) -> Result<(), StoreError> {
    if !target.is_dir() {
        remove(target)?;
        return Ok(rename_synced(staging.path(), target)?);
    }
    for name in manifest.known_files().chain([MANIFEST]) {
        let file = target.join(name);
        if file.is_dir() {
            remove(&file)?;
        }
        rename_synced(&staging.path().join(name), &file)?;
    }
    Ok(set_readable(target)?)
}

/// Removes the temporary entries of a directory that killed publishers left.
fn remove_temporary(dir: &Path, prefix: &str) -> Result<(), FileError> {
    for entry in fs::read_dir(dir).map_err(FileError::at(dir))? {
        let name = entry.map_err(FileError::at(dir))?.file_name();
        if name.as_encoded_bytes().starts_with(prefix.as_bytes()) {
            remove(&dir.join(name))?;
        }
    }
    Ok(())
}

/// Removes a file, a link or a directory with all that is in it, if there is one.
fn remove(path: &Path) -> Result<(), FileError> {
    let removed = match path.symlink_metadata() {
        Ok(found) if found.is_dir() => fs::remove_dir_all(path),
        Ok(_) => fs::remove_file(path),
        Err(error) => Err(error),
    };
    match removed {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        done => done.map_err(FileError::at(path)),
    }
}

#[cfg(test)]
mod tests;
