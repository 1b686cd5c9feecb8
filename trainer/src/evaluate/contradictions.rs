//! The gold labels that several taggers contradict in the same way: the sentences that a person should check first.

use std::path::PathBuf;

use nerve_corpus::Corpus;
use nerve_tagging::WordLabel;
use serde::Serialize;

use crate::evaluate::answers::Answers;
use crate::evaluate::errors::EntityError;

/// A gold label that every tagger contradicts, all with the same answer.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Contradiction {
    /// The gold entity and the answer, with the words around them.
    pub error: EntityError,
    /// The mean of the scores that the taggers give to their labels of the words of gold entity and answer.
    pub confidence: f64,
    /// The file with the gold label.
    pub path: PathBuf,
    /// The line of the gold label's first word, counted from 1.
    pub line: usize,
}

/// The gold labels of a corpus that every tagger contradicts with the same answer, the most confident answers first.
///
/// Two answers are the same if they give the same words the same type, or both leave out the gold entity. With one
/// tagger, these are all of its errors.
pub fn contradictions(corpus: &Corpus, taggers: &[Answers]) -> Vec<Contradiction> {
    let Some((first, others)) = taggers.split_first() else {
        return Vec::new();
    };
    let others: Vec<Vec<EntityError>> = others.iter().map(|other| other.errors(corpus).errors).collect();
    // The errors of each tagger are in text order.
    let of_sentence = |errors: &[EntityError], sentence: usize| {
        let start = errors.partition_point(|error| error.sentence < sentence);
        let end = errors.partition_point(|error| error.sentence <= sentence);
        start..end
    };
    let is_common = |error: &EntityError| {
        others
            .iter()
            .all(|errors| errors[of_sentence(errors, error.sentence)].contains(error))
    };
    let common = first.errors(corpus).errors.into_iter().filter(is_common);
    let mut found: Vec<Contradiction> = common
        .map(|error| Contradiction {
            confidence: confidence(&error, taggers),
            path: corpus.file(error.sentence).to_owned(),
            line: corpus.line(error.sentence, error.covered_words().start),
            error,
        })
        .collect();
    sort(&mut found);
    found
}

/// Puts the most confident contradictions first; equally confident ones stay in their order.
pub(crate) fn sort(contradictions: &mut [Contradiction]) {
    contradictions.sort_by(|one, other| other.confidence.total_cmp(&one.confidence));
}

fn confidence(error: &EntityError, taggers: &[Answers]) -> f64 {
    let mean = |scores: &[WordLabel]| {
        scores.iter().map(|word| f64::from(word.score)).sum::<f64>() / scores.len().max(1) as f64
    };
    let of_tagger = |tagger: &Answers| {
        let answer = tagger.words.get(error.sentence);
        mean(
            answer
                .and_then(|answer| answer.get(error.covered_words()))
                .unwrap_or_default(),
        )
    };
    taggers.iter().map(of_tagger).sum::<f64>() / taggers.len().max(1) as f64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::evaluate::errors::ErrorKind;
    use crate::evaluate::evaluation::tests::corpus;
    use nerve_tagging::LabelSet;

    /// The answers whose labels and scores stand in this text, a line per sentence: `B-per:0.9 O`.
    fn answers(text: &str) -> Answers {
        let labels = LabelSet::iob2(["loc", "per"]).unwrap();
        let word = |word: &str| {
            let (label, score) = word.split_once(':').unwrap_or((word, "1"));
            WordLabel {
                label: labels.parse(label).unwrap(),
                score: score.parse().unwrap(),
            }
        };
        let words = text
            .lines()
            .map(|line| line.split(' ').map(word).collect())
            .collect();
        Answers { labels, words }
    }

    const GOLD: &str = "Ann\tB-per\nLee\tI-per\nin\tO\nRome\tO\n\nBob\tB-loc\nhere\tO\n\nUlm\tB-loc\n";

    #[test]
    fn what_every_tagger_contradicts_alike_is_found_the_surest_first() {
        let gold = corpus(GOLD);
        let taggers = [
            answers("B-per I-per O B-loc:0.5\nB-per:0.9 O\nO:0.7"),
            answers("B-per O O B-loc:0.7\nB-per:0.7 O\nO:0.7"),
            answers("O O O B-loc:0.9\nB-per:0.8 O\nB-per:0.9"),
        ];
        let found = contradictions(&gold, &taggers);
        let shown: Vec<(ErrorKind, usize)> = found.iter().map(|of| (of.error.kind, of.line)).collect();
        assert_eq!(shown, [(ErrorKind::WrongType, 6), (ErrorKind::Invented, 4)]);
        assert!((found[0].confidence - 0.8).abs() < 1e-6 && (found[1].confidence - 0.7).abs() < 1e-6);
        // The third tagger sees a person in Ulm, which the others leave out.
        let two = contradictions(&gold, &taggers[..2]);
        assert!(
            two.iter()
                .any(|of| of.error.kind == ErrorKind::Missed && of.line == 9)
        );
        assert_eq!(contradictions(&gold, &[]), []);
    }

    #[test]
    fn a_line_is_that_of_the_word_and_not_of_the_context() {
        let words = "w\tO\n".repeat(20) + "Rome\tB-loc\n";
        let answer = "O ".repeat(20) + "O:0.25";
        let found = contradictions(&corpus(&words), &[answers(&answer)]);
        let [only] = &found[..] else {
            panic!("{found:?}");
        };
        assert_eq!((only.line, only.confidence), (21, 0.25));
        assert_eq!(only.error.covered_words(), 20..21);
    }
}
