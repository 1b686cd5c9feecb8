//! The files of a run.
//!
//! `config.toml`, `steps.jsonl`, `records.jsonl`, `timings.jsonl`, `checkpoints/step-N/`, `checkpoints/step-N-average/` with
//! the average of the weights, and the links `last` and `best` to two of these checkpoints. A resumed run continues from
//! `last`: lines written after that checkpoint are cut off, so that a process may be killed between any two writes.

use std::fs::{self, File};
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

use nerve_repository::UNFINISHED;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::train::config::TrainConfig;
use crate::train::error::TrainError;
use crate::train::files::{append_at_once, cut, failed, line, read_lines, replace, sync_all, sync_parent};
use crate::train::lock::RunLock;
use crate::train::notice::Notice;
use crate::train::options::TrainOptions;
use crate::train::record::{EvaluationRecord, StepRecord, Tested, TestedCheckpoint, Timing, best_of};
use crate::train::state;
use crate::train::state::TrainingState;
use nerve_corpus::Corpus;

const CHECKPOINTS: &str = "checkpoints";
const LAST: &str = "last";
const BEST: &str = "best";
const STEPS: &str = "steps.jsonl";
const RECORDS: &str = "records.jsonl";
const TIMINGS: &str = "timings.jsonl";
const CONFIG: &str = "config.toml";
const TEST: &str = "test.json";
const NOTICES: &str = "notices.json";
const REPORTED: &str = "reported.json";
const DEV: &str = "dev.jsonl";

/// The end of a run that its reports are of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Reported {
    /// Steps made.
    pub(super) steps: usize,
    /// Steps made before the best checkpoint.
    pub(super) best: usize,
    /// Steps made before the checkpoint that was tested, where one was.
    pub(super) tested: Option<usize>,
}

/// The directory of a run.
#[derive(Clone, Debug)]
pub(super) struct RunDir {
    dir: PathBuf,
}

impl RunDir {
    pub(super) fn new(dir: &Path) -> Self {
        Self { dir: dir.to_owned() }
    }

    /// Whether the directory holds a run.
    pub(super) fn holds_run(&self) -> bool {
        // Written last: without it no step was made.
        self.path(STEPS).exists()
    }

    /// An error unless the directory holds a run.
    fn check_holds_run(&self) -> Result<(), TrainError> {
        match self.holds_run() {
            true => Ok(()),
            false => Err(TrainError::NoRun {
                dir: self.dir.clone(),
            }),
        }
    }

    /// An error where the directory holds a run.
    pub(super) fn check_free(&self) -> Result<(), TrainError> {
        match self.holds_run() {
            true => Err(TrainError::HoldsRun {
                dir: self.dir.clone(),
            }),
            false => Ok(()),
        }
    }

    /// Locks the directory of a run; an error where it holds none.
    pub(super) fn lock(&self) -> Result<RunLock, TrainError> {
        self.check_holds_run()?;
        RunLock::acquire(&self.dir)
    }

    /// The configuration that the run was started with; an error where there is none.
    pub(super) fn config(&self) -> Result<TrainConfig, TrainError> {
        self.check_holds_run()?;
        // A run's directory may be moved, and an older version knew fewer options, which have their defaults then.
        Ok(TrainConfig::new(TrainOptions {
            out: Some(self.dir.clone()),
            ..TrainOptions::read(&self.path(CONFIG))?
        })?)
    }

    /// Makes the directory of a new run, and locks it; an error where it holds a run already.
    pub(super) fn create(&self, options: &TrainOptions) -> Result<RunLock, TrainError> {
        fs::create_dir_all(&self.dir).map_err(failed(&self.dir))?;
        let lock = RunLock::acquire(&self.dir)?;
        self.check_free()?;
        let checkpoints = self.path(CHECKPOINTS);
        fs::create_dir_all(&checkpoints).map_err(failed(&checkpoints))?;
        for product in [TEST, REPORTED, DEV] {
            let path = self.path(product);
            match fs::remove_file(&path) {
                Err(error) if error.kind() != ErrorKind::NotFound => return Err(failed(&path)(error)),
                _ => {}
            }
        }
        self.write_options(options)?;
        replace(&self.path(RECORDS), b"")?;
        replace(&self.path(TIMINGS), b"")?;
        replace(&self.path(STEPS), b"")?;
        Ok(lock)
    }

