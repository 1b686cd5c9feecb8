//! What can stop a sweep.

use std::path::PathBuf;

use thiserror::Error;

use crate::report::error::ReportError;
use crate::train::config::error::OptionError;
use crate::train::error::TrainError;

/// Why a sweep cannot begin or go on.
#[derive(Debug, Error)]
pub enum SweepError {
    /// The file cannot be read.
    #[error("cannot read {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: std::io::Error,
    },
    /// The file is not TOML with the tables of a sweep.
    #[error("{}: {source}", path.display())]
    Parse {
        /// The file.
        path: PathBuf,
        /// The line and the key.
        source: Box<toml::de::Error>,
    },
    /// The file says in no way which values are tried, or in two.
    #[error("{}: give either the table [grid] or the table [random]", path.display())]
    NoSearch {
        /// The file.
        path: PathBuf,
    },
    /// `train` has no such option.
    #[error("{}: `train` has no option `{option}`; `nerve-trainer train --help` lists them, with underscores here", path.display())]
    UnknownOption {
        /// The file.
        path: PathBuf,
        /// The name.
        option: String,
    },
    /// The sweep itself decides an option.
    #[error("{}: `{option}` cannot be set here: {reason}", path.display())]
    Reserved {
        /// The file.
        path: PathBuf,
        /// The option.
        option: String,
        /// Why.
        reason: &'static str,
    },
    /// A value is of the wrong type, or is none of the option's values.
    #[error("{}: `{option}` cannot be {value}: {reason}", path.display())]
    Value {
        /// The file.
        path: PathBuf,
        /// The option.
        option: String,
        /// The value.
        value: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The values to try are no list and no range.
    #[error("{}: `{option}`: {problem}", path.display())]
    Values {
        /// The file.
        path: PathBuf,
        /// The option.
        option: String,
        /// What is wrong with them.
        problem: &'static str,
    },
    /// The options of a combination do not go together.
    #[error("{}: {name}: {source}", path.display())]
    Combination {
        /// The file.
        path: PathBuf,
        /// The name of the combination.
        name: String,
        /// Why.
        source: Box<OptionError>,
    },
    /// The directory holds a sweep with other fixed options.
    #[error(
        "the sweep in {} was started with other [options]: `{option}` {recorded}, not {given}; \
         restore it, or choose another directory with --out",
        dir.display()
    )]
    OtherOptions {
        /// The directory.
        dir: PathBuf,
        /// The option.
        option: String,
        /// Its value when the sweep was started.
        recorded: String,
        /// Its value now.
        given: String,
    },
    /// A run failed in a way that is no result of its options.
    #[error("{run}: {source}")]
    Run {
        /// The directory of the run, in that of the sweep.
        run: String,
        /// Why.
        source: Box<TrainError>,
    },
    /// A file of the sweep cannot be read or written.
    #[error(transparent)]
    File(Box<TrainError>),
    /// The report cannot be written.
    #[error(transparent)]
    Report(#[from] ReportError),
}

impl From<TrainError> for SweepError {
    fn from(error: TrainError) -> Self {
        Self::File(Box::new(error))
    }
}
