//! The errors of label names that form no label set.

use thiserror::Error;

/// A list of label names that is not a valid label set.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum LabelError {
    /// No label is `O`.
    #[error("the labels do not include `O`")]
    MissingOutside,
    /// A label is neither `O` nor `B-TYPE` or `I-TYPE`.
    #[error("label {id} is `{name}`, which is not IOB2: `O`, `B-TYPE` or `I-TYPE`")]
    NotIob2 {
        /// The label's position.
        id: usize,
        /// The label's name.
        name: String,
    },
    /// Other labels have a position letter, and this one has none.
    #[error(
        "label {id} is `{name}`, which has a different form from the other labels: expected `O` or a position letter and a type"
    )]
    Mixed {
        /// The label's position.
        id: usize,
        /// The label's name.
        name: String,
    },
    /// A label has the name that `transformers` gives to labels without names.
    #[error("label {id} is `{name}`, a placeholder: name the labels in `id2label`")]
    Unnamed {
        /// The label's position.
        id: usize,
        /// The label's name.
        name: String,
    },
    /// The set has `I-X` but no `B-X`.
    #[error("the labels include `I-{entity_type}` but not `B-{entity_type}`")]
    InsideWithoutBegin {
        /// The type without a `B-` label.
        entity_type: String,
    },
    /// Two labels have the same name.
    #[error("label `{name}` occurs twice")]
    Duplicate {
        /// The repeated name.
        name: String,
    },
    /// An `id2label` key is not a number.
    #[error("`id2label` has the key `{key}`, which is not a number")]
    BadId {
        /// The key.
        key: String,
    },
    /// The ids of `id2label` are not 0 to n-1.
    #[error("`id2label` has {count} labels but no id {missing}")]
    MissingId {
        /// The number of labels.
        count: usize,
        /// The lowest missing id.
        missing: usize,
    },
}
