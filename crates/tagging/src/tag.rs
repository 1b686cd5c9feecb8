//! Tags, label ids and entity types.

use serde::{Deserialize, Serialize};

/// The index of a label among the classifier's outputs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct LabelId(pub usize);

/// The index of an entity type in its [`LabelSet`](crate::LabelSet).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EntityType(pub usize);

/// The position of a word in an entity: a tag of IOB2, or of a scheme that also marks the ends of entities.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Tag {
    /// `O`: outside every entity.
    Outside,
    /// `B-X`: the first word of an entity.
    Begin(EntityType),
    /// `I-X`, or `X` in a scheme without position letters: a further word of an entity.
    Inside(EntityType),
    /// `E-X` or `L-X`: the last word of an entity.
    End(EntityType),
    /// `S-X` or `U-X`: the only word of an entity.
    Single(EntityType),
}

impl Tag {
    /// The entity type of the tag. `None` for `O`.
    pub fn entity_type(self) -> Option<EntityType> {
        match self {
            Self::Outside => None,
            Self::Begin(of) | Self::Inside(of) | Self::End(of) | Self::Single(of) => Some(of),
        }
    }
}
