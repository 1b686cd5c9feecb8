//! A sentence to tag.

use nerve_tagging::ByteSpan;

/// The words of a sentence, and where they come from.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct SentenceToTag {
    /// The line it begins on, counted from 1.
    pub(super) line: usize,
    /// The words.
    pub(super) words: Vec<String>,
    /// The text that was split, and the span of each word; absent where the input gives words.
    pub(super) text: Option<(String, Vec<ByteSpan>)>,
}

impl SentenceToTag {
    /// The sentence of the words at these spans of a text.
    pub(super) fn of_text(line: usize, text: String, spans: Vec<ByteSpan>) -> Self {
        let word = |span: &ByteSpan| span.slice(&text).unwrap_or_default().to_owned();
        Self {
            line,
            words: spans.iter().map(word).collect(),
            text: Some((text, spans)),
        }
    }
}
