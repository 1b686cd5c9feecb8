//! The settings of a study that are not in its file.

use std::path::PathBuf;

use nerve_corpus::{CorpusError, Splits, WNUT17_URL};

use crate::scale::Scale;

/// The settings of a study that are not in its file.
#[derive(Clone, Debug)]
pub struct StudySettings {
    /// A directory with the splits, or `wnut17`.
    pub data: String,
    /// The output directory.
    pub out: PathBuf,
    /// The pre-trained model. Models that start from random weights use its tokenizer.
    pub base: String,
    /// Factor for widths and depths.
    pub scale: Scale,
    /// Threads; as many as the machine offers if absent.
    pub threads: Option<usize>,
    /// Ids of the variants to train; all if empty.
    pub only: Vec<String>,
    /// Names of the starts to train from; all if empty.
    pub starts: Vec<String>,
    /// URL from which `wnut17` is downloaded; the authors' repository if absent.
    pub wnut17_url: Option<String>,
}

impl StudySettings {
    /// The files of the corpus; downloads `wnut17` where the cache lacks it.
    pub(crate) fn splits(&self) -> Result<Splits, CorpusError> {
        Splits::find(&self.data, self.wnut17_url.as_deref().unwrap_or(WNUT17_URL))
    }
}
