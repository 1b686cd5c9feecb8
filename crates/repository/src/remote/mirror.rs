//! The local copy of a store on object storage: the versions that the servers of this machine use.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use sha2::{Digest, Sha256};
use tracing::info;
use url::Url;

use crate::cache_dir::cache_dir;
use crate::files::FileError;
use crate::hex::hex;
use crate::manifest::Manifest;
use crate::remote::download::download;
use crate::remote::error::RemoteError;
use crate::remote::lease::{VersionLease, remove_unused};
use crate::remote::objects::{CurrentVersion, Objects};
use crate::store::LockedStore;
use crate::version::is_version;

/// How long a server that has a version waits for a process that downloads another one, which holds the lock, before it goes on.
const PATIENCE: Duration = Duration::from_secs(1);

/// The local copy of a store on object storage.
///
/// It is a store itself, in the cache directory. The servers of a machine share it: a version is downloaded once, and removed when no
/// process uses it, which locks on the versions' directories show. Its `current` is the version that a server last served, with which
/// servers start while the store is away.
pub struct StoreMirror {
    objects: Objects,
    dir: PathBuf,
    state: Mutex<MirrorState>,
}

#[derive(Default)]
struct MirrorState {
    /// The current version as it was last seen.
    current: Option<CurrentVersion>,
    /// Keeps the versions that may be served again.
    kept: Vec<VersionLease>,
}

/// A downloaded and checked version, which stays on the disk while this exists.
#[derive(Clone, Debug)]
pub struct CachedVersion {
    /// The directory of the bundle.
    pub dir: PathBuf,
    _lease: Arc<VersionLease>,
}

impl StoreMirror {
    /// The copy of the store at a URL, in the cache directory. Nothing is read yet.
    pub fn open(url: &Url) -> Result<Self, RemoteError> {
        let dir = cache_dir()?.join("stores").join(dir_name(url));
        Ok(Self::of_objects(Objects::open(url)?, dir))
    }

    pub(crate) fn of_objects(objects: Objects, dir: PathBuf) -> Self {
        Self {
            objects,
            dir,
            state: Mutex::default(),
        }
    }

    /// The store.
    pub fn url(&self) -> &Url {
        self.objects.url()
    }

    /// The directory of the copy.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The directory of a version's bundle, which need not exist.
    pub fn version_dir(&self, version: &str) -> PathBuf {
        self.dir.join("versions").join(version)
    }

    /// The version that is current in the store.
    pub fn current(&self) -> Result<String, RemoteError> {
        let known = self.state().current.clone();
        let found = self.objects.current(known.as_ref())?.or(known);
        // Only a store that breaks the protocol says "not modified" of what it was not asked to compare.
        let current = found.ok_or_else(|| RemoteError::NoCurrent {
            object: self.objects.shown("current"),
        })?;
        let version = current.version(&self.objects)?.to_owned();
        self.state().current = Some(current);
        Ok(version)
    }

    /// The version that was served last, if it is in the cache.
    pub fn cached(&self) -> Option<String> {
        let link = fs::read_link(self.dir.join("current")).ok()?;
        let version = link.file_name()?.to_str()?.to_owned();
        (is_version(&version) && self.version_dir(&version).is_dir()).then_some(version)
    }

    /// A version, downloaded unless a whole copy is there. A damaged one is replaced.
    pub fn fetch(&self, version: &str) -> Result<CachedVersion, RemoteError> {
        if let Some(whole) = self.whole(version)? {
            return Ok(whole);
        }
        let store = LockedStore::acquire(&self.dir)?;
        // Another process may have downloaded it before this one had the lock.
        if let Some(whole) = self.whole(version)? {
            return Ok(whole);
        }
        store.add(|staging| download(&self.objects, version, staging))?;
        info!(store = %self.url(), version, "version downloaded");
        self.whole(version)?.ok_or_else(|| {
            let dir = self.version_dir(version);
            let source = std::io::Error::other("the version was removed or changed while it was downloaded");
            RemoteError::Cache(FileError::at(&dir)(source))
        })
    }

    /// Keeps these versions, the first of which is served, and removes the others unless another process uses them.
    pub fn keep(&self, versions: &[&str]) -> Result<(), RemoteError> {
        let mut kept = Vec::new();
        for version in versions {
            kept.extend(self.lease(version)?);
        }
        self.state().kept = kept;
        let Some(store) = LockedStore::acquire_within(&self.dir, PATIENCE)? else {
            info!(store = %self.url(), "another process downloads a version; old ones are removed after the next change of the version");
            return Ok(());
        };
        if let Some(served) = versions
            .first()
            .filter(|served| self.version_dir(served).is_dir())
        {
            store.set_current(served)?;
        }
        store.remove_temporary()?;
        let current = self.cached();
        let dir = self.dir.join("versions");
        for entry in fs::read_dir(&dir).into_iter().flatten().flatten() {
            let is_current = current
                .as_deref()
                .is_some_and(|current| entry.file_name() == current);
            let is_dir = entry.file_type().is_ok_and(|found| found.is_dir());
            if is_dir && !is_current {
                let path = entry.path();
                remove_unused(&path)
                    .map_err(FileError::at(&path))
                    .map_err(RemoteError::Cache)?;
            }
        }
        Ok(())
    }

    /// The copy of a version, if there is one and it is whole.
    fn whole(&self, version: &str) -> Result<Option<CachedVersion>, RemoteError> {
        let dir = self.version_dir(version);
        let Some(lease) = self.lease(version)? else {
            return Ok(None);
        };
        let is_whole = Manifest::read(&dir).is_ok_and(|manifest| manifest.version == version);
        Ok(is_whole.then(|| CachedVersion {
            dir,
            _lease: Arc::new(lease),
        }))
    }

    fn lease(&self, version: &str) -> Result<Option<VersionLease>, RemoteError> {
        let dir = self.version_dir(version);
        let lease = VersionLease::acquire(&dir);
        lease.map_err(FileError::at(&dir)).map_err(RemoteError::Cache)
    }

    fn state(&self) -> MutexGuard<'_, MirrorState> {
        // No code panics while it holds the lock.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The name of a store's directory: its URL as people read it, and a hash that tells apart what reads alike.
fn dir_name(url: &Url) -> String {
    let readable = |c: char| match c.is_ascii_alphanumeric() || "-_.".contains(c) {
        true => c,
        false => '-',
    };
    let url = url.as_str().trim_end_matches('/');
    let name: String = url.replace("://", "-").chars().map(readable).take(80).collect();
    let mut hash = hex(&Sha256::digest(url));
    hash.truncate(8);
    format!("{name}-{hash}")
}