    /// The state that the last checkpoint holds, where there is one; the files of the run are cut back to it.
    pub(super) fn resume(&self) -> Result<Option<TrainingState>, TrainError> {
        self.remove_unfinished()?;
        let state = match self.has_last()? {
            true => Some(TrainingState::read(&self.last())?),
            false => None,
        };
        let (steps, records) = state.as_ref().map_or((0, 0), |state| (state.step, state.records));
        cut(&self.path(STEPS), steps)?;
        cut(&self.path(RECORDS), records)?;
        cut(&self.path(TIMINGS), records)?;
        let best = best_of(&self.records()?).map(|best| self.evaluated(best));
        if let Some(best) = &best {
            link(&self.path(BEST), best)?;
        }
        // A process that was killed may not have removed the earlier ones.
        if steps > 0 {
            self.keep_checkpoints(&self.checkpoint(steps), best.as_deref())?;
        }
        Ok(state)
    }

    /// Whether there is a last checkpoint; an error where the link to it leads nowhere, for its steps are not to be undone.
    pub(super) fn has_last(&self) -> Result<bool, TrainError> {
        let link = self.path(LAST);
        match fs::symlink_metadata(&link) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(false),
            Err(source) => return Err(TrainError::Read { path: link, source }),
            Ok(_) => {}
        }
        match link.exists() {
            true => Ok(true),
            false => Err(TrainError::LostCheckpoint {
                target: fs::read_link(&link).unwrap_or_else(|_| link.clone()),
                link,
            }),
        }
    }

    /// Removes what a killed process was writing.
    fn remove_unfinished(&self) -> Result<(), TrainError> {
        for entry in fs::read_dir(&self.dir).map_err(failed(&self.dir))? {
            let entry = entry.map_err(failed(&self.dir))?;
            if entry.file_name().to_string_lossy().starts_with(UNFINISHED) {
                fs::remove_file(entry.path()).map_err(failed(&entry.path()))?;
            }
        }
        Ok(())
    }

    /// The checkpoint with the best score.
    pub(super) fn best(&self) -> PathBuf {
        self.path(BEST)
    }

    /// The last checkpoint.
    pub(super) fn last(&self) -> PathBuf {
        self.path(LAST)
    }

    /// Where the checkpoint after so many steps belongs.
    pub(super) fn checkpoint(&self, step: usize) -> PathBuf {
        self.path(CHECKPOINTS).join(format!("step-{step:06}"))
    }

    /// Where the average of the weights after so many steps belongs.
    pub(super) fn average(&self, step: usize) -> PathBuf {
        self.path(CHECKPOINTS).join(format!("step-{step:06}-average"))
    }

    /// Where the checkpoint with the weights of an evaluation belongs.
    fn evaluated(&self, record: &EvaluationRecord) -> PathBuf {
        match record.averaged {
            true => self.average(record.step),
            false => self.checkpoint(record.step),
        }
    }

    pub(super) fn steps(&self) -> Result<Vec<StepRecord>, TrainError> {
        read_lines(&self.path(STEPS))
    }

    pub(super) fn records(&self) -> Result<Vec<EvaluationRecord>, TrainError> {
        read_lines(&self.path(RECORDS))
    }

    pub(super) fn timings(&self) -> Result<Vec<Timing>, TrainError> {
        read_lines(&self.path(TIMINGS))
    }

    pub(super) fn add_step(&self, record: &StepRecord) -> Result<(), TrainError> {
        let path = self.path(STEPS);
        let write = || {
            let line = line(record)?;
            File::options().append(true).open(&path)?.write_all(&line)
        };
        write().map_err(failed(&path))
    }

    pub(super) fn add_record(&self, record: &EvaluationRecord, timing: &Timing) -> Result<(), TrainError> {
        append_at_once(&self.path(TIMINGS), timing)?;
        append_at_once(&self.path(RECORDS), record)
    }

    /// Makes the checkpoint of a step, once it is on the disk, the last one, and that of the best evaluation the best one;
    /// others are removed.
    pub(super) fn commit(&self, step: usize, best: Option<&EvaluationRecord>) -> Result<(), TrainError> {
        let last = self.checkpoint(step);
        sync_all(&last)?;
        if let Some(best) = best.filter(|best| best.averaged) {
            sync_all(&self.evaluated(best))?;
        }
        link(&self.path(LAST), &last)?;
        let best = best.map(|best| self.evaluated(best));
        if let Some(best) = &best {
            link(&self.path(BEST), best)?;
        }
        self.keep_checkpoints(&last, best.as_deref())
    }

    /// Removes all checkpoints but these, and the state of the best one.
    fn keep_checkpoints(&self, last: &Path, best: Option<&Path>) -> Result<(), TrainError> {
        let checkpoints = self.path(CHECKPOINTS);
        for entry in fs::read_dir(&checkpoints).map_err(failed(&checkpoints))? {
            let path = entry.map_err(failed(&checkpoints))?.path();
            if path == last {
                continue;
            }
            if Some(path.as_path()) == best {
                state::forget(&path)?;
            } else {
                fs::remove_dir_all(&path).map_err(failed(&path))?;
            }
        }
        Ok(())
    }

    /// What `test.json` says of a checkpoint; `None` where it says nothing, or of another.
    pub(super) fn tested(&self, checkpoint: TestedCheckpoint, step: usize) -> Option<Tested> {
        let found: Tested = self.read_json(TEST)?;
        (found.checkpoint == checkpoint && found.step == step).then_some(found)
    }

    pub(super) fn write_tested(&self, tested: &Tested) -> Result<(), TrainError> {
        self.write_json(TEST, tested)
    }

    /// Whether the reports are those of this end.
    pub(super) fn has_reported(&self, reported: &Reported) -> bool {
        let pages = [self.path("report.html"), self.best().join("README.md")];
        self.read_json(REPORTED).as_ref() == Some(reported) && pages.iter().all(|page| page.is_file())
    }

    /// Keeps what the reports are of; written after them.
    pub(super) fn write_reported(&self, reported: &Reported) -> Result<(), TrainError> {
        self.write_json(REPORTED, reported)
    }

    pub(super) fn write_options(&self, options: &TrainOptions) -> Result<(), TrainError> {
        let path = self.path(CONFIG);
        let text = toml::to_string(options).map_err(std::io::Error::other);
        replace(&path, text.map_err(failed(&path))?.as_bytes())
    }

    /// What the user was told when the run began; nothing where an older version began it.
    pub(super) fn notices(&self) -> Vec<Notice> {
        self.read_json(NOTICES).unwrap_or_default()
    }

    pub(super) fn write_notices(&self, notices: &[Notice]) -> Result<(), TrainError> {
        self.write_json(NOTICES, &notices)
    }

    /// The dev split that was drawn from the training sentences, as JSON lines.
    pub(super) fn dev(&self) -> PathBuf {
        self.path(DEV)
    }

    /// Writes the drawn dev split of a new run; an error if the run has another.
    pub(super) fn keep_dev(&self, dev: &Corpus) -> Result<(), TrainError> {
        let path = self.dev();
        let mut text = Vec::new();
        for sentence in &dev.sentences {
            let row = serde_json::json!({"words": sentence.words, "tags": sentence.tags});
            text.extend(line(&row).map_err(failed(&path))?);
        }
        match fs::read(&path) {
            Ok(found) if found == text => Ok(()),
            Ok(_) => Err(TrainError::OtherDev { path }),
            Err(error) if error.kind() == ErrorKind::NotFound => replace(&path, &text),
            Err(source) => Err(TrainError::Read { path, source }),
        }
    }

    /// What a file of the run says; `None` where it is not there, or is of another version.
    fn read_json<T: DeserializeOwned>(&self, name: &str) -> Option<T> {
        serde_json::from_slice(&fs::read(self.path(name)).ok()?).ok()
    }

    /// Writes figures as JSON to a file of the run, all at once.
    pub(super) fn write_json(&self, name: &str, figures: &impl Serialize) -> Result<(), TrainError> {
        let path = self.path(name);
        let text = serde_json::to_vec_pretty(figures).map_err(std::io::Error::from);
        replace(&path, &text.map_err(failed(&path))?)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }
}

/// Makes `path` a link to a checkpoint, which is there from one moment to the next.
fn link(path: &Path, checkpoint: &Path) -> Result<(), TrainError> {
    let name = checkpoint.file_name().unwrap_or_default();
    let made = path.with_extension("link");
    match fs::remove_file(&made) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(failed(&made)(error)),
        _ => {}
    }
    std::os::unix::fs::symlink(Path::new(CHECKPOINTS).join(name), &made).map_err(failed(&made))?;
    fs::rename(&made, path).map_err(failed(path))?;
    sync_parent(path)
}
