//! Where the versions of a model come from.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use nerve_inference::{Device, Model, ModelError, OpenOptions, Runtime, SessionOptions};
use nerve_repository::{HubSource, LocateError, Located, locate};
use tracing::info;

use crate::config::ModelConfig;
use crate::error::EngineError;
use crate::pipeline::model::TextModel;
use crate::session::OpenSession;

/// The place of a version, and what shows whether its files have changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VersionPath {
    /// The directory of the version's files.
    pub at: Located,
    /// The files in the directory and its subdirectories, sorted by path.
    stamp: Vec<FileStamp>,
}

/// What shows whether a file has changed. A symbolic link, of which a Hugging Face cache consists, is followed.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct FileStamp {
    path: PathBuf,
    /// Where the link points, if the file is one.
    target: Option<PathBuf>,
    /// Size and modification time; absent if the link leads to no file.
    content: Option<(u64, Option<SystemTime>)>,
}

impl VersionPath {
    /// A place of this name, without files.
    pub fn named(name: &str) -> Self {
        Self::immutable(Located {
            dir: name.into(),
            in_store: true,
        })
    }

    /// A place whose files never change, and need not exist yet.
    pub(crate) fn immutable(at: Located) -> Self {
        let stamp = Vec::new();
        Self { at, stamp }
    }

    /// The place with its files as they are now.
    pub(crate) fn of(at: Located) -> std::io::Result<Self> {
        let mut stamp = Vec::new();
        let mut dirs = vec![at.dir.clone()];
        while let Some(dir) = dirs.pop() {
            for entry in fs::read_dir(&dir)? {
                let path = entry?.path();
                let target = fs::read_link(&path).ok();
                let metadata = match fs::metadata(&path) {
                    Ok(metadata) => Some(metadata),
                    Err(_) if target.is_some() => None,
                    Err(error) => return Err(error),
                };
                // A plain export has its graph one level down.
                if dir == at.dir && metadata.as_ref().is_some_and(fs::Metadata::is_dir) {
                    dirs.push(path.clone());
                }
                stamp.push(FileStamp {
                    path,
                    target,
                    content: metadata.map(|metadata| (metadata.len(), metadata.modified().ok())),
                });
            }
        }
        stamp.sort();
        Ok(Self { at, stamp })
    }

    /// Whether the files are unchanged.
    fn is_unchanged(&self) -> bool {
        Self::of(self.at.clone()).is_ok_and(|now| now == *self)
    }
}

/// A version whose files were verified: its text side, and how to open its sessions.
pub struct Opened {
    /// The text side.
    pub model: TextModel,
    /// How to open its sessions.
    pub sessions: Sessions,
}

/// How to open a version's sessions.
pub struct Sessions {
    /// Opens the workers' sessions.
    pub of_workers: Arc<OpenSession>,
    /// Opens the session of lone windows; absent if there is to be none.
    pub lone: Option<Arc<OpenSession>>,
}

/// The versions of one model.
pub trait ModelSource: Send + Sync + 'static {
    /// The version to serve now. Blocks.
    fn current(&self) -> Result<VersionPath, EngineError>;
    /// Whether the version at this place is unchanged. Blocks.
    fn is_unchanged(&self, place: &VersionPath) -> bool;
    /// Opens the version at this place. Blocks.
    fn open(&self, place: &VersionPath) -> Result<Opened, EngineError>;
    /// The path that changes when another version is published; absent if nothing can be watched.
    fn watched(&self) -> Option<PathBuf>;
    /// The version to start with if the current one cannot be had; none if that is an error. Blocks.
    fn fallback(&self) -> Option<VersionPath> {
        None
    }
    /// Told when the version at `live` has begun to answer, which may be replaced by the one at `before` again. Blocks.
    fn serves(&self, _live: &VersionPath, _before: Option<&VersionPath>) {}
}

/// A bundle, a store or a plain export on disk.
pub(crate) struct Files {
    path: PathBuf,
    plain: OpenOptions,
    runtime: Arc<Runtime>,
    device: Device,
    lone_threads: usize,
}

impl Files {
    /// The model at this path, run as configured.
    pub(crate) fn new(
        path: &Path,
        runtime: &Arc<Runtime>,
        config: &ModelConfig,
        source: Option<&HubSource>,
    ) -> Self {
        Self {
            path: path.to_owned(),
            plain: config.plain(source),
            runtime: Arc::clone(runtime),
            device: config.device(),
            lone_threads: config.lone_threads(),
        }
    }

    fn error(&self, source: ModelError) -> EngineError {
        EngineError::Model {
            path: self.path.clone(),
            source,
        }
    }
}

impl ModelSource for Files {
    fn current(&self) -> Result<VersionPath, EngineError> {
        let at = locate(&self.path).map_err(|source| self.error(source.into()))?;
        VersionPath::of(at).map_err(|source| {
            let path = self.path.clone();
            self.error(LocateError::Open { path, source }.into())
        })
    }

    fn is_unchanged(&self, place: &VersionPath) -> bool {
        place.is_unchanged()
    }

    fn open(&self, place: &VersionPath) -> Result<Opened, EngineError> {
        let model = Model::open_located(&place.at, &self.plain).map_err(|source| self.error(source))?;
        let text = TextModel::of(&model)?;
        let kernels = &model.info().kernels;
        info!(model = %text.name, version = %text.version, device = %self.device, %kernels, "model opened");
        let (runtime, device, model) = (Arc::clone(&self.runtime), self.device, Arc::new(model));
        let open = |intra_threads| -> Arc<OpenSession> {
            let (runtime, model, place) = (Arc::clone(&runtime), Arc::clone(&model), place.clone());
            Arc::new(move || {
                // A worker that reopens its session later must not open another graph.
                if !place.is_unchanged() {
                    return Err("the model's files have changed since they were checked".into());
                }
                let options = SessionOptions {
                    device,
                    intra_threads,
                };
                Ok(Box::new(model.session(&runtime, &options)?))
            })
        };
        Ok(Opened {
            model: text,
            sessions: Sessions {
                // One thread per session: several small sessions answer more texts than one wide session.
                of_workers: open(1),
                lone: (self.lone_threads > 1).then(|| open(self.lone_threads)),
            },
        })
    }

    fn watched(&self) -> Option<PathBuf> {
        Some(self.path.clone())
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn a_change_behind_a_link_is_a_change() {
        let cache = tempfile::tempdir().unwrap();
        let (blobs, snapshot) = (cache.path().join("blobs"), cache.path().join("snapshots/1"));
        fs::create_dir(&blobs).unwrap();
        fs::create_dir_all(&snapshot).unwrap();
        let write = |name: &str, text: &str| fs::write(blobs.join(name), text).unwrap();
        let link = |name: &str| {
            let _absent = fs::remove_file(snapshot.join("config.json"));
            symlink(Path::new("../../blobs").join(name), snapshot.join("config.json")).unwrap();
        };
        let now = || {
            VersionPath::of(Located {
                dir: snapshot.clone(),
                in_store: false,
            })
            .unwrap()
        };
        write("a", "{}");
        link("a");
        let before = now();
        assert!(before.is_unchanged());
        write("a", "{ }");
        assert!(!before.is_unchanged(), "the file behind the link has changed");
        let before = now();
        fs::hard_link(blobs.join("a"), blobs.join("b")).unwrap();
        link("b");
        assert!(!before.is_unchanged(), "the link leads to another file");
        link("missing");
        let dangling = now();
        assert!(dangling.is_unchanged());
        write("missing", "{}");
        assert!(!dangling.is_unchanged(), "the link leads to a file now");
    }
}
