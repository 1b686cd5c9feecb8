//! What one label says of one word.

use serde::{Deserialize, Serialize};

/// The index of a label among the classifier's outputs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct LabelId(pub usize);

/// The index of an entity type in its [`LabelSet`](crate::LabelSet).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EntityType(pub usize);

/// What a label says of a word: a tag of IOB2, or of a scheme that also marks the ends of entities.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Tag {
    /// `O`: outside every entity.
    Outside,
    /// `B-X`: the first word of an entity.
    Begin(EntityType),
    /// `I-X`, or `X` where the scheme has nothing else: a further word of an entity.
    Inside(EntityType),
    /// `E-X` or `L-X`: the last word of an entity.
    End(EntityType),
    /// `S-X` or `U-X`: the one word of an entity.
    Single(EntityType),
}

impl Tag {
    /// The entity type of any tag but `O`.
    pub fn entity_type(self) -> Option<EntityType> {
        match self {
            Self::Outside => None,
            Self::Begin(of) | Self::Inside(of) | Self::End(of) | Self::Single(of) => Some(of),
        }
    }
}
