//! Texts to words and windows of token ids.

use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, Instant};

use nerve_inference::{TokenizerError, WordToken};
use nerve_tagging::{AlignError, ByteSpan, Splitter, Subwords, TextSplitter, Window, WordIndex, windows};

use crate::config::TextLimits;
use crate::pipeline::aggregation::Aggregation;
use crate::pipeline::error::PrepareError;
use crate::pipeline::model::TextModel;
use crate::pipeline::tagged::Words;
use crate::request::input::TagInput;
use crate::scheduler::job::WindowInput;

/// How much text is tokenized before another request has its turn, in bytes: a few milliseconds of work, whatever the
/// text. A longer word, of which the tokenizer reads only the beginning, is not divided.
const STEP_BYTES: usize = 1 << 12;

/// What a text counts in the bytes of a step beside its own, so that a step of many short texts ends too.
const TEXT_BYTES: usize = 64;

/// A text that is ready to be computed.
#[derive(Debug)]
pub(crate) struct Prepared {
    pub(crate) words: Words,
    subwords: Subwords,
    windows: Vec<Window>,
    reads_all: bool,
}

impl Prepared {
    /// The windows to compute. In their order they read each word that has a subword once, in the order of the words.
    pub(crate) fn inputs<'p>(&'p self, model: &'p TextModel) -> impl Iterator<Item = WindowInput> + 'p {
        let input = |window| WindowInput {
            reads: self.reads(model, window).collect(),
            ids: model.tokenizer.window_ids(&self.subwords, window),
        };
        self.windows
            .iter()
            .map(input)
            .filter(|input| !input.reads.is_empty())
    }

    /// Whether each word has a subword, and so a label from the model.
    pub(crate) fn has_subword(&self) -> impl DoubleEndedIterator<Item = bool> + ExactSizeIterator + Clone {
        (0..self.words.spans.len()).map(|word| !self.subwords.of_word(WordIndex(word)).is_empty())
    }

    /// The number of subwords that are read of each word.
    pub(crate) fn read_lengths(&self) -> impl Iterator<Item = usize> {
        self.windows.iter().flat_map(|window| {
            let words = window.answers.range();
            words.map(|word| self.read(window, word).len())
        })
    }

    fn reads(&self, model: &TextModel, window: &Window) -> impl Iterator<Item = usize> {
        let (before, _) = model.tokenizer.specials();
        let start = window.tokens.start;
        let words = window.answers.range();
        words.flat_map(move |word| {
            let read = self.read(window, word);
            read.map(move |token| token - start + before)
        })
    }

    /// The subwords of a word that are read, in the window that answers the word.
    fn read(&self, window: &Window, word: usize) -> Range<usize> {
        let subwords = self.subwords.of_word(WordIndex(word));
        let most = if self.reads_all { subwords.len() } else { 1 };
        subwords.start..(subwords.start + most).min(subwords.end).min(window.tokens.end)
    }
}

/// Texts that are tokenized in bounded steps, so that long texts and short ones take turns.
pub(crate) struct Preparation {
    model: Arc<TextModel>,
    aggregation: Aggregation,
    limits: TextLimits,
    waiting: std::vec::IntoIter<TagInput>,
    partial: Option<PartiallyTokenized>,
    prepared: Vec<Result<Prepared, PrepareError>>,
    took: Duration,
}

/// A text that is tokenized up to `rest`.
#[derive(Default)]
struct PartiallyTokenized {
    words: Words,
    subwords: Subwords,
    /// The words, if the client gave words.
    given: Option<Vec<String>>,
    /// The number of given words that are tokenized.
    given_done: usize,
    /// Where running text is divided into words, unless the tokenizer does that.
    splitter: Option<TextSplitter>,
    /// The byte where the rest of the text starts.
    rest: usize,
}

