//! The label set of a tagger, in the order of the classifier's outputs.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use crate::entity::{OrphanRule, entities, tags};
use crate::label_error::LabelError;
use crate::naming::{Naming, learn};
use crate::scheme::TagScheme;
use crate::tag::{EntityType, LabelId, Tag};

/// A validated label set of one scheme. It contains `O`, and in IOB2 a `B-X` for every `I-X`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LabelSet {
    scheme: TagScheme,
    names: Vec<String>,
    tags: Vec<Tag>,
    types: Vec<String>,
    ids: HashMap<Tag, LabelId>,
    outside: LabelId,
}

impl LabelSet {
    /// The IOB2 label set of these names, which are in the order of the classifier's outputs.
    pub fn from_names<S: Into<String>>(names: impl IntoIterator<Item = S>) -> Result<Self, LabelError> {
        let names: Vec<String> = names.into_iter().map(Into::into).collect();
        let mut types: Vec<String> = Vec::new();
        let mut tags = Vec::with_capacity(names.len());
        for (id, name) in names.iter().enumerate() {
            let tag = parse_tag(name, &mut types).ok_or_else(|| LabelError::NotIob2 {
                id,
                name: name.clone(),
            })?;
            tags.push(tag);
        }
        let naming = Naming {
            scheme: TagScheme::Iob2,
            tags,
            types,
        };
        let labels = Self::new(names, naming)?;
        for (index, entity_type) in labels.types.iter().enumerate() {
            if !labels.ids.contains_key(&Tag::Begin(EntityType(index))) {
                return Err(LabelError::InsideWithoutBegin {
                    entity_type: entity_type.clone(),
                });
            }
        }
        Ok(labels)
    }

    /// The label set of any token classifier, with the scheme detected from the names. The names are in the order of the
    /// classifier's outputs.
    ///
    /// Every scheme requires `O`, in upper or lower case. The other labels have one of these forms, the same for all:
    /// `B-X`, `B_X`, `X-B` or `X_B` with the position letters `B` `I` (IOB2, IOB1, IO), `B` `I` `E` `S`, `B` `I` `L` `U` or
    /// `B` `M` `E` `S` (all [`TagScheme::Iobes`]), or the type alone ([`TagScheme::Plain`]). If some types have `I` but no `B`,
    /// the scheme is [`TagScheme::Iob1`]; if no type has `B`, it is [`TagScheme::Io`]. The labels of an IOB1 classifier in
    /// which every type has `B` are read as IOB2, which yields the same entities.
    pub fn learn<S: Into<String>>(names: impl IntoIterator<Item = S>) -> Result<Self, LabelError> {
        let names: Vec<String> = names.into_iter().map(Into::into).collect();
        let naming = learn(&names)?;
        Self::new(names, naming)
    }

    fn new(names: Vec<String>, naming: Naming) -> Result<Self, LabelError> {
        let mut seen = HashSet::with_capacity(names.len());
        if let Some(name) = names.iter().find(|name| !seen.insert(name.as_str())) {
            return Err(LabelError::Duplicate { name: name.clone() });
        }
        let mut ids = HashMap::with_capacity(names.len());
        for (id, &tag) in naming.tags.iter().enumerate() {
            ids.entry(tag).or_insert(LabelId(id));
        }
        let outside = *ids.get(&Tag::Outside).ok_or(LabelError::MissingOutside)?;
        Ok(Self {
            scheme: naming.scheme,
            names,
            tags: naming.tags,
            types: naming.types,
            ids,
            outside,
        })
    }

    /// The IOB2 label set of a Hugging Face `id2label` map from decimal ids to names.
    pub fn from_id2label(id2label: &BTreeMap<String, String>) -> Result<Self, LabelError> {
        Self::from_names(names_in_order(id2label)?)
    }

    /// [`Self::learn`] of a Hugging Face `id2label` map.
    pub fn learn_id2label(id2label: &BTreeMap<String, String>) -> Result<Self, LabelError> {
        Self::learn(names_in_order(id2label)?)
    }

    /// The label set `O`, then `B-X` and `I-X` for each type in the given order. A repeated type is an error.
    pub fn iob2<S: AsRef<str>>(types: impl IntoIterator<Item = S>) -> Result<Self, LabelError> {
        let names = types.into_iter().flat_map(|name| {
            let name = name.as_ref();
            [format!("B-{name}"), format!("I-{name}")]
        });
        Self::from_names(std::iter::once("O".to_owned()).chain(names))
    }

    /// The scheme in which the labels encode entities.
    pub fn scheme(&self) -> TagScheme {
        self.scheme
    }

    /// The IOB2 tags of the entities that the labels of words encode. The tags of an IOB2 set are returned unchanged, with
    /// orphan `I-` tags. In other schemes an orphan starts an entity.
    pub fn iob2_tags(&self, words: impl IntoIterator<Item = LabelId>) -> Vec<Tag> {
        let own: Vec<Tag> = words
            .into_iter()
            .map(|label| self.tag(label).unwrap_or(Tag::Outside))
            .collect();
        if self.scheme == TagScheme::Iob2 {
            return own;
        }
        let count = own.len();
        // Entities read from tags never overlap, so `tags` always succeeds.
        tags(&entities(own, OrphanRule::Start), count).unwrap_or_default()
    }

