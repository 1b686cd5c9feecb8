//! The scheme, tags and entity types of a token classifier's label names.

use std::collections::BTreeSet;

use crate::label_error::LabelError;
use crate::scheme::TagScheme;
use crate::tag::{EntityType, Tag};

/// The scheme, tags and entity types read from a list of label names.
pub(crate) struct Naming {
    /// The scheme in which the labels encode entities.
    pub(crate) scheme: TagScheme,
    /// The tag of each name.
    pub(crate) tags: Vec<Tag>,
    /// The entity types, in the order of their first label.
    pub(crate) types: Vec<String>,
}

/// The form of a label name: `B-X`, `B_X`, `X-B` or `X_B`.
#[derive(Clone, Copy)]
struct Spelling {
    separator: char,
    letter_first: bool,
}

/// In order of precedence: `B-a_I` is `B` of the type `a_I`.
const SPELLINGS: [Spelling; 4] = [
    Spelling::new('-', true),
    Spelling::new('_', true),
    Spelling::new('-', false),
    Spelling::new('_', false),
];

/// A word's position in its entity.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Position {
    Begin,
    Inside,
    End,
    Single,
}

impl Spelling {
    const fn new(separator: char, letter_first: bool) -> Self {
        Self {
            separator,
            letter_first,
        }
    }

    /// The position and the entity type of a name. `None` if the name has another form.
    fn read(self, name: &str) -> Option<(Position, &str)> {
        let (letter, entity_type) = if self.letter_first {
            name.split_once(self.separator)?
        } else {
            let (entity_type, letter) = name.rsplit_once(self.separator)?;
            (letter, entity_type)
        };
        let position = match letter {
            "B" | "b" => Position::Begin,
            "I" | "i" | "M" | "m" => Position::Inside,
            "E" | "e" | "L" | "l" => Position::End,
            "S" | "s" | "U" | "u" => Position::Single,
            _ => return None,
        };
        (!entity_type.is_empty()).then_some((position, entity_type))
    }

    /// The position and type of each name, or `None` for `O`. `None` if one of the names has another form.
    fn read_all(self, names: &[String]) -> Option<Vec<Option<(Position, &str)>>> {
        let mut all = Vec::with_capacity(names.len());
        for name in names {
            all.push(if is_outside(name) {
                None
            } else {
                Some(self.read(name)?)
            });
        }
        Some(all)
    }
}

fn is_outside(name: &str) -> bool {
    name.eq_ignore_ascii_case("O")
}

/// Reads label names; see [`crate::LabelSet::learn`].
pub(crate) fn learn(names: &[String]) -> Result<Naming, LabelError> {
    if let Some(id) = names.iter().position(|name| is_placeholder(name)) {
        return Err(LabelError::Unnamed {
            id,
            name: names[id].clone(),
        });
    }
    if let Some(read) = SPELLINGS.iter().find_map(|spelling| spelling.read_all(names)) {
        return Ok(with_positions(&read));
    }
    // If one name has the form `B-X`, a name without it is an error and not an entity type.
    if names.iter().any(|name| SPELLINGS[0].read(name).is_some()) {
        let odd = |name: &String| !is_outside(name) && SPELLINGS[0].read(name).is_none();
        if let Some(id) = names.iter().position(odd) {
            return Err(LabelError::Mixed {
                id,
                name: names[id].clone(),
            });
        }
    }
    let mut types = Types::default();
    let tag = |name: &String| {
        if is_outside(name) {
            Tag::Outside
        } else {
            Tag::Inside(types.intern(name))
        }
    };
    Ok(Naming {
        tags: names.iter().map(tag).collect(),
        types: types.0,
        scheme: TagScheme::Plain,
    })
}

/// Whether `transformers` generated the name, such as `LABEL_0`.
fn is_placeholder(name: &str) -> bool {
    name.strip_prefix("LABEL_")
        .is_some_and(|number| !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit()))
}

