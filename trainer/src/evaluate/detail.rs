//! The detailed evaluation of a tagger on a corpus: scores, errors and calibration.

use nerve_corpus::Corpus;
use nerve_inference::{TagError, TaggedSentences, Tagger};
use nerve_tagging::Evaluation;
use serde::Serialize;

use crate::evaluate::answers::Answers;
use crate::evaluate::calibration::{CalibrationReport, calibration_report};
use crate::evaluate::errors::ErrorAnalysis;

/// The scores, the errors and the calibration of a tagger on a corpus.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct DetailedEvaluation {
    /// The name of the corpus file without its extension, such as `dev`.
    pub split: String,
    /// The scores.
    pub evaluation: Evaluation,
    /// The errors.
    pub errors: ErrorAnalysis,
    /// The fitted temperature and the calibration metrics; absent if the tagger has no logits or no label of the
    /// corpus.
    pub calibration: Option<CalibrationReport>,
}

/// Evaluates a tagger on the words of a corpus, which it tags once.
pub fn evaluate_in_detail(tagger: &mut dyn Tagger, corpus: &Corpus) -> Result<DetailedEvaluation, TagError> {
    let TaggedSentences {
        labels: found,
        logits,
    } = tagger.tag(&corpus.words())?;
    let answers = Answers {
        labels: tagger.labels().clone(),
        words: found,
    };
    Ok(DetailedEvaluation {
        split: corpus.split_name(),
        evaluation: answers.evaluation(corpus),
        errors: answers.errors(corpus),
        calibration: logits
            .and_then(|logits| calibration_report(&answers.labels, &tagger.decoder(), &logits, corpus)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::evaluate::evaluation::tests::{Lexicon, corpus};
    use nerve_tagging::LabelSet;

    #[test]
    fn the_errors_are_those_of_the_score() {
        let corpus = corpus("Ann\tB-per\nLee\tI-per\nin\tO\nRome\tB-loc\n\nBob\tB-per\nUlm\tO\n");
        let mut tagger = Lexicon {
            labels: LabelSet::iob2(["per"]).unwrap(),
            words: vec![("Ann", "B-per"), ("Bob", "B-per"), ("Ulm", "B-per")],
        };
        let found = evaluate_in_detail(&mut tagger, &corpus).unwrap();
        assert_eq!(found.split, "x");
        let counts = found.evaluation.score.counts;
        assert_eq!((counts.gold, counts.predicted, counts.correct), (3, 3, 1));
        let per = found.errors.by_type["per"];
        assert_eq!((per.correct, per.wrong_boundary, per.invented), (1, 1, 1));
        assert_eq!(found.errors.by_type["loc"].missed, 1);
        assert_eq!(found.calibration, None);
    }
}
