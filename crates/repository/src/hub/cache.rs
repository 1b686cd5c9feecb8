//! The cache of one repository, in the layout of Python's `huggingface_hub`, which reads and writes it too.
//!
//! `models--OWNER--NAME/`, or `datasets--OWNER--NAME/`, holds `blobs/ETAG`, the contents; `snapshots/COMMIT/FILE`, symbolic links to them; `refs/REVISION`, the
//! commit of a branch or tag when it was last asked for; and `.no_exist/COMMIT/FILE`, an empty file for each that the commit
//! lacks. Locks are beside it, in `.locks/models--OWNER--NAME/ETAG.lock`. Of a data set, whose files have no fixed names, there is also
//! `.nerve/COMMIT.json`, the list of a commit's files; Python's library leaves it alone.

use std::collections::BTreeSet;
use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use crate::files::{parent, replace_file};
use crate::hub::repository::HubRepository;

/// The cache of one repository.
#[derive(Clone, Debug)]
pub(super) struct RepositoryCache {
    dir: PathBuf,
    locks: PathBuf,
}

impl RepositoryCache {
    /// The cache of a repository in the cache of all.
    pub(super) fn new(cache: &Path, repository: &HubRepository) -> Self {
        let HubRepository { kind, id, .. } = repository;
        let name = format!("{}--{}", kind.plural(), id.replace('/', "--"));
        Self {
            locks: cache.join(".locks").join(&name),
            dir: cache.join(name),
        }
    }

    /// The directory of a commit's files.
    pub(super) fn snapshot(&self, commit: &str) -> PathBuf {
        self.dir.join("snapshots").join(commit)
    }

    /// Whether a commit's file is there. A link to nothing is not.
    pub(super) fn has(&self, commit: &str, file: &str) -> bool {
        self.snapshot(commit).join(file).is_file()
    }

    /// Where the content with this ETag is.
    pub(super) fn blob(&self, etag: &str) -> PathBuf {
        self.dir.join("blobs").join(etag)
    }

    /// The commit that a branch or tag had; none if it was never asked for.
    pub(super) fn read_ref(&self, revision: &str) -> Option<String> {
        let commit = fs::read_to_string(self.dir.join("refs").join(revision)).ok()?;
        Some(commit.trim().to_owned()).filter(|commit| is_commit(commit))
    }

    /// Records the commit of a branch or tag.
    pub(super) fn write_ref(&self, revision: &str, commit: &str) -> io::Result<()> {
        if self.read_ref(revision).as_deref() == Some(commit) {
            return Ok(());
        }
        self.replace(&self.dir.join("refs").join(revision), commit.as_bytes())
    }

    /// The list of a commit's files, if it was recorded.
    pub(super) fn read_listing(&self, commit: &str) -> Option<BTreeSet<String>> {
        serde_json::from_slice(&fs::read(self.listing(commit)).ok()?).ok()
    }

    /// Records the list of a commit's files.
    pub(super) fn write_listing(&self, commit: &str, files: &BTreeSet<String>) -> io::Result<()> {
        let path = self.listing(commit);
        match path.is_file() {
            true => Ok(()),
            false => self.replace(&path, &serde_json::to_vec(files)?),
        }
    }

    fn listing(&self, commit: &str) -> PathBuf {
        self.dir.join(".nerve").join(format!("{commit}.json"))
    }

    fn replace(&self, path: &Path, content: &[u8]) -> io::Result<()> {
        fs::create_dir_all(parent(path))?;
        replace_file(path, content)
    }

    /// Whether a commit is known to lack a file.
    pub(super) fn is_absent(&self, commit: &str, file: &str) -> bool {
        self.marker(commit, file).is_file()
    }

    /// Records that a commit lacks a file.
    pub(super) fn mark_absent(&self, commit: &str, file: &str) -> io::Result<()> {
        let path = self.marker(commit, file);
        if path.is_file() {
            return Ok(());
        }
        fs::create_dir_all(parent(&path))?;
        fs::write(path, b"")
    }

    fn marker(&self, commit: &str, file: &str) -> PathBuf {
        self.dir.join(".no_exist").join(commit).join(file)
    }

    /// Makes the directory of blobs, and takes the lock of a blob, which is held until the file is dropped. `waiting` is called
    /// if another process has it.
    pub(super) fn lock(&self, etag: &str, waiting: impl FnOnce()) -> Result<File, (PathBuf, io::Error)> {
        let path = self.locks.join(format!("{etag}.lock"));
        let open = || {
            fs::create_dir_all(parent(&path))?;
            let file = OpenOptions::new()
                .write(true)
                .create(true)
                .truncate(false)
                .open(&path)?;
            match file.try_lock() {
                Ok(()) => return Ok(file),
                Err(fs::TryLockError::WouldBlock) => waiting(),
                Err(fs::TryLockError::Error(error)) => return Err(error),
            }
            file.lock()?;
            Ok(file)
        };
        let blobs = self.dir.join("blobs");
        fs::create_dir_all(&blobs).map_err(|error| (blobs, error))?;
        open().map_err(|error| (path, error))
    }

    /// Gives a commit's file the content with this ETag, in place of a link to nothing.
    pub(super) fn link(&self, commit: &str, file: &str, etag: &str) -> Result<(), (PathBuf, io::Error)> {
        let path = self.snapshot(commit).join(file);
        // Up from the file's directory to `snapshots/COMMIT`, and from there to the directory of the model.
        let up = "../".repeat(2 + file.matches('/').count());
        let place = || {
            fs::create_dir_all(parent(&path))?;
            match symlink(format!("{up}blobs/{etag}"), &path) {
                Err(error) if error.kind() == ErrorKind::AlreadyExists && !path.exists() => {
                    fs::remove_file(&path)?;
                    symlink(format!("{up}blobs/{etag}"), &path)
                }
                // Another process was faster.
                Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(()),
                placed => placed,
            }
        };
        place().map_err(|error| (path.clone(), error))
    }

    /// The ETag of a commit's file: the name of the blob it is a link to.
    pub(super) fn etag(&self, commit: &str, file: &str) -> Option<String> {
        let target = fs::read_link(self.snapshot(commit).join(file)).ok()?;
        Some(target.file_name()?.to_str()?.to_owned())
    }
}

/// Whether a text is the full name of a commit.
pub(super) fn is_commit(text: &str) -> bool {
    text.len() == 40 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}
