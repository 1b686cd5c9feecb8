//! The text to tag.

use crate::request::error::RequestError;

/// The text to tag, as a client gives it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum TagInput {
    /// Running text, split into words as the model was trained.
    Text(String),
    /// Words, never split again. Their text is the words joined by single spaces.
    Words(Vec<String>),
}

impl TagInput {
    /// The input of a request with the fields `text` and `words`, of which exactly one must be present.
    pub fn of(text: Option<String>, words: Option<Vec<String>>) -> Result<Self, RequestError> {
        match (text, words) {
            (Some(text), None) => Ok(Self::Text(text)),
            (None, Some(words)) => Ok(Self::Words(words)),
            (None, None) => Err(RequestError::NoText),
            (Some(_), Some(_)) => Err(RequestError::TextAndWords),
        }
    }

    /// The number of given words; 0 for running text.
    pub(crate) fn words(&self) -> usize {
        match self {
            Self::Text(_) => 0,
            Self::Words(words) => words.len(),
        }
    }

    /// The length of the text in UTF-8 bytes.
    pub(crate) fn bytes(&self) -> usize {
        match self {
            Self::Text(text) => text.len(),
            Self::Words(words) => {
                let spaces = words.len().saturating_sub(1);
                words.iter().map(String::len).sum::<usize>() + spaces
            }
        }
    }
}
