//! Checks of the values of options, and their limits.

use crate::train::config::error::OptionError;

/// The largest number of threads.
pub const MOST_THREADS: usize = 1024;
/// The largest number of epochs.
pub(super) const MOST_EPOCHS: usize = 1 << 20;
/// The largest number of windows per batch and of batches per step.
pub(super) const MOST_WINDOWS: usize = 1 << 20;
/// The longest window. Position embeddings are learned, so longer windows need a larger table.
pub(super) const MOST_LENGTH: usize = 1 << 16;

/// An error unless the value of an option is allowed.
pub(super) fn check(
    option: &'static str,
    value: &impl ToString,
    holds: bool,
    range: &'static str,
) -> Result<(), OptionError> {
    if holds {
        return Ok(());
    }
    Err(OptionError::Range {
        option,
        value: value.to_string(),
        range,
    })
}

/// An error unless an option's value is from 1 to `most`.
pub(super) fn check_count(option: &'static str, value: usize, most: usize) -> Result<(), OptionError> {
    match value {
        0 => Err(OptionError::Count { option, value, most }),
        _ if value > most => Err(OptionError::Count { option, value, most }),
        _ => Ok(()),
    }
}

/// An error if one of the options is given.
pub(super) fn check_absent(given: &[(&'static str, bool)], when: &'static str) -> Result<(), OptionError> {
    match given.iter().find(|(_, given)| *given) {
        Some((option, _)) => Err(OptionError::NoEffect { option, when }),
        None => Ok(()),
    }
}
