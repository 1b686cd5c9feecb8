//! The label set of a tagger: IOB2 tags over entity types, in the order of the classifier's outputs.

use std::collections::{BTreeMap, HashMap};

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// The index of a label among the classifier's outputs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct LabelId(pub usize);

/// The index of an entity type in its [`LabelSet`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EntityType(pub usize);

/// One IOB2 tag.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Tag {
    /// `O`: outside every entity.
    Outside,
    /// `B-X`: the first word of an entity.
    Begin(EntityType),
    /// `I-X`: a further word of an entity.
    Inside(EntityType),
}

impl Tag {
    /// The entity type of a `B-` or `I-` tag.
    pub fn entity_type(self) -> Option<EntityType> {
        match self {
            Self::Outside => None,
            Self::Begin(entity_type) | Self::Inside(entity_type) => Some(entity_type),
        }
    }
}

/// Why a list of label names is not a usable IOB2 label set.
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

/// A validated IOB2 label set: `O` is present, and every `I-X` has its `B-X`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LabelSet {
    names: Vec<String>,
    tags: Vec<Tag>,
    types: Vec<String>,
    ids: HashMap<Tag, LabelId>,
    outside: LabelId,
}

impl LabelSet {
    /// The label set of these names, in output order.
    pub fn from_names<S: Into<String>>(names: impl IntoIterator<Item = S>) -> Result<Self, LabelError> {
        let names: Vec<String> = names.into_iter().map(Into::into).collect();
        let mut types: Vec<String> = Vec::new();
        let mut tags = Vec::with_capacity(names.len());
        let mut ids = HashMap::with_capacity(names.len());
        for (id, name) in names.iter().enumerate() {
            let tag = parse_tag(name, &mut types).ok_or_else(|| LabelError::NotIob2 {
                id,
                name: name.clone(),
            })?;
            if ids.insert(tag, LabelId(id)).is_some() {
                return Err(LabelError::Duplicate { name: name.clone() });
            }
            tags.push(tag);
        }
        let outside = *ids.get(&Tag::Outside).ok_or(LabelError::MissingOutside)?;
        for (index, entity_type) in types.iter().enumerate() {
            if !ids.contains_key(&Tag::Begin(EntityType(index))) {
                return Err(LabelError::InsideWithoutBegin {
                    entity_type: entity_type.clone(),
                });
            }
        }
        Ok(Self {
            names,
            tags,
            types,
            ids,
            outside,
        })
    }

    /// The label set of a Hugging Face `id2label` map, whose keys are decimal ids.
    pub fn from_id2label(id2label: &BTreeMap<String, String>) -> Result<Self, LabelError> {
        let mut by_id: BTreeMap<usize, &str> = BTreeMap::new();
        for (key, name) in id2label {
            let id = key.parse().map_err(|_| LabelError::BadId { key: key.clone() })?;
            by_id.insert(id, name);
        }
        if let Some(missing) = (0..id2label.len()).find(|id| !by_id.contains_key(id)) {
            return Err(LabelError::MissingId {
                count: id2label.len(),
                missing,
            });
        }
        Self::from_names(by_id.into_values())
    }

    /// `O`, then `B-X` and `I-X` for each type in the order given; a repeated type is an error.
    pub fn iob2<S: AsRef<str>>(types: impl IntoIterator<Item = S>) -> Result<Self, LabelError> {
        let names = types.into_iter().flat_map(|name| {
            let name = name.as_ref();
            [format!("B-{name}"), format!("I-{name}")]
        });
        Self::from_names(std::iter::once("O".to_owned()).chain(names))
    }

    /// The Hugging Face `id2label` map of this set.
    pub fn id2label(&self) -> BTreeMap<String, String> {
        let names = self.names.iter().enumerate();
        names.map(|(id, name)| (id.to_string(), name.clone())).collect()
    }

    /// How many labels there are: the width of the logits.
    pub fn len(&self) -> usize {
        self.names.len()
    }

    /// Never true: a label set holds `O` at least.
    pub fn is_empty(&self) -> bool {
        self.names.is_empty()
    }

    /// The label names, in output order.
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// The entity types, in the order in which the labels first name them.
    pub fn types(&self) -> &[String] {
        &self.types
    }

