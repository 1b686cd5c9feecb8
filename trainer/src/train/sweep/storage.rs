//! The files of a sweep: `sweep.toml`, and `outcome.json` and the checkpoints of each run.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use toml::Table;

use crate::train::error::TrainError;
use crate::train::files::{failed, replace};
use crate::train::options::TrainOptions;
use crate::train::state;
use crate::train::sweep::error::SweepError;
use crate::train::sweep::file::{Checkpoints, Sweep};
use crate::train::sweep::outcome::RunOutcome;

const FILE: &str = "sweep.toml";
const OUTCOME: &str = "outcome.json";
/// The options that may change between two starts of a sweep: they say where it runs, not what it finds.
const MACHINE_OPTIONS: [&str; 3] = ["threads", "device", "wnut17_url"];

/// Keeps the file of a sweep in its directory; an error if the directory holds a sweep with other fixed options.
///
/// Combinations, seeds and runs may have been added or removed: each has a directory of its own.
pub(super) fn keep_file(sweep: &Sweep, out: &Path) -> Result<(), SweepError> {
    let path = out.join(FILE);
    match fs::read_to_string(&path) {
        Err(error) if error.kind() == ErrorKind::NotFound => {}
        Err(source) => return Err(TrainError::Read { path, source }.into()),
        Ok(text) => {
            let recorded = Sweep::fixed_options(&text).unwrap_or_default();
            if let Some(option) = first_difference(&recorded, &sweep.fixed) {
                let shown = |of: &Table| {
                    of.get(option)
                        .map_or_else(|| "not set".to_owned(), ToString::to_string)
                };
                return Err(SweepError::OtherOptions {
                    dir: out.to_owned(),
                    option: option.to_owned(),
                    recorded: shown(&recorded),
                    given: shown(&sweep.fixed),
                });
            }
        }
    }
    Ok(replace(&path, sweep.text.as_bytes())?)
}

fn first_difference<'t>(recorded: &'t Table, given: &'t Table) -> Option<&'t str> {
    recorded
        .keys()
        .chain(given.keys())
        .map(String::as_str)
        .find(|&option| !MACHINE_OPTIONS.contains(&option) && recorded.get(option) != given.get(option))
}

/// The options that decide the outcome of a run: all but its directory and those in [`MACHINE_OPTIONS`].
pub(super) fn deciding_options(options: &TrainOptions) -> TrainOptions {
    TrainOptions {
        out: None,
        threads: None,
        device: None,
        wnut17_url: None,
        ..options.clone()
    }
}

/// The outcome of a run in a directory; `None` if it has none, or one of other options.
pub(super) fn read_outcome(dir: &Path, options: &TrainOptions) -> Option<RunOutcome> {
    let outcome: RunOutcome = serde_json::from_slice(&fs::read(dir.join(OUTCOME)).ok()?).ok()?;
    (outcome.options == deciding_options(options)).then_some(outcome)
}

/// Writes the outcome of a run to its directory.
pub(super) fn write_outcome(dir: &Path, outcome: &RunOutcome) -> Result<(), TrainError> {
    write_json(&dir.join(OUTCOME), outcome)
}

/// Writes figures as JSON, all at once.
pub(super) fn write_json(path: &Path, figures: &impl serde::Serialize) -> Result<(), TrainError> {
    let text = serde_json::to_vec_pretty(figures).map_err(std::io::Error::from);
    replace(path, &text.map_err(failed(path))?)
}

/// Removes the checkpoints of a finished run that are not to be kept.
///
/// The link `last` stays, and leads nowhere: the run is refused when it is resumed, instead of beginning anew.
pub(super) fn remove_checkpoints(dir: &Path, kept: Checkpoints) -> Result<(), TrainError> {
    if kept == Checkpoints::All {
        return Ok(());
    }
    let checkpoints = dir.join("checkpoints");
    let best = match kept {
        Checkpoints::Best => fs::canonicalize(dir.join("best")).ok(),
        Checkpoints::All | Checkpoints::None => None,
    };
    let entries = match fs::read_dir(&checkpoints) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        entries => entries.map_err(failed(&checkpoints))?,
    };
    for entry in entries {
        let path: PathBuf = entry.map_err(failed(&checkpoints))?.path();
        match best.is_some() && fs::canonicalize(&path).ok() == best {
            true => state::forget(&path)?,
            false => fs::remove_dir_all(&path).map_err(failed(&path))?,
        }
    }
    Ok(())
}
