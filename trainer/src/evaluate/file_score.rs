//! Scores a file of predicted tags against a gold file.

use std::path::{Path, PathBuf};

use nerve_corpus::{Corpus, CorpusError, ReadOptions, entity_types};
use nerve_tagging::{
    LabelError, LabelSet, OrphanRule, Score, Scorer, Sentence, Tag, predicted_to_iob2, to_iob2,
};
use thiserror::Error;

/// Why two files cannot be compared.
#[derive(Debug, Error)]
pub enum ScoreError {
    /// A file is invalid.
    #[error(transparent)]
    Corpus(#[from] CorpusError),
    /// The files have different numbers of sentences.
    #[error("{}: {found} sentences, but {gold} in the gold file", path.display())]
    Sentences {
        /// The file of predictions.
        path: PathBuf,
        /// The number of its sentences.
        found: usize,
        /// The number of sentences of the gold file.
        gold: usize,
    },
    /// The entity types of the tags do not form a label set.
    #[error(transparent)]
    Labels(#[from] LabelError),
}

/// How words that differ between the two files are treated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WordDifferences {
    /// The tags are compared by position, and the differing words are counted.
    Count,
    /// A differing word is an error.
    Refuse,
}

/// The scores of a file of predictions.
#[derive(Clone, Debug, PartialEq)]
pub struct FileScore {
    /// The scores.
    pub score: Score,
    /// The number of words that differ from those of the gold file.
    pub different_words: usize,
    /// The first differing word, with its file and line; absent if all words are equal.
    pub first_difference: Option<String>,
    /// What a user should know of the gold file, in a sentence each.
    pub warnings: Vec<String>,
}

/// Scores the tags of a file against those of a gold file, sentence by sentence and word by word.
///
/// Each file may be in any scheme that a corpus may be in. Orphan `I-` tags of IOB2 stay orphans: only where the gold file is
/// IOB1 is a file of predictions read as such. The surface forms consist of the words of the gold file. The columns of `read` are
/// those of the gold file; predictions have the usual ones. A label map applies to both.
pub fn score_files(
    (gold, read): (&Path, &ReadOptions),
    predicted: &Path,
    orphans: OrphanRule,
    differences: WordDifferences,
) -> Result<FileScore, ScoreError> {
    let mut gold = Corpus::read_unconverted(gold, read)?;
    let scheme = gold.convert(to_iob2)?;
    gold.map_labels(read);
    let of_predictions = ReadOptions {
        labels: read.labels.clone(),
        label_map: read.label_map.clone(),
        ..ReadOptions::default()
    };
    let mut predicted = Corpus::read_unconverted(predicted, &of_predictions)?;
    predicted.convert(|sentences| predicted_to_iob2(sentences, scheme))?;
    predicted.map_labels(&of_predictions);
    let labels = LabelSet::iob2(entity_types([&gold, &predicted]))?;
    let mut scorer = Scorer::new(&labels, orphans);
    let mut different_words = 0;
    let mut first_difference = None;
    for (index, (a, b)) in gold.sentences.iter().zip(&predicted.sentences).enumerate() {
        if a.words.len() != b.words.len() {
            let problem = format!(
                "the sentence has {} words, but {} from line {} of the gold file",
                b.words.len(),
                a.words.len(),
                gold.line(index, 0)
            );
            return Err(predicted.error_at(index, 0, problem).into());
        }
        for word in (0..a.words.len()).filter(|&word| a.words[word] != b.words[word]) {
            different_words += 1;
            if first_difference.is_some() {
                continue;
            }
            let problem = format!(
                "the word is `{}`, but `{}` on line {} of the gold file",
                b.words[word],
                a.words[word],
                gold.line(index, word)
            );
            let difference = predicted.error_at(index, word, problem);
            if differences == WordDifferences::Refuse {
                return Err(difference.into());
            }
            first_difference = Some(difference.to_string());
        }
        let of_gold = iob2_tags(&labels, a, index, &gold)?;
        let of_predicted = iob2_tags(&labels, b, index, &predicted)?;
        scorer.add(&a.words, &of_gold, &of_predicted);
    }
    if gold.sentences.len() != predicted.sentences.len() {
        return Err(ScoreError::Sentences {
            path: predicted.path,
            found: predicted.sentences.len(),
            gold: gold.sentences.len(),
        });
    }
    Ok(FileScore {
        warnings: gold.warnings(),
        score: scorer.finish(),
        different_words,
        first_difference,
    })
}

/// The tags of a sentence; a tag that is not IOB2 is an error.
fn iob2_tags(
    labels: &LabelSet,
    sentence: &Sentence,
    index: usize,
    corpus: &Corpus,
) -> Result<Vec<Tag>, CorpusError> {
    let tag = |(word, name): (usize, &String)| {
        let tag = labels.parse(name).and_then(|label| labels.tag(label));
        tag.ok_or_else(|| {
            let problem = format!("tag `{name}` is not IOB2: `O`, `B-TYPE` or `I-TYPE`");
            corpus.error_at(index, word, problem)
        })
    };
    sentence.tags.iter().enumerate().map(tag).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn score_with(
        gold: &str,
        predicted: &str,
        orphans: OrphanRule,
        differences: WordDifferences,
    ) -> Result<FileScore, ScoreError> {
        let dir = tempfile::tempdir().unwrap();
        let (a, b) = (dir.path().join("gold.conll"), dir.path().join("pred.conll"));
        std::fs::write(&a, gold).unwrap();
        std::fs::write(&b, predicted).unwrap();
        score_files((&a, &ReadOptions::default()), &b, orphans, differences)
    }

    fn score(gold: &str, predicted: &str, orphans: OrphanRule) -> Score {
        let found = score_with(gold, predicted, orphans, WordDifferences::Refuse);
        found.unwrap().score
    }

    fn error(gold: &str, predicted: &str) -> String {
        let found = score_with(gold, predicted, OrphanRule::Start, WordDifferences::Refuse);
        found.unwrap_err().to_string()
    }

    #[test]
    fn orphans_are_not_converted_away() {
        // Every prediction begins with `I-`, which would be IOB1 if the gold file were not IOB2.
        let (gold, predicted) = ("x B-a\ny O\n", "x I-a\ny O\n");
        assert_eq!(score(gold, predicted, OrphanRule::Start).counts.correct, 1);
        assert_eq!(score(gold, predicted, OrphanRule::Drop).counts.predicted, 0);
    }

    #[test]
    fn each_file_may_have_a_scheme_of_its_own() {
        let iob2 = "x B-a\ny I-a\nz O\nw B-b\n";
        let iob1 = "x I-a\ny I-a\nz O\nw I-b\n";
        let iobes = "x B-a\ny E-a\nz O\nw S-b\n";
        let bilou = "x B-a\ny L-a\nz O\nw U-b\n";
        let bare = "x a\ny a\nz O\nw b\n";
        for gold in [iob2, iob1, iobes, bilou, bare] {
            for predicted in [iob2, iob1, iobes, bilou, bare] {
                let found = score(gold, predicted, OrphanRule::Start);
                assert_eq!(
                    (found.counts.gold, found.counts.correct),
                    (2, 2),
                    "{gold} {predicted}"
                );
                // In the place of IOB2 or IOBES, IOB1 consists of orphans.
                let orphans = predicted == iob1 && [iob2, iobes, bilou].contains(&gold);
                let strict = score(gold, predicted, OrphanRule::Drop).counts.correct;
                assert_eq!(strict, if orphans { 0 } else { 2 }, "{gold} {predicted}");
            }
        }
    }

    #[test]
    fn a_blank_word_and_a_gold_file_without_entities_are_scored() {
        let gold = "\u{a0}\tO\n10\u{a0}000\tO\n";
        let found = score_with(gold, gold, OrphanRule::Start, WordDifferences::Refuse).unwrap();
        assert_eq!(found.score.words, 2);
        assert!(found.warnings[0].contains("gold.conll is O: there is no entity to score"));
    }

    #[test]
    fn tabs_and_spaces_mix_and_types_unite() {
        let found = score("x\tB-a\n\ny\tB-b\n", "x B-c\n\ny B-b\n", OrphanRule::Start);
        assert_eq!(
            (found.counts.gold, found.counts.predicted, found.counts.correct),
            (2, 2, 1)
        );
        assert_eq!(found.types.len(), 3);
    }

    #[test]
    fn words_that_differ_are_scored_by_position_and_counted() {
        let gold = "a O\n&gt; O\n\n&lt;3 B-x\nc O\n";
        let predicted = "a O\n> O\n\n<3 B-x\nc O\n";
        let found = score_with(gold, predicted, OrphanRule::Start, WordDifferences::Count).unwrap();
        assert_eq!(
            (found.score.counts.correct, found.score.surface_counts.correct),
            (1, 1)
        );
        assert_eq!(found.different_words, 2);
        let first = found.first_difference.unwrap();
        assert!(
            first.ends_with("pred.conll:2: the word is `>`, but `&gt;` on line 2 of the gold file"),
            "{first}"
        );
        let same = score_with(gold, gold, OrphanRule::Start, WordDifferences::Count).unwrap();
        assert_eq!((same.different_words, same.first_difference), (0, None));
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
        assert!(error(gold, "a O\n\nb O\nc X-x\n").contains("pred.conll:4: tag `X-x` is not"));
    }
}
