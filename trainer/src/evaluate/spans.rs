//! Scores of entities as spans of running text.

use std::collections::{BTreeMap, HashSet};

use nerve_tagging::{ByteSpan, Counts, Prf};
use serde::Serialize;

/// A typed span of a text.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct TextEntity {
    /// The bytes of the text that the entity covers.
    pub span: ByteSpan,
    /// The entity type.
    pub entity_type: String,
}

/// The scores of predicted spans.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct SpanScore {
    /// Precision, recall and F1 over all types.
    pub entity: Prf,
    /// The counts over all types.
    pub counts: Counts,
    /// Precision, recall and F1 of each type that occurs, by type name.
    pub types: BTreeMap<String, Prf>,
}

/// Scores the predicted entities of texts; each text is given as its gold and its predicted entities. A prediction is
/// correct if a gold entity has the same start, end and type.
pub fn score_spans<'e>(texts: impl IntoIterator<Item = (&'e [TextEntity], &'e [TextEntity])>) -> SpanScore {
    let mut types: BTreeMap<&str, Counts> = BTreeMap::new();
    for (gold, found) in texts {
        let gold: HashSet<&TextEntity> = gold.iter().collect();
        let found: HashSet<&TextEntity> = found.iter().collect();
        for entity in &gold {
            types.entry(&entity.entity_type).or_default().gold += 1;
        }
        for entity in &found {
            let counts = types.entry(&entity.entity_type).or_default();
            counts.predicted += 1;
            counts.correct += usize::from(gold.contains(entity));
        }
    }
    let mut counts = Counts::default();
    for of_type in types.values() {
        counts.gold += of_type.gold;
        counts.predicted += of_type.predicted;
        counts.correct += of_type.correct;
    }
    SpanScore {
        entity: counts.prf(),
        counts,
        types: types
            .into_iter()
            .map(|(name, counts)| (name.to_owned(), counts.prf()))
            .collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entity(start: usize, end: usize, entity_type: &str) -> TextEntity {
        TextEntity {
            span: ByteSpan::new(start, end).unwrap(),
            entity_type: entity_type.to_owned(),
        }
    }

    #[test]
    fn start_end_and_type_must_agree_in_the_same_text() {
        let gold = [entity(0, 3, "a"), entity(5, 9, "b")];
        let found = [entity(0, 3, "a"), entity(5, 8, "b"), entity(0, 3, "b")];
        let score = score_spans([(&gold[..], &found[..]), (&[][..], &gold[..1])]);
        let expected = Counts {
            gold: 2,
            predicted: 4,
            correct: 1,
        };
        assert_eq!(score.counts, expected);
        assert_eq!(score.types["a"].precision, 0.5);
        assert_eq!(score.types["b"].recall, 0.0);
    }

    #[test]
    fn nothing_is_zero() {
        assert_eq!(score_spans([]), SpanScore::default());
    }
}