    /// The id of `O`.
    pub fn outside(&self) -> LabelId {
        self.outside
    }

    /// The name of a label; `None` where the id is not of this set.
    pub fn name(&self, id: LabelId) -> Option<&str> {
        self.names.get(id.0).map(String::as_str)
    }

    /// The tag of a label; `None` where the id is not of this set.
    pub fn tag(&self, id: LabelId) -> Option<Tag> {
        self.tags.get(id.0).copied()
    }

    /// The label of a tag; `None` where the set has none, as for `I-X` of a type whose entities are single words.
    pub fn id(&self, tag: Tag) -> Option<LabelId> {
        self.ids.get(&tag).copied()
    }

    /// The label of this name.
    pub fn parse(&self, name: &str) -> Option<LabelId> {
        self.names.iter().position(|n| n == name).map(LabelId)
    }

    /// The name of an entity type; `None` where the type is not of this set.
    pub fn type_name(&self, entity_type: EntityType) -> Option<&str> {
        self.types.get(entity_type.0).map(String::as_str)
    }

    /// The entity type of this name.
    pub fn parse_type(&self, name: &str) -> Option<EntityType> {
        self.types.iter().position(|n| n == name).map(EntityType)
    }
}

/// The tag a name spells, its type interned in `types`.
fn parse_tag(name: &str, types: &mut Vec<String>) -> Option<Tag> {
    if name == "O" {
        return Some(Tag::Outside);
    }
    let (prefix, entity_type) = name.split_once('-')?;
    if entity_type.is_empty() || !matches!(prefix, "B" | "I") {
        return None;
    }
    let index = types.iter().position(|t| t == entity_type).unwrap_or_else(|| {
        types.push(entity_type.to_owned());
        types.len() - 1
    });
    let entity_type = EntityType(index);
    Some(match prefix {
        "B" => Tag::Begin(entity_type),
        _ => Tag::Inside(entity_type),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_and_tags_go_both_ways() {
        let labels = LabelSet::from_names(["O", "B-person", "I-person", "B-creative-work"]).unwrap();
        assert_eq!(labels.types(), ["person", "creative-work"]);
        assert_eq!(labels.tag(LabelId(2)), Some(Tag::Inside(EntityType(0))));
        assert_eq!(labels.id(Tag::Inside(EntityType(1))), None);
        assert_eq!(labels.tag(LabelId(4)), None);
        assert_eq!(LabelSet::from_id2label(&labels.id2label()), Ok(labels));
    }

    #[test]
    fn each_defect_has_its_error() {
        let error = |names: &[&str]| LabelSet::from_names(names.iter().copied()).unwrap_err();
        assert_eq!(error(&["B-a", "I-a"]), LabelError::MissingOutside);
        assert!(matches!(error(&["O", "a"]), LabelError::NotIob2 { id: 1, .. }));
        assert!(matches!(error(&["O", "B-"]), LabelError::NotIob2 { id: 1, .. }));
        assert!(matches!(error(&["O", "S-a"]), LabelError::NotIob2 { id: 1, .. }));
        assert!(matches!(
            error(&["O", "I-a"]),
            LabelError::InsideWithoutBegin { .. }
        ));
        assert!(matches!(error(&["O", "B-a", "O"]), LabelError::Duplicate { .. }));
    }

    #[test]
    fn id2label_must_count_from_zero() {
        let map =
            |ids: &[&str]| -> BTreeMap<_, _> { ids.iter().map(|id| (id.to_string(), "O".into())).collect() };
        assert_eq!(
            LabelSet::from_id2label(&map(&["x"])),
            Err(LabelError::BadId { key: "x".into() })
        );
        assert_eq!(
            LabelSet::from_id2label(&map(&["1"])),
            Err(LabelError::MissingId { count: 1, missing: 0 })
        );
        // More labels than the nine that sort alike as text and as numbers.
        let many: BTreeMap<_, _> = LabelSet::iob2(["a", "b", "c", "d", "e", "f"]).unwrap().id2label();
        assert_eq!(
            LabelSet::from_id2label(&many).unwrap().name(LabelId(12)).unwrap(),
            "I-f"
        );
    }
}
