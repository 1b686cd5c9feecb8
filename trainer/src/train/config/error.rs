//! Errors in the options of a training run.

use std::path::PathBuf;

use thiserror::Error;

use crate::ops::precision::PrecisionError;

/// Why options are not a valid configuration.
#[derive(Debug, Error)]
pub enum OptionError {
    /// The file cannot be read.
    #[error("cannot read {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: std::io::Error,
    },
    /// The file is not TOML with known keys.
    #[error("{}: {source}", path.display())]
    Parse {
        /// The file.
        path: PathBuf,
        /// The line and the key.
        source: toml::de::Error,
    },
    /// An option without a default is absent.
    #[error("`{0}` is missing; give it")]
    Missing(&'static str),
    /// An option that names files is an empty list.
    #[error("`{0}` names no file; remove it, or name one")]
    NoFiles(&'static str),
    /// An option has no default for the value of another.
    #[error("`{option}` must be given where {when}")]
    Needed {
        /// The option.
        option: &'static str,
        /// The value of the other.
        when: &'static str,
    },
    /// An option's value is out of range.
    #[error("`{option}` is {value}; it must be {range}")]
    Range {
        /// The option.
        option: &'static str,
        /// Its value.
        value: String,
        /// Its allowed values.
        range: &'static str,
    },
    /// An option would have no effect.
    #[error("`{option}` has no effect unless {when}; remove it")]
    NoEffect {
        /// The option.
        option: &'static str,
        /// The condition under which it has one.
        when: &'static str,
    },
    /// Two options exclude each other.
    #[error("`{}` and `{}` cannot be given together: {reason}; remove one of them", options[0], options[1])]
    Conflict {
        /// The options.
        options: [&'static str; 2],
        /// Why.
        reason: &'static str,
    },
    /// The name of a teacher names no model.
    #[error("`teacher`: {0}")]
    Teacher(nerve_repository::AddressError),
    /// The names of numbered tags, or the map of entity types, are unusable.
    #[error(transparent)]
    Labels(#[from] nerve_corpus::CorpusError),
    /// The device does not have the precision.
    #[error("`precision`: {0}")]
    Precision(#[from] PrecisionError),
    /// A pattern is not a regular expression.
    #[error("`freeze`: {0}")]
    Pattern(Box<regex::Error>),
    /// A seed is given twice.
    #[error("`seeds` has {0} twice")]
    SameSeed(u64),
    /// The list of seeds is empty.
    #[error("`seeds` is empty; give at least one seed")]
    NoSeeds,
    /// Both one seed and several are given.
    #[error("`seed` and `seeds` are both given; remove one of them")]
    SeedAndSeeds,
    /// Several seeds are given where one run is expected.
    #[error("`seeds` makes several runs, but one run is expected; use `seed`")]
    Seeds,
    /// Folds make several runs where one is expected.
    #[error(
        "`folds` makes several runs, but one run is expected; add `fold`, the number of the one to train"
    )]
    Folds,
    /// Both folds and seeds are given.
    #[error(
        "`folds` and `seeds` are both given; remove one of them, or train the folds once for each `seed`"
    )]
    FoldsAndSeeds,
    /// A count is out of range.
    #[error("`{option}` is {value}; it must be from 1 to {most}")]
    Count {
        /// The option.
        option: &'static str,
        /// Its value.
        value: usize,
        /// Its largest value.
        most: usize,
    },
}
