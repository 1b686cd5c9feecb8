//! What one entry of a file holds.

/// An entity of a running text, as half-open code point offsets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TextEntity {
    /// Code point of its first character.
    pub start: usize,
    /// Code point after its last character.
    pub end: usize,
    /// Its type.
    pub label: String,
}

/// What one entry of a file holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Content {
    /// A sentence split into words.
    Words {
        /// The words.
        words: Vec<String>,
        /// The tag of each word, where the file gives one.
        tags: Vec<Option<String>>,
    },
    /// A running text.
    Text {
        /// The text.
        text: String,
        /// Its entities, where the file gives them.
        entities: Option<Vec<TextEntity>>,
    },
    /// A line between the sentences of CoNLL, as it stands.
    Separator(String),
}

/// One entry of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The line it begins on, counted from 1.
    pub line: usize,
    /// What it holds.
    pub content: Content,
}