fn with_positions(read: &[Option<(Position, &str)>]) -> Naming {
    let mut types = Types::default();
    let tag = |name: &Option<(Position, &str)>| match *name {
        None => Tag::Outside,
        Some((Position::Begin, of)) => Tag::Begin(types.intern(of)),
        Some((Position::Inside, of)) => Tag::Inside(types.intern(of)),
        Some((Position::End, of)) => Tag::End(types.intern(of)),
        Some((Position::Single, of)) => Tag::Single(types.intern(of)),
    };
    Naming {
        tags: read.iter().map(tag).collect(),
        types: types.0,
        scheme: scheme(read),
    }
}

fn scheme(read: &[Option<(Position, &str)>]) -> TagScheme {
    let of = |position: Position| -> BTreeSet<&str> {
        let found = read.iter().flatten().filter(|(at, _)| *at == position);
        found.map(|(_, entity_type)| *entity_type).collect()
    };
    let (begin, inside) = (of(Position::Begin), of(Position::Inside));
    if !of(Position::End).is_empty() || !of(Position::Single).is_empty() {
        TagScheme::Iobes
    } else if inside.is_subset(&begin) {
        TagScheme::Iob2
    } else if begin.is_empty() {
        TagScheme::Io
    } else {
        TagScheme::Iob1
    }
}

/// Entity types in the order of their first label.
#[derive(Default)]
struct Types(Vec<String>);

