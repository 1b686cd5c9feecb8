//! A text's words and their labels.

use nerve_tagging::{ByteSpan, WordLabel};

/// A text whose words are known.
#[derive(Clone, Debug, Default)]
pub struct Words {
    /// The text that spans refer to.
    pub text: String,
    /// The words' places in `text`, in order; a given word may be empty. Where tokens are labelled, the tokens' places,
    /// and those of the words that have no token.
    pub spans: Vec<ByteSpan>,
}

/// A text's words and their labels.
#[derive(Clone, Debug)]
pub struct TaggedText {
    /// The words; where tokens were labelled, the tokens.
    pub words: Words,
    /// One label a word.
    pub labels: Vec<WordLabel>,
    /// Whether neighbouring words of one entity are one entity; false where each token stands for itself.
    pub joined: bool,
}

impl TaggedText {
    /// The memory it takes, roughly.
    pub(crate) fn bytes(&self) -> usize {
        self.words.text.len() + size_of_val(self.words.spans.as_slice()) + size_of_val(self.labels.as_slice())
    }
}
