//! A version in the cache that no process removes while it is used.

use std::fs::{File, TryLockError, metadata, remove_dir_all};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// A version's directory that is locked until this is dropped, or the process ends.
#[derive(Debug)]
pub(crate) struct VersionLease {
    _dir: File,
}

impl VersionLease {
    /// Locks a directory together with others that use it; none if there is no such directory.
    pub(crate) fn acquire(dir: &Path) -> io::Result<Option<Self>> {
        let opened = match File::open(dir) {
            Ok(opened) => opened,
            Err(error) if is_absent(&error) => return Ok(None),
            Err(error) => return Err(error),
        };
        // Waits while another process removes the directory, after which the name is free or that of another directory.
        opened.lock_shared()?;
        match (opened.metadata()?, metadata(dir)) {
            (locked, Ok(named)) if locked.ino() == named.ino() && locked.dev() == named.dev() => {
                Ok(Some(Self { _dir: opened }))
            }
            _ => Ok(None),
        }
    }
}

/// Removes a directory unless it is leased. Whether it is gone.
pub(crate) fn remove_unused(dir: &Path) -> io::Result<bool> {
    let opened = File::open(dir)?;
    match opened.try_lock() {
        Ok(()) => remove_dir_all(dir).map(|()| true),
        Err(TryLockError::WouldBlock) => Ok(false),
        Err(TryLockError::Error(error)) => Err(error),
    }
}

fn is_absent(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
    )
}
