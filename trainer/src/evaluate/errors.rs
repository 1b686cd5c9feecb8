//! What a tagger gets wrong: missed, invented, wrongly bounded and wrongly typed entities, counted and shown.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use nerve_tagging::{Entity, LabelSet, WordSpan};
use serde::{Deserialize, Serialize};

/// Words shown on either side of an error.
const CONTEXT: usize = 8;

/// What a gold entity and a prediction are to each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ErrorKind {
    /// A gold entity with no prediction.
    Missed,
    /// A prediction with no gold entity.
    Invented,
    /// A pair of one type that starts or ends elsewhere.
    WrongBoundary,
    /// A pair of two types, whatever their bounds.
    WrongType,
}

/// A gold entity and the prediction it is paired with, by their positions; one of them alone has no partner.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pair {
    /// The gold entity.
    pub gold: Option<usize>,
    /// The prediction.
    pub predicted: Option<usize>,
}

/// The pairing of a sentence's gold entities with its predictions: each stands in exactly one pair.
///
/// Of all that share a word, the best pairs are taken first, each entity once: equal bounds and type, then equal bounds,
/// then equal types, then any; among those the pair with most words in common, then the earlier gold entity, then the
/// earlier prediction. Whatever is left has no partner. So of a long entity found in two pieces, one piece is the entity
/// with a wrong boundary and the other is invented; of nested entities, each takes the prediction that fits it best.
pub fn pair_entities(gold: &[Entity], predicted: &[Entity]) -> Vec<Pair> {
    let mut candidates = Vec::new();
    for (g, gold) in gold.iter().enumerate() {
        for (p, predicted) in predicted.iter().enumerate() {
            let common = common_words(gold.words, predicted.words);
            if common == 0 {
                continue;
            }
            let rank = match (
                gold.words == predicted.words,
                gold.entity_type == predicted.entity_type,
            ) {
                (true, true) => 0,
                (true, false) => 1,
                (false, true) => 2,
                (false, false) => 3,
            };
            candidates.push((rank, Reverse(common), g, p));
        }
    }
    candidates.sort_unstable();
    let mut partners: Vec<Option<usize>> = vec![None; gold.len()];
    let mut taken = vec![false; predicted.len()];
    for (_, _, g, p) in candidates {
        if partners[g].is_none() && !taken[p] {
            partners[g] = Some(p);
            taken[p] = true;
        }
    }
    let of_gold = partners.into_iter().enumerate().map(|(g, predicted)| Pair {
        gold: Some(g),
        predicted,
    });
    let left = taken.iter().enumerate().filter(|(_, taken)| !**taken);
    let of_predicted = left.map(|(p, _)| Pair {
        gold: None,
        predicted: Some(p),
    });
    of_gold.chain(of_predicted).collect()
}

fn common_words(one: WordSpan, other: WordSpan) -> usize {
    one.end()
        .min(other.end())
        .saturating_sub(one.start().max(other.start()))
}

/// One type's gold entities and predictions, each counted once.
///
/// Its gold entities are `correct + missed + wrong_boundary + mistyped`, its predictions
/// `correct + invented + wrong_boundary + mistaken`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TypeErrors {
    /// Pairs of equal bounds and type.
    pub correct: usize,
    /// Gold entities with no prediction.
    pub missed: usize,
    /// Predictions with no gold entity.
    pub invented: usize,
    /// Pairs of this type with other bounds.
    pub wrong_boundary: usize,
    /// Gold entities of this type that are predicted as another.
    pub mistyped: usize,
    /// Predictions of this type whose gold entity is of another.
    pub mistaken: usize,
}

/// A typed span of the words shown.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShownEntity {
    /// Its first word.
    pub start: usize,
    /// The first word after it.
    pub end: usize,
    /// Its type.
    #[serde(rename = "type")]
    pub entity_type: String,
}

/// One error and the words around it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EntityError {
    /// What is wrong.
    pub kind: ErrorKind,
    /// The sentence, counted from 0.
    pub sentence: usize,
    /// The words around the error.
    pub words: Vec<String>,
    /// Whether the sentence has words before these.
    pub cut_before: bool,
    /// Whether the sentence has words after these.
    pub cut_after: bool,
    /// The gold entity, in positions of `words`; absent where it is invented.
    pub gold: Option<ShownEntity>,
    /// The prediction, in positions of `words`; absent where it is missed.
    pub predicted: Option<ShownEntity>,
}

/// Everything a tagger got wrong on a corpus, and how much it got right.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ErrorAnalysis {
    /// The types that occur in gold or prediction, sorted: rows and columns of `confusion`.
    pub types: Vec<String>,
    /// Pairs by gold type (row) and predicted type (column). The last column counts what is missed, the last row what is
    /// invented; a pair with a wrong boundary counts as one of its type.
    pub confusion: Vec<Vec<usize>>,
    /// The counts of each type, by name.
    pub by_type: BTreeMap<String, TypeErrors>,
    /// All errors, in order of the text.
    pub errors: Vec<EntityError>,
}

