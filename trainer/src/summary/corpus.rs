//! The counts of all splits.

use std::collections::BTreeSet;

use nerve_corpus::Corpus;
use nerve_inference::{TextTokenizer, TokenizerError};
use serde::{Deserialize, Serialize};

use crate::summary::split::SplitSummary;

/// The counts of all splits.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CorpusSummary {
    /// Those of each split.
    pub splits: Vec<SplitSummary>,
}

impl CorpusSummary {
    /// The counts of these splits, by name. With a tokenizer and the longest window, those of tokens too.
    pub fn of(
        splits: &[(&str, &Corpus)],
        tokenizer: Option<(&TextTokenizer, usize)>,
    ) -> Result<Self, TokenizerError> {
        let summary = |(name, corpus): &(&str, &Corpus)| SplitSummary::of(name, corpus, tokenizer);
        Ok(Self {
            splits: splits.iter().map(summary).collect::<Result<_, _>>()?,
        })
    }

    /// The types of all splits.
    pub fn types(&self) -> BTreeSet<&str> {
        let types = self.splits.iter().flat_map(|split| split.types.keys());
        types.map(String::as_str).collect()
    }
}
