//! The sentences that a run is trained and evaluated on: the train and dev splits, or the folds of the train split.

use std::cmp::Reverse;

use nerve_corpus::{Corpus, CorpusError, Splits, equal_sentences};

use crate::train::config::TrainConfig;
use crate::train::config::fold::Fold;
use crate::train::error::TrainError;
use crate::train::order;

/// The sentences to train on and those to evaluate on.
pub(crate) fn corpora(config: &TrainConfig, splits: &Splits) -> Result<(Corpus, Corpus), TrainError> {
    match config.fold {
        Some(fold) => divided(&splits.read_train()?, fold, config.seed),
        None => Ok(splits.read_train_and_dev()?),
    }
}

/// The sentences outside a fold, and those of the fold.
fn divided(corpus: &Corpus, fold: Fold, seed: u64) -> Result<(Corpus, Corpus), TrainError> {
    let folds = folds(corpus, fold.of, seed)?;
    let is_held_out: Vec<bool> = folds.iter().map(|number| *number == fold.number).collect();
    let is_rest: Vec<bool> = is_held_out.iter().map(|held_out| !held_out).collect();
    let rest = corpus.select(&is_rest);
    if !rest.has_entities() {
        return Err(CorpusError::NoEntities { path: rest.path }.into());
    }
    Ok((rest, corpus.select(&is_held_out)))
}

/// For each sentence of a corpus the number of its fold, counted from 1.
///
/// Sentences of the same words are in one fold, so that no model is evaluated on a sentence that it was trained on. The
/// distinct sentences are put in an order that the seed determines, the most frequent first; each goes to the smallest fold so
/// far.
fn folds(corpus: &Corpus, of: usize, seed: u64) -> Result<Vec<usize>, TrainError> {
    let groups = equal_sentences(&corpus.sentences);
    if groups.len() < of {
        return Err(TrainError::TooFewForFolds {
            path: corpus.path.clone(),
            sentences: groups.len(),
            folds: of,
        });
    }
    let mut sizes = vec![0; of];
    let mut folds = vec![0; corpus.sentences.len()];
    let mut order = order::shuffled(groups.len(), seed);
    order.sort_by_key(|group| Reverse(groups[*group].len()));
    for group in order {
        let smallest = (0..of).min_by_key(|fold| sizes[*fold]).unwrap_or_default();
        sizes[smallest] += groups[group].len();
        for &sentence in &groups[group] {
            folds[sentence] = smallest + 1;
        }
    }
    Ok(folds)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::evaluate::evaluation::tests::corpus;

    fn people(count: usize) -> Corpus {
        let sentence = |at: usize| format!("p{at}\tB-per\nsaid\tO\n\n");
        // The first person is named in three sentences of the same words.
        let mut text: String = (0..count).map(sentence).collect();
        text += &sentence(0).repeat(2);
        corpus(&text)
    }

    #[test]
    fn every_sentence_is_held_out_once_and_equal_ones_together() {
        let corpus = people(18);
        let held_out: Vec<Corpus> = (1..=4)
            .map(|number| {
                let (rest, held_out) = divided(&corpus, Fold { number, of: 4 }, 7).unwrap();
                assert_eq!(rest.sentences.len() + held_out.sentences.len(), 20);
                let is_in_both = held_out.sentences.iter().any(|one| rest.sentences.contains(one));
                assert!(!is_in_both);
                held_out
            })
            .collect();
        let sizes: Vec<usize> = held_out.iter().map(|fold| fold.sentences.len()).collect();
        assert_eq!(sizes, [5; 4]);
        let lines =
            |of: &Corpus| -> Vec<usize> { (0..of.sentences.len()).map(|at| of.line(at, 0)).collect() };
        let mut all: Vec<usize> = held_out.iter().flat_map(lines).collect();
        all.sort_unstable();
        assert_eq!(all, (0..20).map(|at| 1 + 3 * at).collect::<Vec<_>>());
    }

    #[test]
    fn the_folds_are_the_seeds() {
        let corpus = people(30);
        let of = |seed| folds(&corpus, 3, seed).unwrap();
        assert_eq!(of(1), of(1));
        assert_ne!(of(1), of(2));
        let error = folds(&people(2), 3, 1).unwrap_err();
        assert!(
            matches!(
                error,
                TrainError::TooFewForFolds {
                    sentences: 2,
                    folds: 3,
                    ..
                }
            ),
            "{error}"
        );
    }
}
