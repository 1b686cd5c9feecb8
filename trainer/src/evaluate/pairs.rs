//! The score of one CoNLL file against another.

use std::path::{Path, PathBuf};

use nerve_tagging::conll::Sentence;
use nerve_tagging::{LabelError, LabelSet, OrphanRule, Score, Scorer, Tag};
use thiserror::Error;

use super::evaluation::tags;
use crate::corpus::{Corpus, CorpusError, entity_types, read_verbatim};

/// Why two files cannot be scored.
#[derive(Debug, Error)]
pub enum PairsError {
    /// A file is unusable.
    #[error(transparent)]
    Corpus(#[from] CorpusError),
    /// The files have different numbers of sentences.
    #[error("{}: {found} sentences, but {gold} in the gold file", path.display())]
    Sentences {
        /// The file of predictions.
        path: PathBuf,
        /// Its sentences.
        found: usize,
        /// The gold file's.
        gold: usize,
    },
    /// The tags' types make no label set.
    #[error(transparent)]
    Labels(#[from] LabelError),
}

/// The score of the tags in one file against those of another over the same words; tags are read as they stand, IOB2.
pub fn score_files(gold: &Path, predicted: &Path, orphans: OrphanRule) -> Result<Score, PairsError> {
    let (gold, predicted) = (read_verbatim(gold)?, read_verbatim(predicted)?);
    let labels = LabelSet::iob2(entity_types([&gold, &predicted]))?;
    let mut scorer = Scorer::new(&labels, orphans);
    for (index, (a, b)) in gold.sentences.iter().zip(&predicted.sentences).enumerate() {
        same_words(a, b, index, &gold, &predicted)?;
        let of_gold = checked_tags(&labels, a, index, &gold)?;
        let of_predicted = checked_tags(&labels, b, index, &predicted)?;
        scorer.add(&a.words, &of_gold, &of_predicted);
    }
    if gold.sentences.len() != predicted.sentences.len() {
        return Err(PairsError::Sentences {
            path: predicted.path,
            found: predicted.sentences.len(),
            gold: gold.sentences.len(),
        });
    }
    Ok(scorer.finish())
}

fn same_words(
    a: &Sentence,
    b: &Sentence,
    sentence: usize,
    gold: &Corpus,
    predicted: &Corpus,
) -> Result<(), PairsError> {
    let differing = a.words.iter().zip(&b.words).position(|(a, b)| a != b);
    if let Some(word) = differing {
        let problem = format!(
            "the word is `{}`, but `{}` on line {} of the gold file",
            b.words[word],
            a.words[word],
            gold.line(sentence, word)
        );
        return Err(predicted.fault(predicted.line(sentence, word), problem).into());
    }
    if a.words.len() != b.words.len() {
        let problem = format!(
            "the sentence has {} words, but {} from line {} of the gold file",
            b.words.len(),
            a.words.len(),
            gold.line(sentence, 0)
        );
        return Err(predicted.fault(predicted.line(sentence, 0), problem).into());
    }
    Ok(())
}

fn checked_tags(
    labels: &LabelSet,
    sentence: &Sentence,
    index: usize,
    corpus: &Corpus,
) -> Result<Vec<Tag>, PairsError> {
    let unknown = sentence.tags.iter().position(|tag| labels.parse(tag).is_none());
    match unknown {
        Some(word) => {
            let problem = format!(
                "tag `{}` is not IOB2: `O`, `B-TYPE` or `I-TYPE`",
                sentence.tags[word]
            );
            Err(corpus.fault(corpus.line(index, word), problem).into())
        }
        None => Ok(tags(labels, sentence.tags.iter().map(String::as_str))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn score(gold: &str, predicted: &str, orphans: OrphanRule) -> Result<Score, PairsError> {
        let dir = tempfile::tempdir().unwrap();
        let (a, b) = (dir.path().join("gold.conll"), dir.path().join("pred.conll"));
        std::fs::write(&a, gold).unwrap();
        std::fs::write(&b, predicted).unwrap();
        score_files(&a, &b, orphans)
    }

    fn error(gold: &str, predicted: &str) -> String {
        score(gold, predicted, OrphanRule::Start).unwrap_err().to_string()
    }

    #[test]
    fn orphans_are_not_converted_away() {
        // All entities open with `I-`, which a corpus reader would take for IOB1.
        let (gold, predicted) = ("x I-a\ny O\n", "x I-a\ny O\n");
        assert_eq!(
            score(gold, predicted, OrphanRule::Start).unwrap().counts.correct,
            1
        );
        assert_eq!(score(gold, predicted, OrphanRule::Drop).unwrap().counts.gold, 0);
    }

    #[test]
    fn tabs_and_spaces_mix_and_types_unite() {
        let found = score("x\tB-a\n\ny\tB-b\n", "x B-c\n\ny B-b\n", OrphanRule::Start).unwrap();
        assert_eq!(
            (found.counts.gold, found.counts.predicted, found.counts.correct),
            (2, 2, 1)
        );
        assert_eq!(found.types.len(), 3);
    }

    #[test]
    fn mismatches_name_file_and_line() {
        let gold = "a O\n\nb O\nc O\n";
        let words = error(gold, "a O\n\nb O\nd O\n");
        assert!(
            words.contains("pred.conll:4: the word is `d`, but `c` on line 4"),
            "{words}"
        );
        let count = error(gold, "a O\n\nb O\n");
        assert!(
            count.contains("pred.conll:3: the sentence has 1 words, but 2"),
            "{count}"
        );
        assert!(error(gold, "a O\n").contains("1 sentences, but 2"));
        assert!(error(gold, "a O\n\nb O\nc S-x\n").contains("pred.conll:4: tag `S-x` is not IOB2"));
    }
}
