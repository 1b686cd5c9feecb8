//! The counts of one split.

use std::collections::BTreeMap;
use std::path::PathBuf;

use nerve_corpus::Corpus;
use nerve_inference::{TextTokenizer, TokenizerError};
use nerve_tagging::WindowLimits;
use serde::{Deserialize, Serialize};

/// The names of the unknown token, by family.
const UNKNOWN: [&str; 2] = ["[UNK]", "<unk>"];

/// The counts of one split.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SplitSummary {
    /// `train`, `dev` or `test`.
    pub split: String,
    /// Its files.
    pub files: Vec<PathBuf>,
    /// Sentences.
    pub sentences: usize,
    /// Words.
    pub words: usize,
    /// Entities.
    pub entities: usize,
    /// Entities of each type that occurs.
    pub types: BTreeMap<String, usize>,
    /// The sentence with the most words.
    pub longest: LongestSentence,
    /// The counts of tokens, where there is a tokenizer.
    pub tokens: Option<TokenSummary>,
}

/// The longest sentence of a split.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LongestSentence {
    /// Its words, or tokens.
    pub length: usize,
    /// Its file.
    pub file: PathBuf,
    /// The line or row on which it begins, counted from 1.
    pub line: usize,
}

/// The counts of the tokens of a split, special tokens left out.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TokenSummary {
    /// Tokens.
    pub tokens: usize,
    /// Tokens that are unknown to the tokenizer.
    pub unknown: usize,
    /// The sentence with the most tokens.
    pub longest: LongestSentence,
    /// Sentences that are longer than a window and are read in several.
    pub cut: usize,
    /// The longest window, special tokens included.
    pub max_length: usize,
}

impl SplitSummary {
    /// The counts of a corpus, which is the split of this name. With a tokenizer and the longest window, those of tokens too.
    pub(crate) fn of(
        split: &str,
        corpus: &Corpus,
        tokenizer: Option<(&TextTokenizer, usize)>,
    ) -> Result<Self, TokenizerError> {
        let mut types = BTreeMap::new();
        for sentence in &corpus.sentences {
            for name in entity_starts(&sentence.tags) {
                *types.entry(name.to_owned()).or_insert(0) += 1;
            }
        }
        let lengths = || corpus.sentences.iter().map(|sentence| sentence.words.len());
        let tokens = tokenizer.map(|(tokenizer, max_length)| TokenSummary::of(corpus, tokenizer, max_length));
        Ok(Self {
            split: split.to_owned(),
            files: corpus.files().map(ToOwned::to_owned).collect(),
            sentences: corpus.sentences.len(),
            words: lengths().sum(),
            entities: types.values().sum(),
            types,
            longest: longest(corpus, lengths()),
            tokens: tokens.transpose()?,
        })
    }
}

impl TokenSummary {
    fn of(corpus: &Corpus, tokenizer: &TextTokenizer, max_length: usize) -> Result<Self, TokenizerError> {
        let unknown = UNKNOWN.iter().find_map(|name| tokenizer.token_to_id(name));
        let (before, after) = tokenizer.specials();
        // Windows without room are refused before a training begins.
        let room = WindowLimits::for_encoder(max_length, before + after)
            .map_or(usize::MAX, WindowLimits::max_tokens);
        let mut found = Self {
            max_length,
            ..Self::default()
        };
        let mut lengths = Vec::with_capacity(corpus.sentences.len());
        for sentence in &corpus.sentences {
            let subwords = tokenizer.encode_words(&sentence.words)?;
            let ids = subwords.ids();
            found.tokens += ids.len();
            found.unknown += ids.iter().filter(|&&id| Some(id) == unknown).count();
            found.cut += usize::from(ids.len() > room);
            lengths.push(ids.len());
        }
        found.longest = longest(corpus, lengths.into_iter());
        Ok(found)
    }
}

/// The first sentence of the greatest length.
fn longest(corpus: &Corpus, lengths: impl Iterator<Item = usize>) -> LongestSentence {
    let found = lengths
        .enumerate()
        .max_by_key(|&(at, length)| (length, std::cmp::Reverse(at)));
    found.map_or_else(LongestSentence::default, |(at, length)| LongestSentence {
        length,
        file: corpus.file(at).to_owned(),
        line: corpus.line(at, 0),
    })
}

/// The type of each entity of IOB2 tags; an `I-X` that continues none starts one.
fn entity_starts(tags: &[String]) -> impl Iterator<Item = &str> {
    let mut open = None;
    tags.iter().filter_map(move |tag| {
        let (prefix, name) = tag.split_once('-').unzip();
        let starts = prefix == Some("B") || open != name;
        open = name;
        name.filter(|_| starts)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entities_are_counted_by_their_first_tag() {
        let tags = ["B-a", "I-a", "B-a", "I-b", "I-b", "O", "I-b"].map(str::to_owned);
        assert_eq!(entity_starts(&tags).collect::<Vec<_>>(), ["a", "a", "b", "b"]);
    }
}
