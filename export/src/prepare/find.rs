//! The files of a model that an address names, fetched from the hub if need be.

use std::path::{Path, PathBuf};

use nerve_repository::{HubSource, ModelAddress, ModelKind, StoreAddress, onnx_files};
use nerve_tagging::Splitter;
use tracing::info;
use url::Url;

use crate::prepare::check_config::check_config;
use crate::prepare::error::PrepareError;
use crate::prepare::hub::{fetch_checkpoint, fetch_graph};
use crate::prepare::options::CheckpointOptions;

/// A model as a command line names it.
#[derive(Clone, Debug)]
pub struct ModelRequest {
    /// Where the model is.
    pub address: ModelAddress,
    /// The ONNX file to open instead of a checkpoint.
    pub onnx_file: Option<PathBuf>,
    /// How running text is split into words.
    pub splitter: Option<Splitter>,
    /// How a checkpoint is exported.
    pub options: CheckpointOptions,
}

/// The files of a model on disk.
#[derive(Clone, Debug)]
pub enum FoundModel {
    /// A bundle, a store or a plain export, which is opened as it is.
    Ready(ReadyModel),
    /// A checkpoint, which is exported first.
    Checkpoint(FoundCheckpoint),
    /// A store on object storage, whose versions are downloaded when they are opened.
    Store(Url),
}

/// A bundle, a store or a plain export.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReadyModel {
    /// Its directory.
    pub path: PathBuf,
    /// The model of the hub whose files these are.
    pub source: Option<HubSource>,
}

/// A checkpoint of a supported token classifier, and how it is exported.
#[derive(Clone, Debug)]
pub struct FoundCheckpoint {
    /// Its directory.
    pub(crate) dir: PathBuf,
    /// The name of the exported model.
    pub(crate) name: String,
    /// The model of the hub whose files these are.
    pub(crate) source: Option<HubSource>,
    pub(crate) options: CheckpointOptions,
    pub(crate) splitter: Splitter,
    /// The hash of the calibration file.
    pub(crate) calibration_hash: Option<String>,
}

impl ModelRequest {
    /// Finds the model's files. A model of the hub is refused by its configuration before its weights are fetched.
    pub fn find(&self) -> Result<FoundModel, PrepareError> {
        let onnx_file = self.onnx_file.as_deref();
        match &self.address {
            ModelAddress::Local(path) => match ModelKind::of(path, onnx_file) {
                ModelKind::Checkpoint => {
                    check_config(path).map_err(|error| error.or_graph(&onnx_files(path)))?;
                    self.checkpoint(path, path, None)
                }
                ModelKind::Bundle => self.ready(path, "a bundle or a model store"),
                ModelKind::PlainExport => self.ready(path, "an ONNX export"),
            },
            ModelAddress::Hub(model) => match onnx_file {
                Some(file) => {
                    self.refuse_options("taken as its ONNX file")?;
                    let (path, source) = fetch_graph(model, file)?;
                    info!(model = %source.id, commit = %source.commit, onnx_file = %file.display(), "taking the ONNX file of the hub, not the checkpoint");
                    Ok(FoundModel::Ready(ReadyModel {
                        path,
                        source: Some(source),
                    }))
                }
                None => {
                    // Mistakes in the options are found before the download.
                    self.options.calibration_hash()?;
                    let (dir, source) = fetch_checkpoint(model)?;
                    self.checkpoint(&dir, Path::new(&source.id), Some(&source))
                }
            },
            ModelAddress::ObjectStore(url) => match StoreAddress::of_url(url.clone()) {
                StoreAddress::Local(path) => self.ready(&path, "a model store"),
                StoreAddress::Remote(url) => {
                    self.refuse_options("a model store")?;
                    Ok(FoundModel::Store(url))
                }
            },
        }
    }

    /// The model at a path, which is opened as it is.
    fn ready(&self, path: &Path, kind: &'static str) -> Result<FoundModel, PrepareError> {
        // A path that leads nowhere is an error when it is opened.
        if path.exists() {
            self.refuse_options(kind)?;
        }
        Ok(FoundModel::Ready(ReadyModel {
            path: path.to_owned(),
            source: None,
        }))
    }

    fn refuse_options(&self, kind: &'static str) -> Result<(), PrepareError> {
        match self.options.given() {
            None => Ok(()),
            Some(option) => Err(PrepareError::NotCheckpoint {
                option,
                model: self.address.to_string(),
                kind,
            }),
        }
    }

    /// The checkpoint in a directory, called by the last part of `named`.
    fn checkpoint(
        &self,
        dir: &Path,
        named: &Path,
        source: Option<&HubSource>,
    ) -> Result<FoundModel, PrepareError> {
        // `.` and `..` have no name of their own.
        let full = named.canonicalize().unwrap_or_default();
        let name = named.file_name().or(full.file_name());
        Ok(FoundModel::Checkpoint(FoundCheckpoint {
            dir: dir.to_owned(),
            name: name.unwrap_or(named.as_os_str()).to_string_lossy().into_owned(),
            source: source.cloned(),
            calibration_hash: self.options.calibration_hash()?,
            options: self.options.clone(),
            splitter: self.splitter.unwrap_or(Splitter::Corpus),
        }))
    }
}

/// The directory of a checkpoint, fetched if it is a model of the hub.
pub fn checkpoint_dir(address: &ModelAddress) -> Result<ReadyModel, PrepareError> {
    match address {
        ModelAddress::Local(path) => Ok(ReadyModel {
            path: path.clone(),
            source: None,
        }),
        ModelAddress::Hub(model) => {
            let (path, source) = fetch_checkpoint(model)?;
            Ok(ReadyModel {
                path,
                source: Some(source),
            })
        }
        ModelAddress::ObjectStore(url) => Err(PrepareError::ObjectStore { url: url.to_string() }),
    }
}
