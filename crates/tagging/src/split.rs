//! Splitters of running text into words.

mod class;
mod corpus;

use std::str::FromStr;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::span::ByteSpan;
use crate::split::corpus::{CorpusRules, SHORTEST_WITH_CLITIC, plain_word, stem_length};

/// The rule that splits a text into words before tokenization. It matches the words that the model was trained on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Splitter {
    /// The conventions of social-media corpora: [`split_corpus`].
    Corpus,
    /// White space only: [`split_whitespace`].
    Whitespace,
    /// The pre-tokens of the tokenizer, as the `transformers` pipeline splits a text.
    Bert,
}

/// An unknown splitter name.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("`{0}` is not a splitter: corpus, whitespace or bert")]
pub struct SplitterError(String);

impl FromStr for Splitter {
    type Err = SplitterError;

    fn from_str(name: &str) -> Result<Self, SplitterError> {
        [Self::Corpus, Self::Whitespace, Self::Bert]
            .into_iter()
            .find(|splitter| splitter.name() == name)
            .ok_or_else(|| SplitterError(name.to_owned()))
    }
}

impl Splitter {
    /// The name of the splitter in a manifest and on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Corpus => "corpus",
            Self::Whitespace => "whitespace",
            Self::Bert => "bert",
        }
    }
}

/// Finds the words of running text one after another, so that a long text can be split in steps.
#[derive(Clone, Debug)]
pub struct TextSplitter {
    /// `None` splits at white space alone.
    corpus: Option<CorpusRules>,
    /// The end of the last word.
    at: usize,
    /// The end of the last word with its clitic, which is the next word.
    clitic_end: usize,
}

impl TextSplitter {
    /// Splits as [`split_corpus`].
    pub fn corpus() -> Self {
        Self {
            corpus: Some(CorpusRules::default()),
            at: 0,
            clitic_end: 0,
        }
    }

    /// Splits as [`split_whitespace`].
    pub fn whitespace() -> Self {
        Self {
            corpus: None,
            ..Self::corpus()
        }
    }

    /// The next word of `text`, which must be the same text at each call.
    ///
    /// The time is linear in the bytes between the last word and the end of this one. All words together take linear time.
    pub fn next_word(&mut self, text: &str) -> Option<ByteSpan> {
        let (start, end) = if self.at < self.clitic_end {
            (self.at, self.clitic_end)
        } else {
            let rest = text.get(self.at..)?;
            let start = self.at + rest.find(|c: char| !c.is_whitespace())?;
            (start, self.word_end(text, start)?)
        };
        self.at = end;
        ByteSpan::new(start, end)
    }

    /// The byte where the last word ends.
    pub fn position(&self) -> usize {
        self.at
    }

    /// The end of the word that starts at `start`, without its clitic.
    fn word_end(&mut self, text: &str, start: usize) -> Option<usize> {
        let Some(rules) = &mut self.corpus else {
            let rest = text.get(start..)?;
            return Some(start + rest.find(char::is_whitespace).unwrap_or(rest.len()));
        };
        if let Some(end) = plain_word(text, start) {
            return Some(end);
        }
        let end = rules.word_end(text, start)?;
        self.clitic_end = end;
        match end - start < SHORTEST_WITH_CLITIC {
            true => Some(end),
            false => Some(start + stem_length(text.get(start..end)?)),
        }
    }
}

/// The spans of `text` between Unicode white space.
pub fn split_whitespace(text: &str) -> Vec<ByteSpan> {
    split(TextSplitter::whitespace(), text)
}

/// The words of `text`, split by the conventions of social-media corpora, in order.
///
/// Each of these is one word: links, e-mail addresses, emoticons, emoji with their modifiers, abbreviations (`U.S.`),
/// numbers (`7:30`), hyphenated words, ellipses and runs of one punctuation mark. English clitics (`'s`, `'m`, `'re`, `'ve`,
/// `'ll`, `'d`) are separate words. So is the sign of a `@mention` or `#hashtag`, as in the dev and test splits of WNUT-17: the
/// entity in `@Gordon` is `Gordon`. Any other punctuation mark is a word by itself. Every character that is not white space
/// belongs to exactly one word. A domain or e-mail address of more than 4 KiB is not one word. Takes linear time, whatever
/// the text.
pub fn split_corpus(text: &str) -> Vec<ByteSpan> {
    split(TextSplitter::corpus(), text)
}

fn split(mut splitter: TextSplitter, text: &str) -> Vec<ByteSpan> {
    let mut spans = Vec::with_capacity(text.len() / 5 + 1);
    while let Some(span) = splitter.next_word(text) {
        spans.push(span);
    }
    spans
}

#[cfg(test)]
mod tests;