impl Types {
    fn intern(&mut self, name: &str) -> EntityType {
        let known = self.0.iter().position(|known| known == name);
        EntityType(known.unwrap_or_else(|| {
            self.0.push(name.to_owned());
            self.0.len() - 1
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::entity::{Entity, OrphanRule, entities};
    use crate::label::LabelSet;
    use crate::span::WordSpan;
    use proptest::prelude::*;

    #[test]
    fn a_scheme_is_learnt_from_the_names() {
        let cases: [(&[&str], TagScheme, &[&str]); 12] = [
            (&["O", "B-a", "I-a", "B-b-c"], TagScheme::Iob2, &["a", "b-c"]),
            (&["B-a", "I-a", "I-b", "O"], TagScheme::Iob1, &["a", "b"]),
            (&["I-a", "O", "I-b"], TagScheme::Io, &["a", "b"]),
            (&["O", "B-a", "I-a", "E-a", "S-a"], TagScheme::Iobes, &["a"]),
            (&["O", "B-a", "I-a", "L-a", "U-a"], TagScheme::Iobes, &["a"]),
            (&["O", "B-a", "M-a", "E-a", "S-a"], TagScheme::Iobes, &["a"]),
            (&["O", "B_a_b", "I_a_b"], TagScheme::Iob2, &["a_b"]),
            (&["O", "a-x-B", "a-x-I"], TagScheme::Iob2, &["a-x"]),
            (&["O", "a_B", "a_I"], TagScheme::Iob2, &["a"]),
            (&["o", "b-a", "i-a"], TagScheme::Iob2, &["a"]),
            (&["PER", "O", "LOC-GPE"], TagScheme::Plain, &["PER", "LOC-GPE"]),
            (&["O"], TagScheme::Iob2, &[]),
        ];
        for (names, scheme, types) in cases {
            let labels = LabelSet::learn(names.iter().copied()).unwrap();
            assert_eq!(
                (labels.scheme(), labels.types()),
                (
                    scheme,
                    &types.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>()[..]
                ),
                "{names:?}"
            );
            assert!(labels.name(labels.outside()).unwrap().eq_ignore_ascii_case("o"));
        }
    }

    #[test]
    fn names_that_spell_no_entities_are_refused() {
        let error = |names: &[&str]| LabelSet::learn(names.iter().copied()).unwrap_err();
        assert!(matches!(
            error(&["LABEL_0", "LABEL_1"]),
            LabelError::Unnamed { id: 0, .. }
        ));
        assert!(matches!(
            error(&["O", "LABEL_1"]),
            LabelError::Unnamed { id: 1, .. }
        ));
        assert!(matches!(
            error(&["O", "B-a", "I-a", "X"]),
            LabelError::Mixed { id: 3, .. }
        ));
        assert!(matches!(
            error(&["O", "B-a", "B-"]),
            LabelError::Mixed { id: 2, .. }
        ));
        assert_eq!(error(&["NOUN", "VERB"]), LabelError::MissingOutside);
        assert_eq!(error(&["B-a", "I-a"]), LabelError::MissingOutside);
        assert!(matches!(error(&["O", "a", "a"]), LabelError::Duplicate { .. }));
        assert_eq!(error(&[]), LabelError::MissingOutside);
    }

    #[test]
    fn iob2_keeps_its_orphans_and_other_schemes_have_none() {
        let tags = |names: &[&str], words: &[&str]| {
            let labels = LabelSet::learn(names.iter().copied()).unwrap();
            labels.iob2_tags(words.iter().map(|name| labels.parse(name).unwrap()))
        };
        let (begin, inside) = (Tag::Begin(EntityType(0)), Tag::Inside(EntityType(0)));
        assert_eq!(tags(&["O", "B-a", "I-a"], &["I-a", "I-a"]), [inside, inside]);
        assert_eq!(tags(&["O", "a"], &["a", "a"]), [begin, inside]);
        assert_eq!(
            tags(&["O", "B-a", "L-a", "U-a"], &["U-a", "B-a", "L-a"]),
            [begin, begin, inside]
        );
    }

    /// The position letter of each word of an entity in a scheme; `None` where the scheme has no letters.
    fn letters(scheme: usize, length: usize) -> Vec<Option<char>> {
        let (first, inner, last, single) = match scheme {
            0 => (Some('B'), Some('I'), Some('I'), Some('B')),
            1 => (Some('B'), Some('I'), Some('E'), Some('S')),
            2 => (Some('B'), Some('I'), Some('L'), Some('U')),
            3 => (Some('B'), Some('M'), Some('E'), Some('S')),
            4 => (Some('I'), Some('I'), Some('I'), Some('I')),
            _ => (None, None, None, None),
        };
        match length {
            1 => vec![single],
            _ => {
                let mut all = vec![inner; length];
                (all[0], all[length - 1]) = (first, last);
                all
            }
        }
    }

    fn spell(letter: Option<char>, entity_type: &str, spelling: usize) -> String {
        match (letter, spelling) {
            (None, _) => entity_type.to_owned(),
            (Some(letter), 0) => format!("{letter}-{entity_type}"),
            (Some(letter), 1) => format!("{letter}_{entity_type}"),
            (Some(letter), 2) => format!("{entity_type}-{letter}"),
            (Some(letter), _) => format!("{entity_type}_{letter}"),
        }
    }

    proptest! {
        #[test]
        fn entities_written_in_any_scheme_are_read_back(
            plan in prop::collection::vec((1usize..3, 1usize..5, 0usize..3), 0..12),
            scheme in 0usize..6,
            spelling in 0usize..4,
            outside_at in 0usize..30,
        ) {
            const TYPES: [&str; 3] = ["person", "creative-work", "geo_political"];
            let mut names: Vec<String> = Vec::new();
            for entity_type in TYPES {
                for letter in letters(scheme, 1).into_iter().chain(letters(scheme, 3)) {
                    let name = spell(letter, entity_type, spelling);
                    if !names.contains(&name) {
                        names.push(name);
                    }
                }
            }
            names.insert(outside_at.min(names.len()), "O".to_owned());
            let labels = LabelSet::learn(names).unwrap();
            // IO and bare types cannot separate adjacent entities of one type, so `O` is put between them.
            let joins = scheme >= 4;
            let (mut words, mut expected) = (Vec::new(), Vec::new());
            for (gap, length, entity_type) in plan {
                let gap = if joins { gap } else { gap - 1 };
                words.extend(std::iter::repeat_n(labels.outside(), gap));
                let start = words.len();
                for letter in letters(scheme, length) {
                    words.push(labels.parse(&spell(letter, TYPES[entity_type], spelling)).unwrap());
                }
                expected.push(Entity {
                    words: WordSpan::new(start, words.len()).unwrap(),
                    entity_type: labels.parse_type(TYPES[entity_type]).unwrap(),
                });
            }
            let tags = words.iter().map(|&word| labels.tag(word).unwrap());
            prop_assert_eq!(&entities(tags, OrphanRule::Start), &expected);
            let rewritten = labels.iob2_tags(words);
            prop_assert_eq!(entities(rewritten, OrphanRule::Start), expected);
        }
    }
}
