//! A teacher's files, and the tagger that they are.

use std::collections::BTreeMap;
use std::path::PathBuf;

use candle_core::Device;
use nerve_export::{CheckpointOptions, FoundModel, ModelRequest, PrepareError, checkpoint_dir};
use nerve_inference::{Model, Runtime, SessionOptions, Tagger};
use nerve_repository::{ModelAddress, checkpoint_hash};

use crate::evaluate::checkpoint::CheckpointTagger;
use crate::train::teacher::error::TeacherError;

/// The files of a teacher.
pub(super) struct TeacherModel {
    /// The teacher, as it was named.
    pub(super) name: String,
    /// A hash of everything that decides its logits.
    pub(super) hash: String,
    files: TeacherFiles,
}

enum TeacherFiles {
    Checkpoint(PathBuf),
    Graph(Box<Model>),
}

impl TeacherModel {
    /// Finds the files at an address; a model of the hub is fetched.
    pub(super) fn find(address: &ModelAddress) -> Result<Self, TeacherError> {
        let name = address.to_string();
        let failed = |source| TeacherError::Find {
            teacher: name.clone(),
            source: Box::new(source),
        };
        let request = ModelRequest {
            address: address.clone(),
            onnx_file: None,
            splitter: None,
            options: CheckpointOptions::default(),
        };
        let (files, hash) = match request.find().map_err(failed)? {
            FoundModel::Store(url) => {
                let url = url.to_string();
                return Err(failed(PrepareError::ObjectStore { url }));
            }
            FoundModel::Checkpoint(_) => {
                let dir = checkpoint_dir(address).map_err(failed)?.path;
                let hash = checkpoint_hash(&dir, &BTreeMap::new());
                let hash = hash.map_err(|source| TeacherError::Checkpoint {
                    teacher: name.clone(),
                    source: Box::new(source),
                })?;
                (TeacherFiles::Checkpoint(dir), hash)
            }
            FoundModel::Ready(ready) => {
                let model = Model::open(&ready.path).map_err(|source| TeacherError::Model {
                    teacher: name.clone(),
                    source: Box::new(source),
                })?;
                let hash = model.info().version.clone();
                (TeacherFiles::Graph(Box::new(model)), hash)
            }
        };
        Ok(Self { name, hash, files })
    }

    /// The tagger: a checkpoint runs on candle, a bundle or an export on ONNX Runtime.
    pub(super) fn open(&self, device: &Device, threads: usize) -> Result<Box<dyn Tagger>, TeacherError> {
        let teacher = || self.name.clone();
        match &self.files {
            TeacherFiles::Checkpoint(dir) => {
                let tagger = CheckpointTagger::open_on(dir, None, threads, device.clone());
                let tagger = tagger.map_err(|source| TeacherError::Tagger {
                    teacher: teacher(),
                    source: Box::new(source),
                })?;
                Ok(Box::new(tagger))
            }
            TeacherFiles::Graph(model) => {
                let options = SessionOptions {
                    intra_threads: threads,
                    ..SessionOptions::default()
                };
                let runtime = Runtime::load(None);
                let runtime = runtime.map_err(|source| TeacherError::Runtime(Box::new(source)))?;
                let tagger = model.tagger(&runtime, &options);
                let tagger = tagger.map_err(|source| TeacherError::Session {
                    teacher: teacher(),
                    source: Box::new(source),
                })?;
                Ok(Box::new(tagger))
            }
        }
    }
}
