//! What a study is run with.

use std::path::PathBuf;

use nerve_trainer::corpus::{CorpusError, Splits, WNUT17_URL};

use crate::scale::Scale;

/// What a study needs to know beside its file.
#[derive(Clone, Debug)]
pub struct StudySettings {
    /// A directory with the splits, or `wnut17`.
    pub data: String,
    /// Where everything is written.
    pub out: PathBuf,
    /// The pre-trained model, whose tokenizer fresh ones use too.
    pub base: String,
    /// What widths and depths are multiplied by.
    pub scale: Scale,
    /// Threads; as many as the machine offers where absent.
    pub threads: Option<usize>,
    /// Variants to run, by id; all where empty.
    pub only: Vec<String>,
    /// Where `wnut17` is downloaded from; the authors' repository where absent.
    pub wnut17_url: Option<String>,
}

impl StudySettings {
    /// The files of the corpus; downloads `wnut17` where the cache lacks it.
    pub(crate) fn splits(&self) -> Result<Splits, CorpusError> {
        Splits::find(&self.data, self.wnut17_url.as_deref().unwrap_or(WNUT17_URL))
    }
}
