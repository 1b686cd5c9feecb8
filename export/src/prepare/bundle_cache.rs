//! The cache of exported checkpoints: `bundles/KEY/` holds a bundle, and who writes it locks `bundles/KEY.lock`.

use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::Duration;

use nerve_repository::{
    FileError, MANIFEST, Manifest, ManifestError, cache_dir, create_dir_synced, rename_synced,
};
use tempfile::TempDir;
use tracing::info;

use crate::cancellation::Cancellation;
use crate::prepare::error::PrepareError;

/// The prefix of the directory in which a bundle is made.
const STAGING: &str = ".export-";
/// How often a lock that another process holds is tried again.
const RETRY: Duration = Duration::from_millis(50);

/// The directory of all exported checkpoints.
pub(crate) struct BundleCache {
    dir: PathBuf,
}

/// A place in the cache that no other process writes to until this is dropped.
pub(crate) struct LockedPlace<'c> {
    cache: &'c BundleCache,
    key: &'c str,
    _lock: File,
}

impl BundleCache {
    /// The cache that the environment names. It need not exist.
    pub(crate) fn from_env() -> Result<Self, PrepareError> {
        Ok(Self {
            dir: cache_dir()?.join("bundles"),
        })
    }

    /// Its directory.
    pub(crate) fn dir(&self) -> &Path {
        &self.dir
    }

    /// The bundle of a key, if it is there. An error if it is damaged.
    pub(crate) fn get(&self, key: &str) -> Result<Option<PathBuf>, ManifestError> {
        let path = self.dir.join(key);
        match path.join(MANIFEST).exists() {
            true => Manifest::read(&path).map(|_| Some(path)),
            false => Ok(None),
        }
    }

    /// Locks the place of a key, waiting for another process that writes to it.
    pub(crate) fn lock<'c>(
        &'c self,
        key: &'c str,
        cancellation: &Cancellation,
    ) -> Result<LockedPlace<'c>, PrepareError> {
        create_dir_synced(&self.dir).map_err(PrepareError::of_cache)?;
        let path = self.lock_path(key);
        let failed = |error| PrepareError::of_cache(FileError::at(&path)(error));
        let lock = File::create(&path).map_err(failed)?;
        let mut waiting = false;
        loop {
            match lock.try_lock() {
                Ok(()) => break,
                Err(TryLockError::WouldBlock) => {}
                Err(TryLockError::Error(error)) => return Err(failed(error)),
            }
            if !waiting {
                info!("another process exports the same checkpoint; waiting for it");
                waiting = true;
            }
            cancellation.check()?;
            sleep(RETRY);
        }
        Ok(LockedPlace {
            cache: self,
            key,
            _lock: lock,
        })
    }

    fn lock_path(&self, key: &str) -> PathBuf {
        self.dir.join(format!("{key}.lock"))
    }

    /// Removes what killed processes left: directories of keys that no process writes to.
    fn remove_leftovers(&self, own: &str) -> Result<(), FileError> {
        let entries = fs::read_dir(&self.dir).map_err(FileError::at(&self.dir))?;
        for entry in entries {
            let path = entry.map_err(FileError::at(&self.dir))?.path();
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            let key = name.strip_prefix(STAGING).and_then(|rest| rest.split_once('-'));
            let Some((key, _)) = key else { continue };
            // Held until the directory is removed.
            let lock = match key == own {
                true => None,
                false => match File::create(self.lock_path(key)) {
                    Ok(lock) if lock.try_lock().is_ok() => Some(lock),
                    Ok(_) | Err(_) => continue,
                },
            };
            fs::remove_dir_all(&path).map_err(FileError::at(&path))?;
            drop(lock);
        }
        Ok(())
    }
}

impl LockedPlace<'_> {
    /// An empty directory in which the bundle is made. What killed processes left is removed first.
    pub(crate) fn staging(&self) -> Result<TempDir, FileError> {
        let dir = &self.cache.dir;
        self.cache.remove_leftovers(self.key)?;
        tempfile::Builder::new()
            .prefix(&format!("{STAGING}{}-", self.key))
            .tempdir_in(dir)
            .map_err(FileError::at(dir))
    }

    /// Moves a bundle to its place, where a damaged one may be.
    pub(crate) fn put(&self, bundle: &Path) -> Result<PathBuf, FileError> {
        let path = self.cache.dir.join(self.key);
        if path.symlink_metadata().is_ok() {
            fs::remove_dir_all(&path).map_err(FileError::at(&path))?;
        }
        rename_synced(bundle, &path)?;
        Ok(path)
    }
}
