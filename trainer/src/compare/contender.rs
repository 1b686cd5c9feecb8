//! What is compared: the models of a directory.

use std::fs;
use std::path::{Path, PathBuf};

use nerve_corpus::Corpus;
use nerve_inference::{OpenOptions, Tagger};

use crate::compare::error::CompareRunsError;
use crate::evaluate::checkpoint::CheckpointTagger;
use crate::evaluate::open_bundle;
use crate::train::corpora::corpora;
use crate::train::error::TrainError;
use crate::train::recorded::RecordedRun;

/// A model that is compared.
pub(super) enum Model {
    /// The best checkpoint of a run.
    Run(Box<RecordedRun>),
    /// A checkpoint that is in no run.
    Checkpoint(PathBuf),
    /// A bundle.
    Bundle(PathBuf),
}

impl Model {
    /// The tagger of the model, on the CPU.
    pub(super) fn tagger(&self, threads: usize) -> Result<Box<dyn Tagger>, CompareRunsError> {
        Ok(match self {
            Self::Run(run) => {
                if run.best().is_none() {
                    return Err(CompareRunsError::NotEvaluated {
                        path: run.config.out.clone(),
                    });
                }
                Box::new(run.best_tagger(threads)?)
            }
            Self::Checkpoint(dir) => Box::new(CheckpointTagger::open(dir, None, threads)?),
            Self::Bundle(dir) => Box::new(open_bundle(dir, &OpenOptions::default(), None, threads)?.0),
        })
    }

    pub(super) fn run(&self) -> Option<&RecordedRun> {
        match self {
            Self::Run(run) => Some(run),
            Self::Checkpoint(_) | Self::Bundle(_) => None,
        }
    }

    /// The sentences that the run of the model was evaluated on.
    pub(super) fn dev(&self) -> Result<Corpus, CompareRunsError> {
        match self {
            Self::Run(run) => {
                let splits = run.config.splits().map_err(TrainError::from)?;
                Ok(corpora(&run.config, &splits)?.1)
            }
            Self::Checkpoint(dir) | Self::Bundle(dir) => {
                Err(CompareRunsError::NeedsData { path: dir.clone() })
            }
        }
    }

    pub(super) fn dir(&self) -> &Path {
        match self {
            Self::Run(run) => &run.config.out,
            Self::Checkpoint(dir) | Self::Bundle(dir) => dir,
        }
    }
}

/// The models in a directory: that of a run, those of the runs of several seeds or folds in it, or the directory's own.
pub(super) fn models(path: &Path) -> Result<Vec<Model>, CompareRunsError> {
    let open =
        |dir: &Path| -> Result<Model, CompareRunsError> { Ok(Model::Run(Box::new(RecordedRun::open(dir)?))) };
    if RecordedRun::is_in(path) {
        return Ok(vec![open(path)?]);
    }
    if path.join("manifest.json").is_file() {
        return Ok(vec![Model::Bundle(path.to_owned())]);
    }
    if path.join("config.json").is_file() {
        return Ok(vec![Model::Checkpoint(path.to_owned())]);
    }
    let mut members: Vec<(String, u64, PathBuf)> = Vec::new();
    for entry in fs::read_dir(path).into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let member = name
            .split_once('-')
            .filter(|(kind, _)| ["seed", "fold"].contains(kind))
            .and_then(|(kind, number)| Some((kind.to_owned(), number.parse().ok()?)));
        if let Some((kind, number)) = member
            && RecordedRun::is_in(&entry.path())
        {
            members.push((kind, number, entry.path()));
        }
    }
    members.sort();
    match members.is_empty() {
        true => Err(CompareRunsError::NoRun {
            path: path.to_owned(),
        }),
        false => members.iter().map(|(_, _, dir)| open(dir)).collect(),
    }
}