impl Preparation {
    /// The preparation of these texts; nothing is tokenized yet.
    pub(crate) fn new(
        model: Arc<TextModel>,
        sources: Vec<TagInput>,
        aggregation: Aggregation,
        limits: TextLimits,
    ) -> Self {
        Self {
            model,
            aggregation,
            limits,
            prepared: Vec::with_capacity(sources.len()),
            waiting: sources.into_iter(),
            partial: None,
            took: Duration::ZERO,
        }
    }

    /// Takes one step. True once all texts are prepared.
    pub(crate) fn step(&mut self) -> bool {
        let began = Instant::now();
        let mut budget = STEP_BYTES;
        while budget > 0 && self.next_text() {
            budget = budget.saturating_sub(self.part() + TEXT_BYTES);
        }
        self.took += began.elapsed();
        self.partial.is_none() && self.waiting.len() == 0
    }

    /// The texts in order, and the time they took.
    pub(crate) fn finish(self) -> (Vec<Result<Prepared, PrepareError>>, Duration) {
        (self.prepared, self.took)
    }

    /// Starts the next text unless one is partially tokenized; false if no text is left.
    fn next_text(&mut self) -> bool {
        while self.partial.is_none() {
            let Some(source) = self.waiting.next() else {
                return false;
            };
            let (bytes, limit) = (source.bytes(), self.limits.max_text_bytes);
            if bytes > limit {
                self.prepared
                    .push(Err(PrepareError::TextTooLong { bytes, limit }));
            } else if source.words() > self.limits.max_words {
                let limit = self.limits.max_words;
                self.prepared.push(Err(PrepareError::TooManyWords { limit }));
            } else {
                self.partial = Some(PartiallyTokenized::new(source, self.model.splitter));
            }
        }
        true
    }

    /// Tokenizes the next part of the text, and returns its length in bytes.
    fn part(&mut self) -> usize {
        let Some(partial) = &mut self.partial else {
            return 0;
        };
        match partial.part(&self.model, self.aggregation.is_of_tokens()) {
            Err(error) => {
                self.partial = None;
                self.prepared.push(Err(error.into()));
                0
            }
            // Where tokens are labeled, each is a word of the answer.
            Ok(_) if partial.words.spans.len() > self.limits.max_words => {
                let limit = self.limits.max_words;
                self.partial = None;
                self.prepared.push(Err(PrepareError::TooManyWords { limit }));
                0
            }
            Ok(Part { bytes, last: false }) => bytes,
            Ok(Part { bytes, last: true }) => {
                if let Some(partial) = self.partial.take() {
                    self.prepared.push(self.planned(partial));
                }
                bytes
            }
        }
    }

    fn planned(&self, partial: PartiallyTokenized) -> Result<Prepared, PrepareError> {
        let windows = windows(&partial.subwords, self.model.limits);
        if windows.len() > self.limits.max_windows {
            return Err(PrepareError::TooManyWindows {
                windows: windows.len(),
                limit: self.limits.max_windows,
            });
        }
        Ok(Prepared {
            words: partial.words,
            subwords: partial.subwords,
            windows,
            reads_all: self.aggregation.reads_all(),
        })
    }
}

/// How much of a text one step tokenized, and whether the text is complete.
struct Part {
    bytes: usize,
    last: bool,
}

impl PartiallyTokenized {
    fn new(source: TagInput, splitter: Splitter) -> Self {
        let splitter = match splitter {
            Splitter::Corpus => Some(TextSplitter::corpus()),
            Splitter::Whitespace => Some(TextSplitter::whitespace()),
            Splitter::Bert => None,
        };
        let (text, given) = match source {
            TagInput::Text(text) => (text, None),
            TagInput::Words(given) => (given.join(" "), Some(given)),
        };
        let spans = Vec::new();
        Self {
            words: Words { text, spans },
            given,
            splitter,
            ..Self::default()
        }
    }

    /// Tokenizes the next part.
    fn part(&mut self, model: &TextModel, of_tokens: bool) -> Result<Part, TokenizerError> {
        match (&self.given, &self.splitter) {
            (Some(_), _) => self.given_part(model, of_tokens),
            (None, Some(_)) => self.split_part(model, of_tokens),
            (None, None) => self.own_part(model, of_tokens),
        }
    }