    /// The labels by which this set encodes the entities of words with these IOB2 tags; `None` for a word whose label the set
    /// does not have.
    ///
    /// In an IOB2 set these are the labels of the same names. In other schemes an orphan `I-X` starts an entity.
    pub fn encode(&self, tags: &[String]) -> Vec<Option<LabelId>> {
        if self.scheme == TagScheme::Iob2 {
            return tags.iter().map(|tag| self.parse(tag)).collect();
        }
        let types = |tag: &String| tag.split_once('-').map(|(_, name)| name.to_owned());
        let types: BTreeSet<String> = tags.iter().filter_map(types).collect();
        let Ok(gold) = Self::iob2(types) else {
            return vec![None; tags.len()];
        };
        let tag = |name: &String| gold.parse(name).and_then(|label| gold.tag(label));
        let words = tags.iter().map(|name| tag(name).unwrap_or(Tag::Outside));
        let mut labels = vec![Some(self.outside); tags.len()];
        let mut previous = None;
        for entity in entities(words, OrphanRule::Start) {
            let of = gold
                .type_name(entity.entity_type)
                .and_then(|name| self.parse_type(name));
            let adjacent = previous == Some((entity.words.start(), entity.entity_type));
            previous = Some((entity.words.end(), entity.entity_type));
            let last = entity.words.len() - 1;
            for (at, label) in labels[entity.words.range()].iter_mut().enumerate() {
                *label = of.and_then(|of| self.id(self.position(of, at, last, adjacent)));
            }
        }
        labels
    }

    /// The tag of the word `at` of an entity whose last word is `last`; `adjacent`: an entity of the same type ends before it.
    fn position(&self, of: EntityType, at: usize, last: usize, adjacent: bool) -> Tag {
        match self.scheme {
            TagScheme::Iobes if last == 0 => Tag::Single(of),
            TagScheme::Iobes if at == last => Tag::End(of),
            TagScheme::Iobes | TagScheme::Iob2 if at == 0 => Tag::Begin(of),
            TagScheme::Iob1 if at == 0 && adjacent => Tag::Begin(of),
            TagScheme::Iobes | TagScheme::Iob2 | TagScheme::Iob1 | TagScheme::Io | TagScheme::Plain => {
                Tag::Inside(of)
            }
        }
    }

    /// The Hugging Face `id2label` map of this set.
    pub fn id2label(&self) -> BTreeMap<String, String> {
        let names = self.names.iter().enumerate();
        names.map(|(id, name)| (id.to_string(), name.clone())).collect()
    }

    /// The number of labels, which is the length of a row of logits.
    pub fn len(&self) -> usize {
        self.names.len()
    }

    /// Always false: a label set contains at least `O`.
    pub fn is_empty(&self) -> bool {
        self.names.is_empty()
    }

    /// The label names, in the order of the classifier's outputs.
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// The entity types, in the order of their first label.
    pub fn types(&self) -> &[String] {
        &self.types
    }

    /// The id of `O`.
    pub fn outside(&self) -> LabelId {
        self.outside
    }

    /// The name of a label. `None` if the set does not contain the id.
    pub fn name(&self, id: LabelId) -> Option<&str> {
        self.names.get(id.0).map(String::as_str)
    }

    /// The tag of a label. `None` if the set does not contain the id.
    pub fn tag(&self, id: LabelId) -> Option<Tag> {
        self.tags.get(id.0).copied()
    }

    /// The label of a tag. `None` if the set does not contain it, such as `I-X` of a type that only has `B-X`.
    pub fn id(&self, tag: Tag) -> Option<LabelId> {
        self.ids.get(&tag).copied()
    }

    /// The label with this name. `None` if the set does not contain it.
    pub fn parse(&self, name: &str) -> Option<LabelId> {
        self.names.iter().position(|n| n == name).map(LabelId)
    }

    /// The name of an entity type. `None` if the set does not contain the type.
    pub fn type_name(&self, entity_type: EntityType) -> Option<&str> {
        self.types.get(entity_type.0).map(String::as_str)
    }

    /// The entity type with this name. `None` if the set does not contain it.
    pub fn parse_type(&self, name: &str) -> Option<EntityType> {
        self.types.iter().position(|n| n == name).map(EntityType)
    }
}

/// The names of an `id2label` map in order of their ids, which must be 0 to n-1.
fn names_in_order(id2label: &BTreeMap<String, String>) -> Result<Vec<String>, LabelError> {
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
    Ok(by_id.into_values().map(str::to_owned).collect())
}

/// The IOB2 tag with this name. Adds its type to `types` if it is new.
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
    fn entities_are_encoded_in_the_scheme_of_the_set() {
        let encoded = |names: &[&str]| {
            let labels = LabelSet::learn(names.iter().copied()).unwrap();
            let tags = "B-a B-a I-a I-a O B-b I-c".split(' ').map(str::to_owned);
            let found = labels.encode(&tags.collect::<Vec<_>>());
            let name =
                |label: Option<LabelId>| label.map_or("-", |label| labels.name(label).unwrap()).to_owned();
            found.into_iter().map(name).collect::<Vec<_>>().join(" ")
        };
        assert_eq!(encoded(&["O", "B-a", "I-a", "B-b"]), "B-a B-a I-a I-a O B-b -");
        assert_eq!(
            encoded(&["O", "B-a", "I-a", "E-a", "S-a", "S-b"]),
            "S-a B-a I-a E-a O S-b -"
        );
        assert_eq!(encoded(&["O", "I-a", "B-a", "I-b"]), "I-a B-a I-a I-a O I-b -");
        assert_eq!(encoded(&["O", "a", "b"]), "a a a a O b -");
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
        // More than ten labels, because "10" sorts before "2" as text.
        let many: BTreeMap<_, _> = LabelSet::iob2(["a", "b", "c", "d", "e", "f"]).unwrap().id2label();
        assert_eq!(
            LabelSet::from_id2label(&many).unwrap().name(LabelId(12)).unwrap(),
            "I-f"
        );
    }
}
