//! What can be wrong with options.

use std::path::PathBuf;

use thiserror::Error;

/// Why options make no training.
#[derive(Debug, Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The file is not TOML of the known keys.
    #[error("{}: {source}", path.display())]
    Parse {
        /// The file.
        path: PathBuf,
        /// The line and the key.
        source: toml::de::Error,
    },
    /// An option without a default is absent.
    #[error("`{0}` is missing")]
    Missing(&'static str),
    /// An option's value is out of range.
    #[error("`{option}` is {value}; it must be {range}")]
    Range {
        /// The option.
        option: &'static str,
        /// Its value.
        value: String,
        /// What it may be.
        range: &'static str,
    },
    /// An option would be without effect.
    #[error("`{option}` is without effect unless {when}")]
    NoEffect {
        /// The option.
        option: &'static str,
        /// What would give it one.
        when: &'static str,
    },
    /// A pattern is no regular expression.
    #[error("`freeze`: {0}")]
    Pattern(Box<regex::Error>),
    /// Seeds are one seed each.
    #[error("`seeds` has {0} twice")]
    SameSeed(u64),
    /// There are no seeds to train from.
    #[error("`seeds` is empty")]
    NoSeeds,
    /// A training has one seed or several.
    #[error("`seed` and `seeds` exclude one another")]
    SeedAndSeeds,
    /// Several seeds are several trainings.
    #[error("`seeds` makes several trainings, where one is expected")]
    Seeds,
    /// A count is out of range.
    #[error("`{option}` is {value}; it must be from 1 to {most}")]
    Count {
        /// The option.
        option: &'static str,
        /// Its value.
        value: usize,
        /// The greatest it may be.
        most: usize,
    },
}

/// An error unless an option's value holds.
pub(super) fn check(
    option: &'static str,
    value: &impl ToString,
    holds: bool,
    range: &'static str,
) -> Result<(), ConfigError> {
    if holds {
        return Ok(());
    }
    Err(ConfigError::Range {
        option,
        value: value.to_string(),
        range,
    })
}

/// An error unless an option's value is from 1 to `most`.
pub(super) fn check_count(option: &'static str, value: usize, most: usize) -> Result<(), ConfigError> {
    match value {
        0 => Err(ConfigError::Count { option, value, most }),
        _ if value > most => Err(ConfigError::Count { option, value, most }),
        _ => Ok(()),
    }
}

/// An error where one of the options is given.
pub(super) fn check_absent(given: &[(&'static str, bool)], when: &'static str) -> Result<(), ConfigError> {
    match given.iter().find(|(_, given)| *given) {
        Some((option, _)) => Err(ConfigError::NoEffect { option, when }),
        None => Ok(()),
    }
}