/// A sentence's words, gold entities and predictions.
pub type AnalysedSentence<'s> = (&'s [String], &'s [Entity], &'s [Entity]);

/// The errors in sentences whose entity types are those of `labels`.
pub fn analyse_errors<'s>(
    labels: &LabelSet,
    sentences: impl IntoIterator<Item = AnalysedSentence<'s>>,
) -> ErrorAnalysis {
    let name = |entity: &Entity| labels.type_name(entity.entity_type).unwrap_or("?").to_owned();
    let mut cells: BTreeMap<(Option<String>, Option<String>), usize> = BTreeMap::new();
    let mut by_type: BTreeMap<String, TypeErrors> = BTreeMap::new();
    let mut errors = Vec::new();
    for (sentence, (words, gold, predicted)) in sentences.into_iter().enumerate() {
        let mut found = Vec::new();
        for pair in pair_entities(gold, predicted) {
            let of_gold = pair.gold.map(|at| &gold[at]);
            let of_predicted = pair.predicted.map(|at| &predicted[at]);
            let cell = (of_gold.map(name), of_predicted.map(name));
            let kind = kind(of_gold, of_predicted);
            count(&mut by_type, &cell, kind);
            *cells.entry(cell).or_default() += 1;
            let spans = [of_gold, of_predicted].into_iter().flatten();
            let around = spans.map(|entity| entity.words).reduce(WordSpan::cover);
            if let (Some(kind), Some(around)) = (kind, around) {
                let shown = |entity: &Entity, (start, _): (usize, usize)| ShownEntity {
                    start: entity.words.start() - start,
                    end: entity.words.end() - start,
                    entity_type: name(entity),
                };
                let window = (
                    around.start().saturating_sub(CONTEXT),
                    words.len().min(around.end() + CONTEXT),
                );
                found.push((
                    around,
                    EntityError {
                        kind,
                        sentence,
                        words: words.get(window.0..window.1).unwrap_or_default().to_vec(),
                        cut_before: window.0 > 0,
                        cut_after: window.1 < words.len(),
                        gold: of_gold.map(|entity| shown(entity, window)),
                        predicted: of_predicted.map(|entity| shown(entity, window)),
                    },
                ));
            }
        }
        found.sort_by_key(|(around, _)| *around);
        errors.extend(found.into_iter().map(|(_, error)| error));
    }
    let types: Vec<String> = by_type.keys().cloned().collect();
    let names = || types.iter().map(Some).chain([None]);
    let confusion = names()
        .map(|gold| {
            let cell = |predicted: Option<&String>| {
                let key = (gold.cloned(), predicted.cloned());
                cells.get(&key).copied().unwrap_or_default()
            };
            names().map(cell).collect()
        })
        .collect();
    ErrorAnalysis {
        types,
        confusion,
        by_type,
        errors,
    }
}

/// What is wrong with a pair; `None` where nothing is.
fn kind(gold: Option<&Entity>, predicted: Option<&Entity>) -> Option<ErrorKind> {
    match (gold, predicted) {
        (Some(gold), Some(predicted)) if gold == predicted => None,
        (Some(gold), Some(predicted)) if gold.entity_type == predicted.entity_type => {
            Some(ErrorKind::WrongBoundary)
        }
        (Some(_), Some(_)) => Some(ErrorKind::WrongType),
        (Some(_), None) => Some(ErrorKind::Missed),
        (None, _) => Some(ErrorKind::Invented),
    }
}

fn count(
    by_type: &mut BTreeMap<String, TypeErrors>,
    (gold, predicted): &(Option<String>, Option<String>),
    kind: Option<ErrorKind>,
) {
    let mut add = |name: &Option<String>, field: fn(&mut TypeErrors) -> &mut usize| {
        if let Some(name) = name {
            *field(by_type.entry(name.clone()).or_default()) += 1;
        }
    };
    match kind {
        None => add(gold, |counts| &mut counts.correct),
        Some(ErrorKind::Missed) => add(gold, |counts| &mut counts.missed),
        Some(ErrorKind::Invented) => add(predicted, |counts| &mut counts.invented),
        Some(ErrorKind::WrongBoundary) => add(gold, |counts| &mut counts.wrong_boundary),
        Some(ErrorKind::WrongType) => {
            add(gold, |counts| &mut counts.mistyped);
            add(predicted, |counts| &mut counts.mistaken);
        }
    }
}

#[cfg(test)]
mod tests;
