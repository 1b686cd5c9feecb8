//! Why label names make no label set.

use thiserror::Error;

/// Why a list of label names is not a usable label set.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum LabelError {
    /// No label is `O`.
    #[error("the labels have no `O`")]
    MissingOutside,
    /// A label is neither `O` nor `B-` or `I-` and a type.
    #[error("label {id} is `{name}`, which is not IOB2: `O`, `B-TYPE` or `I-TYPE`")]
    NotIob2 {
        /// The label's position.
        id: usize,
        /// The label's name.
        name: String,
    },
    /// Some labels have a position prefix or suffix, this one has none.
    #[error("label {id} is `{name}`, which is not spelt like the others: `O`, or a position and a type")]
    Mixed {
        /// The label's position.
        id: usize,
        /// The label's name.
        name: String,
    },
    /// A label has the placeholder name of a model whose labels were never named.
    #[error("label {id} is `{name}`: the labels were never named")]
    Unnamed {
        /// The label's position.
        id: usize,
        /// The label's name.
        name: String,
    },
    /// `I-X` stands without `B-X`.
    #[error("label `I-{entity_type}` has no `B-{entity_type}`")]
    InsideWithoutBegin {
        /// The type that lacks its `B-`.
        entity_type: String,
    },
    /// A name occurs twice.
    #[error("label `{name}` occurs twice")]
    Duplicate {
        /// The repeated name.
        name: String,
    },
    /// An `id2label` key is not a number.
    #[error("`id2label` has the key `{key}`, which is not a number")]
    BadId {
        /// The key as it stands.
        key: String,
    },
    /// The ids of `id2label` are not 0 to n-1.
    #[error("`id2label` has {count} labels but no id {missing}")]
    MissingId {
        /// How many labels there are.
        count: usize,
        /// The lowest absent id.
        missing: usize,
    },
}
