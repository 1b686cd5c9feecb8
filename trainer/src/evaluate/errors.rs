//! The entity errors of a tagger: missed, invented, wrongly bounded and wrongly typed entities, counted and listed.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::ops::Range;

use nerve_tagging::{Entity, LabelSet, WordSpan};
use serde::{Deserialize, Serialize};

/// The number of words shown before and after an error.
const CONTEXT: usize = 8;

/// The kind of an entity error.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ErrorKind {
    /// A gold entity without a prediction.
    Missed,
    /// A prediction without a gold entity.
    Invented,
    /// A pair of the same type with different boundaries.
    WrongBoundary,
    /// A pair of different types, whatever their boundaries.
    WrongType,
}

/// A gold entity and its prediction, as indices; one without the other is unpaired.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pair {
    /// The index of the gold entity.
    pub gold: Option<usize>,
    /// The index of the prediction.
    pub predicted: Option<usize>,
}

/// Pairs the gold entities of a sentence with its predictions; each of them is in exactly one pair.
///
/// Only entities that share a word are paired. The best pairs are made first, and each entity is used once. Pairs
/// rank by: equal boundaries and type, then equal boundaries, then equal types, then any other. Among equals, the
/// pair with most common words comes first, then the earlier gold entity, then the earlier prediction. The rest stays
/// unpaired. So if a long entity is predicted as two pieces, one piece is a wrong boundary and the other is invented;
/// of nested entities, each gets the prediction that fits it best.
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

/// The error counts of one entity type.
///
/// The number of its gold entities is `correct + missed + wrong_boundary + mistyped`; the number of its predictions
/// is `correct + invented + wrong_boundary + mistaken`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TypeErrors {
    /// Pairs with equal boundaries and type.
    pub correct: usize,
    /// Gold entities without a prediction.
    pub missed: usize,
    /// Predictions without a gold entity.
    pub invented: usize,
    /// Pairs of this type with different boundaries.
    pub wrong_boundary: usize,
    /// Gold entities of this type that are predicted as another type.
    pub mistyped: usize,
    /// Predictions of this type whose gold entity has another type.
    pub mistaken: usize,
}

/// A typed span of the shown words.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShownEntity {
    /// The index of its first word.
    pub start: usize,
    /// The index after its last word.
    pub end: usize,
    /// The entity type.
    #[serde(rename = "type")]
    pub entity_type: String,
}

/// One error with its context.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EntityError {
    /// The kind of error.
    pub kind: ErrorKind,
    /// The index of the sentence, counted from 0.
    pub sentence: usize,
    /// The index in the sentence of the first of `words`.
    #[serde(default)]
    pub first_word: usize,
    /// The words of the error and of its context.
    pub words: Vec<String>,
    /// Whether the sentence has words before `words`.
    pub cut_before: bool,
    /// Whether the sentence has words after `words`.
    pub cut_after: bool,
    /// The gold entity, as indices into `words`; absent if the prediction is invented.
    pub gold: Option<ShownEntity>,
    /// The prediction, as indices into `words`; absent if the gold entity is missed.
    pub predicted: Option<ShownEntity>,
}

impl EntityError {
    /// The words of the sentence that its gold entity or its prediction covers.
    pub fn covered_words(&self) -> Range<usize> {
        let spans = || [&self.gold, &self.predicted].into_iter().flatten();
        let start = spans().map(|span| span.start).min().unwrap_or_default();
        let end = spans().map(|span| span.end).max().unwrap_or_default();
        self.first_word + start..self.first_word + end
    }
}

/// All entity errors of a tagger on a corpus, with the counts of correct predictions.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ErrorAnalysis {
    /// The entity types of gold and predicted entities, sorted. They are the rows and columns of `confusion`.
    pub types: Vec<String>,
    /// The number of pairs by gold type (row) and predicted type (column). The last column counts missed entities,
    /// the last row invented ones. A pair with different boundaries counts under its type.
    pub confusion: Vec<Vec<usize>>,
    /// The counts by entity type.
    pub by_type: BTreeMap<String, TypeErrors>,
    /// All errors, in text order.
    pub errors: Vec<EntityError>,
}

/// The words, gold entities and predicted entities of a sentence.
pub type AnalyzedSentence<'s> = (&'s [String], &'s [Entity], &'s [Entity]);

/// The errors in sentences whose entity types are those of `labels`.
pub fn analyze_errors<'s>(
    labels: &LabelSet,
    sentences: impl IntoIterator<Item = AnalyzedSentence<'s>>,
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
                        first_word: window.0,
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

/// The kind of error of a pair; `None` if the pair is correct.
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
