//! A run as its directory holds it.

use std::path::Path;

use crate::evaluate::checkpoint::CheckpointTagger;
use crate::train::config::TrainConfig;
use crate::train::error::TrainError;
use crate::train::record::{EvaluationRecord, Timing, best_of};
use crate::train::run_dir::RunDir;

/// The configuration and the records of a run, finished or not.
#[derive(Clone, Debug)]
pub(crate) struct RecordedRun {
    /// The configuration, whose `out` is the directory that was read.
    pub(crate) config: TrainConfig,
    /// All evaluations.
    pub(crate) records: Vec<EvaluationRecord>,
    /// The speed before each evaluation.
    pub(crate) timings: Vec<Timing>,
}

impl RecordedRun {
    /// The run in a directory; an error if it holds none.
    pub(crate) fn open(dir: &Path) -> Result<Self, TrainError> {
        let files = RunDir::new(dir);
        Ok(Self {
            config: files.config()?,
            records: files.records()?,
            timings: files.timings()?,
        })
    }

    /// Whether a directory holds a run.
    pub(crate) fn is_in(dir: &Path) -> bool {
        RunDir::new(dir).holds_run()
    }

    /// The record of the best evaluation.
    pub(crate) fn best(&self) -> Option<&EvaluationRecord> {
        best_of(&self.records)
    }

    /// The seconds of training, without evaluations and without writing files.
    pub(crate) fn seconds(&self) -> f64 {
        self.timings.iter().map(|timing| timing.seconds).sum()
    }

    /// The tagger of the best checkpoint, on the CPU.
    pub(crate) fn best_tagger(&self, threads: usize) -> Result<CheckpointTagger, TrainError> {
        let best = RunDir::new(&self.config.out).best();
        Ok(CheckpointTagger::open(&best, self.config.max_length, threads)?)
    }
}