    /// Tokenizes the next words of running text.
    fn split_part(&mut self, model: &TextModel, of_tokens: bool) -> Result<Part, TokenizerError> {
        let (text, from) = (self.words.text.as_str(), self.rest);
        let mut spans: Vec<ByteSpan> = Vec::new();
        let mut next_word = || {
            self.splitter
                .as_mut()
                .and_then(|splitter| splitter.next_word(text))
        };
        let end = loop {
            match next_word() {
                None => break text.len(),
                Some(span) => {
                    spans.push(span);
                    if span.end() - from >= STEP_BYTES {
                        break span.end();
                    }
                }
            }
        };
        self.rest = end;
        let last = end == text.len();
        self.add(model, of_tokens, spans)?;
        Ok(Part {
            bytes: end - from,
            last,
        })
    }

    /// Tokenizes the next words that the tokenizer itself finds.
    fn own_part(&mut self, model: &TextModel, of_tokens: bool) -> Result<Part, TokenizerError> {
        let (tokenizer, text, from) = (&model.tokenizer, self.words.text.as_str(), self.rest);
        let (spans, subwords) = (&mut self.words.spans, &mut self.subwords);
        self.rest = if of_tokens {
            tokenizer.encode_text_tokens_part(text, from, spans, subwords)?
        } else {
            tokenizer.encode_text_part(text, from, spans, subwords)?
        };
        Ok(Part {
            bytes: self.rest - from,
            last: self.rest == text.len(),
        })
    }

    fn given_part(&mut self, model: &TextModel, of_tokens: bool) -> Result<Part, TokenizerError> {
        let from = self.rest;
        let given = self.given.as_deref().unwrap_or_default();
        let mut spans = Vec::new();
        for word in given.get(self.given_done..).unwrap_or_default() {
            if self.rest - from >= STEP_BYTES {
                break;
            }
            spans.extend(ByteSpan::new(self.rest, self.rest + word.len()));
            // A space follows each word except the last.
            self.rest += word.len() + 1;
        }
        self.given_done += spans.len();
        let last = self.given_done == given.len();
        self.add(model, of_tokens, spans)?;
        Ok(Part {
            bytes: self.rest - from,
            last,
        })
    }

    /// Adds the words at these spans, or their tokens.
    fn add(
        &mut self,
        model: &TextModel,
        of_tokens: bool,
        spans: Vec<ByteSpan>,
    ) -> Result<(), TokenizerError> {
        let text = self.words.text.as_str();
        let words: Vec<&str> = spans
            .iter()
            .map(|span| span.slice(text).unwrap_or_default())
            .collect();
        let (spans, subwords) = if of_tokens {
            tokens_as_words(model.tokenizer.encode_tokens(&words)?, &spans)?
        } else {
            (spans, model.tokenizer.encode_words(&words)?)
        };
        self.words.spans.extend(spans);
        self.subwords.append(subwords);
        Ok(())
    }
}

/// The spans of words' tokens in the text, each as a word of its own. A word without a token keeps its own span.
fn tokens_as_words(
    tokens: Vec<WordToken>,
    words: &[ByteSpan],
) -> Result<(Vec<ByteSpan>, Subwords), AlignError> {
    let (mut ids, mut word_ids, mut spans) = (Vec::new(), Vec::new(), Vec::new());
    let mut tokens = tokens.into_iter().peekable();
    for (word, span) in words.iter().enumerate() {
        let known = spans.len();
        while let Some(token) = tokens.next_if(|token| token.word == word) {
            ids.push(token.id);
            word_ids.push(u32::try_from(spans.len()).ok());
            let (start, end) = (span.start() + token.span.start(), span.start() + token.span.end());
            spans.extend(ByteSpan::new(start, end));
        }
        if spans.len() == known {
            spans.push(*span);
        }
    }
    let subwords = Subwords::new(&ids, &word_ids, spans.len())?;
    Ok((spans, subwords))
}

#[cfg(test)]
mod tests;
