//! A labelled sentence, as a corpus holds it.

/// The words of a sentence and one tag for each.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sentence {
    /// The words.
    pub words: Vec<String>,
    /// The tags of the words, as many.
    pub tags: Vec<String>,
}
