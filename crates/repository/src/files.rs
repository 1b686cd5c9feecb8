//! Durable files: the disk has the content of a file or directory before a name points at it.

use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use thiserror::Error;

/// A file or directory cannot be read, written or synced.
#[derive(Debug, Error)]
#[error("{}: {source}", path.display())]
pub struct FileError {
    /// The file or directory.
    pub path: PathBuf,
    /// The error of the system.
    pub source: io::Error,
}

impl FileError {
    /// Names `path` in an error of the system.
    pub fn at(path: &Path) -> impl Fn(io::Error) -> Self + '_ {
        move |source| Self {
            path: path.to_owned(),
            source,
        }
    }
}

/// Writes a file and waits until the disk has its content. Its entry in the directory is not synced.
pub fn write_synced(path: &Path, bytes: &[u8]) -> Result<(), FileError> {
    fs::write(path, bytes).map_err(FileError::at(path))?;
    sync(path)
}

/// The beginning of the name of a file that is still being written.
pub const UNFINISHED: &str = ".write-";

/// Replaces a file by one of this content, and waits until the disk has it. It keeps the permissions of the file that it replaces;
/// a new one has those of a file that the system makes.
///
/// A crash at any moment leaves the old content or the new one, and perhaps a file whose name begins with [`UNFINISHED`].
pub fn replace_file(path: &Path, content: &[u8]) -> io::Result<()> {
    let mut file = tempfile::Builder::new()
        // A temporary file can be read only by its owner, even after it is renamed.
        .permissions(fs::Permissions::from_mode(0o666))
        .prefix(UNFINISHED)
        .tempfile_in(parent(path))?;
    if let Ok(replaced) = fs::metadata(path) {
        file.as_file().set_permissions(replaced.permissions())?;
    }
    file.write_all(content)?;
    file.as_file().sync_all()?;
    file.persist(path)?;
    sync(parent(path)).map_err(|error| error.source)
}

/// Copies a file and waits until the disk has its content. Its entry in the directory is not synced.
pub(crate) fn copy_synced(from: &Path, to: &Path) -> Result<(), FileError> {
    fs::copy(from, to).map_err(FileError::at(to))?;
    sync(to)
}

/// Waits until the disk has the content of a file, or the entries of a directory.
pub fn sync(path: &Path) -> Result<(), FileError> {
    #[cfg(test)]
    SYNCED.with_borrow_mut(|synced| synced.push(path.to_owned()));
    File::open(path)
        .and_then(|file| file.sync_all())
        .map_err(FileError::at(path))
}

#[cfg(test)]
thread_local! {
    /// What this thread has synced, in order.
    pub(crate) static SYNCED: std::cell::RefCell<Vec<PathBuf>> = const { std::cell::RefCell::new(Vec::new()) };
}

/// Gives a synced file or directory another name in place of what has it, and waits until the disk has the name.
///
/// `from` is synced first, so that a crash at any moment leaves the old content or the new one under the name.
pub fn rename_synced(from: &Path, to: &Path) -> Result<(), FileError> {
    sync(from)?;
    fs::rename(from, to).map_err(FileError::at(to))?;
    sync(parent(to))
}

/// Makes a directory and those above it, and waits until the disk has the entries of the new ones.
pub fn create_dir_synced(dir: &Path) -> Result<(), FileError> {
    if dir.is_dir() {
        return Ok(());
    }
    let above = parent(dir);
    create_dir_synced(above)?;
    match fs::create_dir(dir) {
        // Another process was faster.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && dir.is_dir() => {}
        made => made.map_err(FileError::at(dir))?,
    }
    sync(above)
}

/// The directory in which a path has its name.
pub fn parent(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

/// Gives a temporary directory, which is private, the permissions of an ordinary one.
pub fn set_readable(dir: &Path) -> Result<(), FileError> {
    use std::os::unix::fs::PermissionsExt;
    fs::set_permissions(dir, fs::Permissions::from_mode(0o755)).map_err(FileError::at(dir))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn directories_are_made_with_those_above_them() {
        let dir = tempfile::tempdir().unwrap();
        let deep = dir.path().join("a/b/c");
        create_dir_synced(&deep).unwrap();
        create_dir_synced(&deep).unwrap();
        assert!(deep.is_dir());
        let file = dir.path().join("file");
        write_synced(&file, b"").unwrap();
        let error = create_dir_synced(&file.join("below")).unwrap_err();
        assert_eq!(error.path, file);
    }

    #[test]
    fn an_error_names_the_file() {
        let dir = tempfile::tempdir().unwrap();
        let (from, to) = (dir.path().join("from"), dir.path().join("none/to"));
        assert_eq!(rename_synced(&from, &to).unwrap_err().path, from);
        write_synced(&from, b"x").unwrap();
        assert_eq!(rename_synced(&from, &to).unwrap_err().path, to);
        assert_eq!(parent(Path::new("name")), Path::new("."));
    }
}
