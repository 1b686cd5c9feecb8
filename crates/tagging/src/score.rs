//! Entity and surface-form precision, recall and F1, as the WNUT-17 scorer defines them.

use std::collections::{BTreeMap, HashSet};

use serde::{Deserialize, Serialize};

use crate::entity::{Entity, OrphanRule, entities};
use crate::label::LabelSet;
use crate::tag::Tag;

/// The numbers of gold, predicted and correct entities.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// Entities of the gold standard.
    pub gold: usize,
    /// Entities that the tagger predicted.
    pub predicted: usize,
    /// Entities in both, with equal boundaries and type.
    pub correct: usize,
}

/// Precision, recall and F1, as fractions from 0 to 1. Each is 0 if its denominator is 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Prf {
    /// Correct divided by predicted.
    pub precision: f64,
    /// Correct divided by gold.
    pub recall: f64,
    /// The harmonic mean of precision and recall.
    pub f1: f64,
}

impl Counts {
    /// Precision, recall and F1 of these counts.
    pub fn prf(self) -> Prf {
        let fraction = |of: usize| {
            if of == 0 {
                0.0
            } else {
                self.correct as f64 / of as f64
            }
        };
        let both = self.gold + self.predicted;
        Prf {
            precision: fraction(self.predicted),
            recall: fraction(self.gold),
            f1: if both == 0 {
                0.0
            } else {
                2.0 * self.correct as f64 / both as f64
            },
        }
    }
}

/// The score of one entity type.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TypeScore {
    /// Entity-level counts of the type.
    pub counts: Counts,
    /// Entity-level precision, recall and F1 of the type.
    #[serde(flatten)]
    pub entity: Prf,
    /// Surface-form precision, recall and F1 of the type.
    pub surface: Prf,
}

/// The scores of a tagger on a corpus.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Score {
    /// Micro-averaged over all entities.
    pub entity: Prf,
    /// Micro-averaged over unique (words, type) pairs.
    pub surface: Prf,
    /// Entity-level precision, recall and F1, averaged over the types that occur in gold or prediction.
    pub macro_average: Prf,
    /// Entity-level counts.
    pub counts: Counts,
    /// Surface-form counts.
    pub surface_counts: Counts,
    /// The fraction of words whose predicted tag equals the gold tag.
    pub token_accuracy: f64,
    /// The number of sentences.
    pub sentences: usize,
    /// The number of words.
    pub words: usize,
    /// The score of each entity type that occurs, by name.
    pub types: BTreeMap<String, TypeScore>,
}

#[derive(Default)]
struct TypeTally {
    counts: Counts,
    gold: HashSet<Vec<String>>,
    predicted: HashSet<Vec<String>>,
    correct: HashSet<Vec<String>>,
}

impl TypeTally {
    fn surface_counts(&self) -> Counts {
        Counts {
            gold: self.gold.len(),
            predicted: self.predicted.len(),
            correct: self.correct.len(),
        }
    }
}

/// An accumulator of sentences that yields their [`Score`].
///
/// An entity is *correct* if sentence, start, end and type are equal. The surface score reduces gold, predicted and correct each to
/// unique pairs of case-sensitive words and type (Derczynski et al. 2017, *Results of the WNUT2017 Shared Task*).
pub struct Scorer<'l> {
    labels: &'l LabelSet,
    orphans: OrphanRule,
    types: Vec<TypeTally>,
    sentences: usize,
    words: usize,
    equal_tags: usize,
}

impl<'l> Scorer<'l> {
    /// A scorer for these labels. `orphans` is applied to gold and predicted tags alike.
    pub fn new(labels: &'l LabelSet, orphans: OrphanRule) -> Self {
        let types = labels.types().iter().map(|_| TypeTally::default()).collect();
        Self {
            labels,
            orphans,
            types,
            sentences: 0,
            words: 0,
            equal_tags: 0,
        }
    }

    /// Adds one sentence, with one gold and one predicted tag per word. Tags missing at the end count as `O`.
    pub fn add(&mut self, words: &[String], gold: &[Tag], predicted: &[Tag]) {
        self.sentences += 1;
        self.words += words.len();
        let tag = |tags: &[Tag], word: usize| tags.get(word).copied().unwrap_or(Tag::Outside);
        self.equal_tags += (0..words.len())
            .filter(|&word| tag(gold, word) == tag(predicted, word))
            .count();
        let gold = entities(gold.iter().copied(), self.orphans);
        let predicted = entities(predicted.iter().copied(), self.orphans);
        let gold_set: HashSet<Entity> = gold.iter().copied().collect();
        for entity in &gold {
            self.count(entity, words, |tally, surface| {
                tally.counts.gold += 1;
                tally.gold.insert(surface);
            });
        }
        for entity in &predicted {
            self.count(entity, words, |tally, surface| {
                tally.counts.predicted += 1;
                if gold_set.contains(entity) {
                    tally.counts.correct += 1;
                    tally.correct.insert(surface.clone());
                }
                tally.predicted.insert(surface);
            });
        }
    }

