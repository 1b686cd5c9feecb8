//! The lock on a run's directory.

use std::fs::{File, TryLockError};
use std::path::Path;

use crate::train::error::TrainError;
use crate::train::files::failed;

const LOCK: &str = "lock";

/// The right to write a run's directory, until it is dropped or the process ends, however it ends.
///
/// The file stays: to remove it would let one process lock a file that another one has just replaced.
#[derive(Debug)]
pub(crate) struct RunLock {
    _file: File,
}

impl RunLock {
    /// Locks a directory that exists. Another holder, in this process or another, is an error.
    pub(crate) fn acquire(dir: &Path) -> Result<Self, TrainError> {
        let path = dir.join(LOCK);
        let open = || File::options().create(true).append(true).open(&path);
        let file = open().map_err(failed(&path))?;
        match file.try_lock() {
            Ok(()) => Ok(Self { _file: file }),
            Err(TryLockError::WouldBlock) => Err(TrainError::InUse { dir: dir.to_owned() }),
            Err(TryLockError::Error(source)) => Err(failed(&path)(source)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_is_locked_once_and_again_after_it_is_released() {
        let dir = tempfile::tempdir().unwrap();
        let first = RunLock::acquire(dir.path()).unwrap();
        let error = RunLock::acquire(dir.path()).unwrap_err();
        assert!(
            matches!(&error, TrainError::InUse { dir: named } if named == dir.path()),
            "{error}"
        );
        drop(first);
        RunLock::acquire(dir.path()).unwrap();
    }
}
