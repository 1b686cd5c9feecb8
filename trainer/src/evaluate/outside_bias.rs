//! The choice of a bias of the label `O`, which trades precision for recall.

use std::path::Path;
use std::str::FromStr;

use nerve_corpus::Corpus;
use nerve_inference::{Tagger, WordLogits};
use nerve_tagging::{Decoder, Decoding, Evaluation, LabelId, LabelSet, Prf};
use thiserror::Error;

use crate::evaluate::calibration::{CalibrationReport, calibration_report};
use crate::evaluate::error::TaggerError;
use crate::model::checkpoint::CheckpointError;
use crate::model::checkpoint::outside_bias::OutsideBias;

/// The biases that are tried are multiples of this, up to [`MOST`] and down to its negative.
const STEP: f32 = 0.25;
const MOST: f32 = 3.0;

/// How the number that is added to the trained bias of `O` is chosen.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum OutsideBiasChoice {
    /// This number: below 0 the model finds more entities, above 0 fewer.
    Fixed(f32),
    /// The one with the highest F-measure of entities in which recall is so many times as important as precision
    /// (van Rijsbergen 1979).
    Best {
        /// The weight of recall, from 0.01 to 100.
        beta: f64,
    },
}

/// An error for what is neither a number nor an F-measure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("must be a number from -100 to 100, or f1, f2, f0.5 or another fBETA with BETA from 0.01 to 100")]
pub struct OutsideBiasChoiceError;

impl FromStr for OutsideBiasChoice {
    type Err = OutsideBiasChoiceError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let choice = match text.strip_prefix(['f', 'F']) {
            Some(beta) => (beta.parse().ok())
                .filter(|beta: &f64| (0.01..=100.0).contains(beta))
                .map(|beta| Self::Best { beta }),
            None => (text.parse().ok())
                .filter(|bias: &f32| bias.abs() <= 100.0)
                .map(Self::Fixed),
        };
        choice.ok_or(OutsideBiasChoiceError)
    }
}

/// The entity scores of a corpus with a bias of `O`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct OutsideBiasScore {
    /// What is added to the trained bias.
    pub added: f32,
    /// The entity scores.
    pub score: Prf,
}

impl OutsideBiasScore {
    /// The F-measure in which recall is `beta` times as important as precision; 0 if nothing is found.
    fn f_measure(&self, beta: f64) -> f64 {
        let Prf {
            precision, recall, ..
        } = self.score;
        let weighted = beta * beta * precision + recall;
        match weighted > 0.0 {
            true => (1.0 + beta * beta) * precision * recall / weighted,
            false => 0.0,
        }
    }
}

/// The chosen bias of `O`, and the scores with those that were compared.
#[derive(Clone, Debug, PartialEq)]
pub struct OutsideBiasReport {
    /// The chosen one's position in `scores`.
    pub chosen: usize,
    /// In ascending order of the bias.
    pub scores: Vec<OutsideBiasScore>,
}

impl OutsideBiasChoice {
    /// Makes the choice on the word logits of a corpus, of a model that has `present` added to its trained bias, and changes the
    /// logits accordingly. `None` if a row of logits does not have the decoder's labels.
    ///
    /// Of biases with equal F-measure, the one nearest to 0 is chosen.
    pub fn apply(
        self,
        (labels, decoder): (&LabelSet, &Decoder),
        present: f32,
        logits: &mut WordLogits,
        corpus: &Corpus,
    ) -> Option<OutsideBiasReport> {
        let tried = match self {
            Self::Fixed(added) if added < 0.0 => vec![added, 0.0],
            Self::Fixed(added) if added > 0.0 => vec![0.0, added],
            Self::Fixed(_) => vec![0.0],
            Self::Best { .. } => {
                let steps = (MOST / STEP) as i16;
                (-steps..=steps).map(|step| STEP * f32::from(step)).collect()
            }
        };
        let with = |added: f32| added_to(logits, labels.outside(), added - present);
        let mut scores = Vec::new();
        for added in tried {
            let mut answers = Vec::new();
            for (sentence, rows) in corpus.sentences.iter().zip(&with(added)?) {
                answers.push(decoder.decode_words(&sentence.words, rows, Decoding::Constrained)?);
            }
            let score = Evaluation::of(labels, &corpus.sentences, &answers).score.entity;
            scores.push(OutsideBiasScore { added, score });
        }
        let chosen = match self {
            Self::Fixed(bias) => scores.iter().position(|score| score.added == bias)?,
            Self::Best { beta } => {
                let rank = |score: &OutsideBiasScore| (score.f_measure(beta), -score.added.abs());
                let ranks = scores.iter().map(rank).enumerate();
                ranks
                    .max_by(|(_, a), (_, b)| a.0.total_cmp(&b.0).then(a.1.total_cmp(&b.1)))?
                    .0
            }
        };
        *logits = with(scores[chosen].added)?;
        Some(OutsideBiasReport { chosen, scores })
    }
}

/// The logits with a number added to those of one label.
fn added_to(logits: &WordLogits, label: LabelId, added: f32) -> Option<WordLogits> {
    let mut sums = logits.clone();
    for row in sums.iter_mut().flatten().flatten() {
        *row.get_mut(label.0)? += added;
    }
    Some(sums)
}

