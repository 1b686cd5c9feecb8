//! What the loss compares the logits of a batch with.

/// The labeled tokens of a window, one after another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct LabeledRun {
    /// Their number.
    pub(crate) length: usize,
    /// Whether the first of them begins the sentence.
    pub(crate) begins: bool,
    /// Whether the last of them ends the sentence.
    pub(crate) ends: bool,
}

/// The labeled tokens of a packed batch; the loss ignores all other tokens.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Targets {
    /// The positions of the labeled tokens in the packed batch, ascending.
    pub(crate) tokens: Vec<u32>,
    /// The label of each of these tokens.
    pub(crate) labels: Vec<u32>,
    /// How these tokens follow one another: the runs cover them, in order.
    pub(crate) runs: Vec<LabeledRun>,
    /// The teachers' distribution for each of these tokens, shape `[tokens, labels]`; zeros where they give none. Empty
    /// without teachers.
    pub(crate) soft: Vec<f32>,
    /// Whether the label of each of these tokens is gold. Empty without teachers, where all are.
    pub(crate) is_gold: Vec<bool>,
}
