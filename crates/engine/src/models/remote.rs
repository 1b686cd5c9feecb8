//! The versions of a store on object storage.

use std::path::PathBuf;
use std::sync::Arc;

use nerve_repository::{Located, StoreMirror};
use tracing::warn;

use crate::error::EngineError;
use crate::models::source::{Files, ModelSource, Opened, Sessions, VersionPath};
use crate::session::OpenSession;

/// A store on object storage, whose versions are downloaded before they are opened.
///
/// A place is the directory of a version in the local copy of the store. Its content never changes, so its name tells places apart.
pub(crate) struct RemoteSource {
    mirror: StoreMirror,
    files: Files,
}

impl RemoteSource {
    /// The store with this local copy, whose versions are run as `files` opens them.
    pub(crate) fn new(mirror: StoreMirror, files: Files) -> Self {
        Self { mirror, files }
    }

    fn place(&self, version: &str) -> VersionPath {
        VersionPath::immutable(Located {
            dir: self.mirror.version_dir(version),
            in_store: true,
        })
    }
}

/// The version at a place.
fn version_of(place: &VersionPath) -> &str {
    let name = place.at.dir.file_name().and_then(|name| name.to_str());
    // The places of this source are made of versions, which are ASCII.
    name.unwrap_or_default()
}

impl ModelSource for RemoteSource {
    fn current(&self) -> Result<VersionPath, EngineError> {
        Ok(self.place(&self.mirror.current()?))
    }

    fn fallback(&self) -> Option<VersionPath> {
        Some(self.place(&self.mirror.cached()?))
    }

    fn is_unchanged(&self, _place: &VersionPath) -> bool {
        true
    }

    fn open(&self, place: &VersionPath) -> Result<Opened, EngineError> {
        let cached = self.mirror.fetch(version_of(place))?;
        let at = Located {
            dir: cached.dir.clone(),
            in_store: true,
        };
        let Opened { model, sessions } = self.files.open(&VersionPath::of(at)?)?;
        // The files stay on the disk while sessions may be opened.
        let holding = |open: Arc<OpenSession>| -> Arc<OpenSession> {
            let cached = cached.clone();
            Arc::new(move || {
                let _held = &cached;
                open()
            })
        };
        Ok(Opened {
            model,
            sessions: Sessions {
                of_workers: holding(sessions.of_workers),
                lone: sessions.lone.map(holding),
            },
        })
    }

    fn watched(&self) -> Option<PathBuf> {
        None
    }

    fn serves(&self, live: &VersionPath, before: Option<&VersionPath>) {
        let versions: Vec<&str> = std::iter::once(live).chain(before).map(version_of).collect();
        if let Err(error) = self.mirror.keep(&versions) {
            warn!(%error, "the cache of downloaded versions cannot be cleaned");
        }
    }
}