/// Chooses the bias of `O` of a checkpoint on a corpus, and fits the temperature that belongs to it. Nothing is written: the last
/// item writes the bias.
pub fn calibrate_with_outside_bias(
    dir: &Path,
    tagger: &mut dyn Tagger,
    choice: OutsideBiasChoice,
    corpus: &Corpus,
) -> Result<(OutsideBiasReport, CalibrationReport, OutsideBias), TaggerError> {
    let nothing = || TaggerError::NothingToFit {
        path: corpus.path.clone(),
    };
    let bias = OutsideBias::read(dir, tagger.labels().outside()).map_err(CheckpointError::from)?;
    let mut logits = tagger.tag(&corpus.words())?.logits.ok_or_else(nothing)?;
    let (labels, decoder) = (tagger.labels(), tagger.decoder());
    let chosen = choice.apply((labels, &decoder), bias.added(), &mut logits, corpus);
    let calibrated = calibration_report(labels, &decoder, &logits, corpus);
    match (chosen, calibrated) {
        (Some(chosen), Some(calibrated)) => Ok((chosen, calibrated, bias)),
        _ => Err(nothing()),
    }
}

impl OutsideBiasReport {
    /// The number to add to the trained bias.
    pub fn added(&self) -> f32 {
        self.scores[self.chosen].added
    }

    /// Whether a bias beyond those that were compared could be better.
    pub fn is_at_bound(&self) -> bool {
        self.scores.len() > 2 && self.added().abs() >= MOST
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::evaluate::evaluation::tests::corpus;

    fn parse(text: &str) -> Result<OutsideBiasChoice, OutsideBiasChoiceError> {
        text.parse()
    }

    #[test]
    fn a_choice_is_a_number_or_a_measure() {
        assert_eq!(parse("-0.75"), Ok(OutsideBiasChoice::Fixed(-0.75)));
        assert_eq!(parse("f1"), Ok(OutsideBiasChoice::Best { beta: 1.0 }));
        assert_eq!(parse("F0.5"), Ok(OutsideBiasChoice::Best { beta: 0.5 }));
        for text in [
            "", "f", "f0", "f-1", "finf", "f1e200", "best", "nan", "inf", "101",
        ] {
            assert_eq!(parse(text), Err(OutsideBiasChoiceError), "{text}");
        }
    }

    /// Six words in as many sentences: entities with logits 2, 1 and -0.6 above that of `O`, and others with 0.6, -0.8 and -2.
    fn example() -> (LabelSet, Corpus, WordLogits) {
        let labels = LabelSet::iob2(["per"]).unwrap();
        let corpus = corpus("a B-per\n\nb B-per\n\nc B-per\n\nd O\n\ne O\n\nf O\n");
        let row = |gap: f32| vec![Some(vec![0.0, gap, -9.0])];
        let logits = [2.0, 1.0, -0.6, 0.6, -0.8, -2.0].map(row).to_vec();
        (labels, corpus, logits)
    }

    fn apply(choice: &str, present: f32) -> (OutsideBiasReport, WordLogits) {
        let (labels, corpus, mut logits) = example();
        let decoder = Decoder::new(&labels);
        let report = parse(choice)
            .unwrap()
            .apply((&labels, &decoder), present, &mut logits, &corpus);
        (report.unwrap(), logits)
    }

    #[test]
    fn the_best_bias_is_that_of_the_measure() {
        // With -0.75 all three entities are found, and one word that is none.
        let (report, logits) = apply("f2", 0.0);
        assert_eq!((report.added(), report.is_at_bound()), (-0.75, false));
        assert_eq!(report.scores[report.chosen].score.recall, 1.0);
        assert_eq!(report.scores[report.chosen].score.precision, 0.75);
        assert_eq!(logits[0][0].as_deref(), Some(&[-0.75, 2.0, -9.0][..]));
        // With 0.75 two entities are found and nothing else.
        let (report, _) = apply("f0.5", 0.0);
        assert_eq!(report.added(), 0.75);
        assert_eq!(report.scores[report.chosen].score.precision, 1.0);
    }

    #[test]
    fn a_bias_that_is_there_already_is_counted() {
        // These logits of `O` are lower by 0.5 than those of the trained model.
        assert_eq!(apply("f2", -0.5).0.added(), -1.25);
        let (report, logits) = apply("0", -0.5);
        assert_eq!((report.added(), report.scores.len()), (0.0, 1));
        assert_eq!(logits[3][0].as_deref(), Some(&[0.5, 0.6, -9.0][..]));
    }

    #[test]
    fn equals_stay_near_the_trained_bias() {
        let (labels, mut logits) = (
            LabelSet::iob2(["per"]).unwrap(),
            vec![vec![Some(vec![9.0, 0.0, 0.0])]],
        );
        let choice = parse("f1").unwrap();
        let corpus = corpus("a O\n");
        let report = choice.apply((&labels, &Decoder::new(&labels)), 0.0, &mut logits, &corpus);
        assert_eq!(report.unwrap().added(), 0.0);
        let mut short = vec![vec![Some(vec![])]];
        let report = choice.apply((&labels, &Decoder::new(&labels)), 0.0, &mut short, &corpus);
        assert_eq!(report, None);
    }
}
