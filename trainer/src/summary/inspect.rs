//! The summary of a corpus without a training.

use nerve_inference::TokenizerError;
use nerve_tagging::{WindowLimits, WindowLimitsError};
use serde::Serialize;
use thiserror::Error;

use crate::base::error::BaseError;
use crate::base::open::base_tokenizer;
use crate::data::error::DataError;
use crate::data::open::open_splits;
use crate::summary::corpus::CorpusSummary;
use crate::summary::notices::corpus_notices;
use crate::train::config::DEFAULT_MAX_LENGTH;
use crate::train::config::data::TrainingData;
use crate::train::notice::Notice;
use nerve_corpus::{Corpus, CorpusError, entity_types};

/// Why a corpus cannot be inspected.
#[derive(Debug, Error)]
pub enum InspectError {
    /// The corpus cannot be found.
    #[error(transparent)]
    Data(#[from] DataError),
    /// The corpus cannot be read.
    #[error(transparent)]
    Corpus(#[from] CorpusError),
    /// The tokenizer cannot be opened.
    #[error(transparent)]
    Base(#[from] BaseError),
    /// A sentence cannot be tokenized.
    #[error(transparent)]
    Tokenizer(#[from] TokenizerError),
    /// No window is that short.
    #[error("`max_length`: {0}")]
    MaxLength(#[from] WindowLimitsError),
}

/// What a corpus holds.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Inspection {
    /// Counts by split and type.
    #[serde(flatten)]
    pub summary: CorpusSummary,
    /// What a user should change, in a sentence each.
    pub warnings: Vec<String>,
    /// What a user should know, in a sentence each.
    pub notes: Vec<String>,
}

/// The counts of all splits of a corpus, those of tokens by the tokenizer of `base`, and what a user is told before a training.
pub fn inspect_corpus(
    data: &TrainingData,
    base: Option<&str>,
    max_length: Option<usize>,
) -> Result<Inspection, InspectError> {
    let splits = open_splits(data)?;
    let (train, dev) = splits.read_train_and_dev()?;
    let test = splits.read_test()?;
    let tokenizer = base.map(base_tokenizer).transpose()?;
    let max_length = max_length.unwrap_or(DEFAULT_MAX_LENGTH);
    if let Some(tokenizer) = &tokenizer {
        let (before, after) = tokenizer.specials();
        WindowLimits::for_encoder(max_length, before + after)?;
    }
    let mut named: Vec<(&str, &Corpus)> = vec![("train", &train), ("dev", &dev)];
    named.extend(test.as_ref().map(|test| ("test", test)));
    let summary = CorpusSummary::of(
        &named,
        tokenizer.as_ref().map(|tokenizer| (tokenizer, max_length)),
    )?;
    let trained = entity_types([&train]);
    let mut notices = Vec::new();
    for (_, corpus) in named.iter().skip(1) {
        let evaluated = entity_types([*corpus]);
        notices.extend(Notice::of_types(
            (&train.path, &trained),
            (&corpus.path, &evaluated),
        ));
    }
    notices.extend(named.iter().flat_map(|(_, corpus)| Notice::of_spans(corpus)));
    notices.extend(corpus_notices(&summary, &named));
    let drawn = splits.draw.map(|draw| {
        format!(
            "the corpus has no dev split: a training would draw {} of its {} training sentences for one (seed {})",
            dev.sentences.len(),
            train.sentences.len() + dev.sentences.len(),
            draw.seed
        )
    });
    let (warnings, notes): (Vec<Notice>, Vec<Notice>) = notices.into_iter().partition(Notice::is_warning);
    let text = |notice: Notice| notice.to_string();
    Ok(Inspection {
        summary,
        warnings: warnings.into_iter().map(text).collect(),
        notes: notes.into_iter().map(text).chain(drawn).collect(),
    })
}
