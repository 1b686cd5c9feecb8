//! Why there is nothing to train on.

use std::path::PathBuf;

use nerve_corpus::CorpusError;
use nerve_repository::hub::HubError;
use thiserror::Error;

/// Why the corpus of a training cannot be opened.
#[derive(Debug, Error)]
pub enum DataError {
    /// Its files cannot be found.
    #[error(transparent)]
    Corpus(#[from] CorpusError),
    /// It is no directory, and cannot be fetched from the hub.
    #[error("`{data}` is no directory, and as a data set of the hub: {source}")]
    Hub {
        /// The name.
        data: String,
        /// Why it cannot be fetched.
        source: Box<HubError>,
    },
    /// A dev split is to be drawn, but there is one.
    #[error("`{option}` has no effect, because the corpus has a dev split, {}; remove it", file.display())]
    HasDev {
        /// The option.
        option: &'static str,
        /// The first file of the dev split.
        file: PathBuf,
    },
}
