//! A text's words and their labels.

use nerve_tagging::{ByteSpan, WordLabel};

/// A text and its words.
#[derive(Clone, Debug, Default)]
pub struct Words {
    /// The text that the spans refer to.
    pub text: String,
    /// The spans of the words in `text`, in order; a given word may be empty. If tokens are labeled, the spans of
    /// the tokens, and those of words without a token.
    pub spans: Vec<ByteSpan>,
}

/// A text's words and their labels.
#[derive(Clone, Debug)]
pub struct TaggedText {
    /// The words; the tokens, if tokens are labeled.
    pub words: Words,
    /// One label per word.
    pub labels: Vec<WordLabel>,
    /// Whether consecutive words of one entity are joined. False if each token is an entity of its own.
    pub joined: bool,
}

impl TaggedText {
    /// The approximate memory in bytes.
    pub fn bytes(&self) -> usize {
        self.words.text.len() + size_of_val(self.words.spans.as_slice()) + size_of_val(self.labels.as_slice())
    }
}
