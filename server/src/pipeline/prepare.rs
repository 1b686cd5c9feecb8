//! A request's text to words and windows of token ids.

use nerve_export::EncoderError;
use nerve_tagging::{
    ByteSpan, Splitter, Subwords, Window, WordIndex, WordSpan, split_corpus, split_whitespace, windows,
};
use thiserror::Error;

use crate::pipeline::model::TextModel;
use crate::scheduler::WindowInput;

/// What a client asks to be tagged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Source {
    /// Running text, split into words as the model was trained.
    Text(String),
    /// Words, never split again. Their text is the words joined by single spaces.
    Words(Vec<String>),
}

/// A text whose words are known.
#[derive(Debug)]
pub(crate) struct Words {
    /// The text that spans refer to.
    pub(crate) text: String,
    /// The words' places in `text`, in order; a given word may be empty.
    pub(crate) spans: Vec<ByteSpan>,
}

/// A text ready to be computed.
#[derive(Debug)]
pub(crate) struct Prepared {
    pub(crate) words: Words,
    /// What to compute, and the words each window answers. Words of no window have no subwords.
    pub(crate) windows: Vec<(WordSpan, WindowInput)>,
}

/// Why a text cannot be computed.
#[derive(Debug, Error)]
pub(crate) enum PrepareError {
    /// The text is longer than is taken.
    #[error("the text has {bytes} bytes; at most {limit} are taken (--max-text-bytes)")]
    TextTooLong {
        /// UTF-8 bytes.
        bytes: usize,
        /// The limit.
        limit: usize,
    },
    /// The text needs more windows than are computed for one text.
    #[error("the text needs {windows} windows of the encoder; at most {limit} are computed (--max-windows)")]
    TooManyWindows {
        /// How many it needs.
        windows: usize,
        /// The limit.
        limit: usize,
    },
    /// The tokenizer failed on it.
    #[error(transparent)]
    Encoder(#[from] EncoderError),
}

/// How long a text may be.
#[derive(Clone, Copy, Debug)]
pub(crate) struct TextLimits {
    pub(crate) bytes: usize,
    pub(crate) windows: usize,
}

/// The words and windows of a text.
pub(crate) fn prepare(
    model: &TextModel,
    source: Source,
    limits: TextLimits,
) -> Result<Prepared, PrepareError> {
    let bytes = source.bytes();
    if bytes > limits.bytes {
        return Err(PrepareError::TextTooLong {
            bytes,
            limit: limits.bytes,
        });
    }
    let (words, subwords) = encode(model, source)?;
    let planned = windows(&subwords, model.limits);
    if planned.len() > limits.windows {
        return Err(PrepareError::TooManyWindows {
            windows: planned.len(),
            limit: limits.windows,
        });
    }
    let windows = planned
        .iter()
        .map(|window| (window.answers, input(model, &subwords, window)))
        .filter(|(_, input)| input.reads.iter().any(Option::is_some))
        .collect();
    Ok(Prepared { words, windows })
}

impl Source {
    /// The length of the text in UTF-8 bytes.
    fn bytes(&self) -> usize {
        match self {
            Self::Text(text) => text.len(),
            Self::Words(words) => {
                let spaces = words.len().saturating_sub(1);
                words.iter().map(String::len).sum::<usize>() + spaces
            }
        }
    }
}

fn encode(model: &TextModel, source: Source) -> Result<(Words, Subwords), EncoderError> {
    let text = match source {
        Source::Text(text) => text,
        Source::Words(words) => {
            let subwords = model.encoder.encode_words(&words)?;
            return Ok((join(&words), subwords));
        }
    };
    let spans = match model.splitter {
        Splitter::Corpus => split_corpus(&text),
        Splitter::Whitespace => split_whitespace(&text),
        Splitter::Bert => {
            let (spans, subwords) = model.encoder.encode_text(&text)?;
            return Ok((Words { text, spans }, subwords));
        }
    };
    let words: Vec<&str> = spans
        .iter()
        .map(|span| span.slice(&text).unwrap_or_default())
        .collect();
    let subwords = model.encoder.encode_words(&words)?;
    Ok((Words { text, spans }, subwords))
}

fn join(words: &[String]) -> Words {
    let mut start = 0;
    let spans = words.iter().filter_map(|word| {
        let span = ByteSpan::new(start, start + word.len());
        start += word.len() + 1;
        span
    });
    Words {
        spans: spans.collect(),
        text: words.join(" "),
    }
}

fn input(model: &TextModel, subwords: &Subwords, window: &Window) -> WindowInput {
    let (before, _) = model.encoder.specials();
    let first = |word| subwords.first_in_window(WordIndex(word), window, before);
    WindowInput {
        ids: model.encoder.window_ids(subwords, window),
        reads: window.answers.range().map(first).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pipeline::text_model;

    const LIMITS: TextLimits = TextLimits {
        bytes: 60,
        windows: 3,
    };

    fn text(text: &str) -> Source {
        Source::Text(text.to_owned())
    }

    #[test]
    fn given_words_keep_their_places_in_the_joined_text() {
        let given = ["Paul walk", "", " ", "😀"].map(str::to_owned).to_vec();
        let prepared = prepare(&text_model(16), Source::Words(given.clone()), LIMITS).unwrap();
        let text = &prepared.words.text;
        assert_eq!(text, "Paul walk    😀");
        let words: Vec<_> = prepared
            .words
            .spans
            .iter()
            .map(|s| s.slice(text).unwrap())
            .collect();
        assert_eq!(words, given);
        assert_eq!(prepared.windows[0].1.reads, [Some(1), None, None, Some(3)]);
    }

    #[test]
    fn a_text_without_words_needs_no_window() {
        for empty in ["", " \n\t ", "\u{200b}"] {
            assert!(
                prepare(&text_model(16), text(empty), LIMITS)
                    .unwrap()
                    .windows
                    .is_empty()
            );
        }
    }

    #[test]
    fn the_limits_hold() {
        let model = text_model(4);
        assert!(matches!(
            prepare(&model, text(&"a".repeat(61)), LIMITS),
            Err(PrepareError::TextTooLong { bytes: 61, limit: 60 })
        ));
        let joined = Source::Words(vec!["a".repeat(30); 2]);
        assert!(matches!(
            prepare(&model, joined, LIMITS),
            Err(PrepareError::TextTooLong { bytes: 61, .. })
        ));
        assert!(matches!(
            prepare(&model, text(&"in ".repeat(20)), LIMITS),
            Err(PrepareError::TooManyWindows { limit: 3, .. })
        ));
        assert_eq!(
            prepare(&model, text(&"in ".repeat(9)), LIMITS)
                .unwrap()
                .windows
                .len(),
            3
        );
    }
}
