//! Where a model's versions come from.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use nerve_inference::{Device, Model, ModelError, OpenOptions, Runtime, SessionOptions};
use nerve_repository::{LocateError, Located, locate};
use tracing::info;

use crate::config::ModelConfig;
use crate::error::EngineError;
use crate::pipeline::model::TextModel;
use crate::session::OpenSession;

/// A version's place, and what tells whether it has changed there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VersionPath {
    /// The directory of its files.
    pub at: Located,
    /// Names, sizes and times of its files, and of those in its directories.
    stamp: Vec<(PathBuf, u64, Option<SystemTime>)>,
}

impl VersionPath {
    /// A place of this name, of which nothing is read.
    pub fn named(name: &str) -> Self {
        Self {
            at: Located {
                dir: name.into(),
                in_store: true,
            },
            stamp: Vec::new(),
        }
    }

    /// The place as it is now.
    fn of(at: Located) -> std::io::Result<Self> {
        let mut stamp = Vec::new();
        let mut dirs = vec![at.dir.clone()];
        while let Some(dir) = dirs.pop() {
            for entry in fs::read_dir(&dir)? {
                let entry = entry?;
                let of_file = entry.metadata()?;
                // A plain export has its graph one level down.
                if of_file.is_dir() && dir == at.dir {
                    dirs.push(entry.path());
                }
                stamp.push((entry.path(), of_file.len(), of_file.modified().ok()));
            }
        }
        stamp.sort();
        Ok(Self { at, stamp })
    }

    /// Whether its files are those it had.
    fn is_unchanged(&self) -> bool {
        Self::of(self.at.clone()).is_ok_and(|now| now == *self)
    }
}

/// A version whose files were found good: its text side, and the way to its sessions.
pub struct Opened {
    /// Its text side.
    pub model: TextModel,
    /// The ways to its sessions.
    pub sessions: Sessions,
}

/// The ways to a version's sessions.
pub struct Sessions {
    /// To those of the workers.
    pub of_workers: Arc<OpenSession>,
    /// To the one of lone windows, where there is to be one.
    pub lone: Option<Arc<OpenSession>>,
}

/// The versions of one model.
pub trait ModelSource: Send + Sync + 'static {
    /// The version to serve now. Blocks.
    fn current(&self) -> Result<VersionPath, EngineError>;
    /// Whether the version at this place is still the one that was found there. Blocks.
    fn is_unchanged(&self, place: &VersionPath) -> bool;
    /// The version at this place. Blocks.
    fn open(&self, place: &VersionPath) -> Result<Opened, EngineError>;
    /// What changes when another version is to be served; absent where nothing tells.
    fn watched(&self) -> Option<PathBuf>;
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
    pub(crate) fn new(path: &Path, runtime: &Arc<Runtime>, config: &ModelConfig) -> Self {
        Self {
            path: path.to_owned(),
            plain: config.plain(),
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
        info!(model = %text.name, version = %text.version, device = %self.device, "model opened");
        let (runtime, device, model) = (Arc::clone(&self.runtime), self.device, Arc::new(model));
        let open = |intra_threads| -> Arc<OpenSession> {
            let (runtime, model, place) = (Arc::clone(&runtime), Arc::clone(&model), place.clone());
            Arc::new(move || {
                // A session that is opened later, by a worker that lost its own, is not of another graph.
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
                // One thread a session: several small sessions answer more texts than one wide one.
                of_workers: open(1),
                lone: (self.lone_threads > 1).then(|| open(self.lone_threads)),
            },
        })
    }

    fn watched(&self) -> Option<PathBuf> {
        Some(self.path.clone())
    }
}