    fn count(&mut self, entity: &Entity, words: &[String], tally: impl FnOnce(&mut TypeTally, Vec<String>)) {
        let surface = words.get(entity.words.range()).unwrap_or_default().to_vec();
        if let Some(of_type) = self.types.get_mut(entity.entity_type.0) {
            tally(of_type, surface);
        }
    }

    /// The score of all sentences added so far.
    pub fn finish(&self) -> Score {
        let mut counts = Counts::default();
        let mut surface_counts = Counts::default();
        let mut types = BTreeMap::new();
        for (name, tally) in self.labels.types().iter().zip(&self.types) {
            let of_surface = tally.surface_counts();
            for (total, part) in [(&mut counts, tally.counts), (&mut surface_counts, of_surface)] {
                total.gold += part.gold;
                total.predicted += part.predicted;
                total.correct += part.correct;
            }
            if tally.counts.gold + tally.counts.predicted > 0 {
                types.insert(
                    name.clone(),
                    TypeScore {
                        counts: tally.counts,
                        entity: tally.counts.prf(),
                        surface: of_surface.prf(),
                    },
                );
            }
        }
        let mean = |part: fn(&Prf) -> f64| {
            // The sum of no numbers is -0.0.
            let sum = types
                .values()
                .map(|t| part(&t.entity))
                .fold(0.0, |sum, part| sum + part);
            sum / types.len().max(1) as f64
        };
        Score {
            entity: counts.prf(),
            surface: surface_counts.prf(),
            macro_average: Prf {
                precision: mean(|p| p.precision),
                recall: mean(|p| p.recall),
                f1: mean(|p| p.f1),
            },
            counts,
            surface_counts,
            token_accuracy: self.equal_tags as f64 / self.words.max(1) as f64,
            sentences: self.sentences,
            words: self.words,
            types,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn score(orphans: OrphanRule, sentences: &[(&str, &str, &str)]) -> Score {
        let labels = LabelSet::iob2(["a", "b"]).unwrap();
        let mut scorer = Scorer::new(&labels, orphans);
        for (words, gold, predicted) in sentences {
            let tags = |names: &str| -> Vec<Tag> {
                let ids = names.split(' ').map(|n| labels.parse(n).unwrap());
                ids.map(|id| labels.tag(id).unwrap()).collect()
            };
            let words: Vec<String> = words.split(' ').map(str::to_owned).collect();
            scorer.add(&words, &tags(gold), &tags(predicted));
        }
        scorer.finish()
    }

    fn counts(gold: usize, predicted: usize, correct: usize) -> Counts {
        Counts {
            gold,
            predicted,
            correct,
        }
    }

    #[test]
    fn boundary_and_type_must_both_agree() {
        let wrong_type = score(OrphanRule::Start, &[("x y", "B-a I-a", "B-b I-b")]);
        assert_eq!(wrong_type.counts, counts(1, 1, 0));
        let wrong_end = score(OrphanRule::Start, &[("x y", "B-a I-a", "B-a O")]);
        assert_eq!(wrong_end.counts, counts(1, 1, 0));
        assert_eq!(wrong_end.token_accuracy, 0.5);
    }

    #[test]
    fn an_orphan_counts_unless_strict() {
        let sentences = [("x y", "B-a O", "I-a O")];
        assert_eq!(score(OrphanRule::Start, &sentences).counts, counts(1, 1, 1));
        assert_eq!(score(OrphanRule::Drop, &sentences).counts, counts(1, 0, 0));
    }

    #[test]
    fn a_repeated_name_counts_once_on_the_surface() {
        let found = score(
            OrphanRule::Start,
            &[
                ("X y", "B-a O", "B-a O"),
                ("X y", "B-a O", "O O"),
                ("x y", "B-a O", "O O"),
            ],
        );
        assert_eq!(found.counts, counts(3, 1, 1));
        assert_eq!(found.surface_counts, counts(2, 1, 1));
    }

    #[test]
    fn nothing_found_is_zero_not_a_number_gone_wrong() {
        let nothing = score(OrphanRule::Start, &[("x", "O", "O")]);
        assert_eq!(nothing.entity, Prf::default());
        assert_eq!(nothing.macro_average.f1.to_string(), "0");
        assert_eq!(nothing.token_accuracy, 1.0);
    }
}
