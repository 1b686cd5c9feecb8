//! The calibration of a tagger's probabilities: its measurement, and the temperature that improves it.

use nerve_inference::{Tagger, WordLogits};
use nerve_repository::{Calibration, Fit};
use nerve_tagging::{
    Decoder, Decoding, Entity, LabelId, LabelSet, OrphanRule, Temperature, WordLabel, entities,
};
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::evaluate::error::TaggerError;
use nerve_corpus::Corpus;

/// The number of confidence bins, which have equal widths.
pub const BINS: usize = 15;
/// The lowest and the highest temperature of the search.
const LEAST: f64 = 0.05;
const MOST: f64 = 20.0;
/// The precision of the search, in units of the logarithm of the temperature.
const TOLERANCE: f64 = 1e-6;

/// The predictions whose confidences fall into one bin.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Bin {
    /// The number of predictions.
    pub count: usize,
    /// Their mean confidence; 0 for an empty bin.
    pub confidence: f64,
    /// The fraction of them that is correct; 0 for an empty bin.
    pub accuracy: f64,
}

/// A reliability diagram: accuracy as a function of confidence.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ReliabilityDiagram {
    /// [`BINS`] bins from 0 to 1; a confidence on an edge belongs to the lower bin.
    pub bins: Vec<Bin>,
    /// The expected calibration error: the difference between confidence and accuracy, averaged over the bins by
    /// their counts.
    pub ece: f64,
}

impl ReliabilityDiagram {
    /// The diagram of predictions, each with its confidence in [0, 1] and whether it is correct (Naeini et al. 2015;
    /// Guo et al. 2017).
    pub fn of(samples: impl IntoIterator<Item = (f64, bool)>) -> Self {
        let mut sums = [(0_usize, 0.0, 0_usize); BINS];
        for (confidence, right) in samples {
            let bin = (confidence * BINS as f64).ceil() as usize;
            let (count, sum, hits) = &mut sums[bin.clamp(1, BINS) - 1];
            *count += 1;
            *sum += confidence;
            *hits += usize::from(right);
        }
        let total: usize = sums.iter().map(|(count, ..)| count).sum();
        let bins: Vec<Bin> = sums
            .iter()
            .map(|&(count, sum, hits)| Bin {
                count,
                confidence: sum / count.max(1) as f64,
                accuracy: hits as f64 / count.max(1) as f64,
            })
            .collect();
        let gap = |bin: &Bin| bin.count as f64 * (bin.confidence - bin.accuracy).abs();
        Self {
            ece: bins.iter().map(gap).sum::<f64>() / total.max(1) as f64,
            bins,
        }
    }
}

/// The calibration metrics of a tagger at one temperature.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct CalibrationMetrics {
    /// The mean negative log-likelihood of the gold labels, in nats per word.
    pub nll: f64,
    /// The words; the confidence of a word is the probability of its most probable label.
    pub words: ReliabilityDiagram,
    /// The predicted entities. The confidence of an entity is the mean score of its words; it is correct if a gold
    /// entity has the same words and type.
    pub entities: ReliabilityDiagram,
}

/// A fitted temperature and the calibration metrics without and with it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CalibrationReport {
    /// The fitted temperature.
    pub temperature: f64,
    /// The number of words that it is fitted on: those with logits and with a gold label that the tagger knows.
    pub words: usize,
    /// The metrics at temperature 1.
    pub before: CalibrationMetrics,
    /// The metrics at the fitted temperature.
    pub after: CalibrationMetrics,
}

/// The error of a fitted temperature at a bound of the search, which is not an optimum.
#[derive(Clone, Debug, PartialEq, Error, Serialize, Deserialize)]
#[error(
    "no temperature is written: the best one for the {words} words of {split} is the {} one that is tried, {temperature:.2}, \
     because {}",
    if *temperature < 1.0 { "lowest" } else { "highest" },
    if *temperature < 1.0 {
        "every word is tagged right; scores are stated at temperature 1. Calibrate on sentences that the model makes some errors on"
    } else {
        "the logits do not tell right labels from wrong ones; scores are stated at temperature 1. \
         Train the model for longer, or check that the labels of these words are those that it was trained on"
    }
)]
pub struct TemperatureAtBound {
    /// The fitted temperature.
    pub temperature: f64,
    /// The split that it is fitted on.
    pub split: String,
    /// The number of words that it is fitted on.
    pub words: usize,
}

impl CalibrationReport {
    /// Whether the fitted temperature is a bound of the search, so that it is not an optimum.
    pub fn is_at_bound(&self) -> bool {
        [LEAST, MOST]
            .iter()
            .any(|bound| (self.temperature / bound).ln().abs() < 10.0 * TOLERANCE)
    }

    /// The calibration that a checkpoint stores; `split` names the split that the temperature is fitted on.
    ///
    /// An error if the temperature is a bound of the search, because the likelihood then has no optimum inside the
    /// bounds. At the lower bound, nearly every prediction would have a score near 1.
    pub fn to_calibration(&self, split: impl Into<String>) -> Result<Calibration, TemperatureAtBound> {
        if self.is_at_bound() {
            return Err(TemperatureAtBound {
                temperature: self.temperature,
                split: split.into(),
                words: self.words,
            });
        }
        let fit = |of: &CalibrationMetrics| Fit {
            nll: of.nll,
            ece: of.words.ece,
        };
        Ok(Calibration {
            temperature: self.temperature,
            split: split.into(),
            words: self.words,
            before: fit(&self.before),
            after: fit(&self.after),
        })
    }
}

/// Fits the temperature of a checkpoint to a corpus and measures its calibration without and with it.
pub fn calibrate(tagger: &mut dyn Tagger, corpus: &Corpus) -> Result<CalibrationReport, TaggerError> {
    let tagged = tagger.tag(&corpus.words())?;
    let report = tagged
        .logits
        .and_then(|logits| calibration_report(tagger.labels(), &tagger.decoder(), &logits, corpus));
    report.ok_or_else(|| TaggerError::NothingToFit {
        path: corpus.path.clone(),
    })
}

/// Fits a temperature to the word logits of a corpus and measures the calibration without and with it.
///
/// `decoder` decides the labels of entities. Words without logits are left out, and so are words whose gold label the tagger does not have. `None` if no word
/// remains or a logit is not finite.
pub fn calibration_report(
    labels: &LabelSet,
    decoder: &Decoder,
    logits: &WordLogits,
    corpus: &Corpus,
) -> Option<CalibrationReport> {
    let rows = labeled_rows(labels, logits, corpus);
    let temperature = fit_temperature(&rows)?;
    let at = |temperature| {
        Some(CalibrationMetrics {
            nll: mean_nll(&rows, temperature),
            words: word_reliability(&rows, temperature),
            entities: entity_reliability((labels, decoder), logits, corpus, temperature)?,
        })
    };
    Some(CalibrationReport {
        temperature: temperature.get(),
        words: rows.len(),
        before: at(Temperature::default())?,
        after: at(temperature)?,
    })
}

/// The logits and the gold label of every word that has both.
fn labeled_rows<'l>(labels: &LabelSet, logits: &'l WordLogits, corpus: &Corpus) -> Vec<(&'l [f32], usize)> {
    let mut rows: Vec<(&[f32], usize)> = Vec::new();
    for (sentence, of_sentence) in corpus.sentences.iter().zip(logits) {
        for (gold, row) in labels.encode(&sentence.tags).into_iter().zip(of_sentence) {
            if let (Some(LabelId(gold)), Some(row)) = (gold, row) {
                rows.push((row, gold));
            }
        }
    }
    rows
}

/// The mean negative log-likelihood of the gold labels, in nats per word; `None` if no word has both logits and a
/// label that the tagger knows.
pub(super) fn negative_log_likelihood(
    labels: &LabelSet,
    logits: &WordLogits,
    corpus: &Corpus,
) -> Option<f64> {
    let rows = labeled_rows(labels, logits, corpus);
    (!rows.is_empty()).then(|| mean_nll(&rows, Temperature::default()))
}

/// The temperature that maximizes the likelihood of the gold labels (Guo et al. 2017); each row of logits has its
/// gold label.
///
/// The negative log-likelihood is convex in 1/T, so it is unimodal in the logarithm of T. A golden-section search
/// (Kiefer 1953) finds the minimum to within 1e-6 of that logarithm. The result lies in [0.05, 20]. It is one of
/// these bounds if there is no minimum between them, for example if every row is predicted correctly. `None` if there
/// are no rows or a logit is not finite.
pub fn fit_temperature(rows: &[(&[f32], usize)]) -> Option<Temperature> {
    let finite =
        |(row, gold): &(&[f32], usize)| *gold < row.len() && row.iter().all(|logit| logit.is_finite());
    if rows.is_empty() || !rows.iter().all(finite) {
        return None;
    }
    let cost = |log: f64| Temperature::new(log.exp()).map_or(f64::INFINITY, |at| mean_nll(rows, at));
    let ratio = (5_f64.sqrt() - 1.0) / 2.0;
    let (mut low, mut high) = (LEAST.ln(), MOST.ln());
    let mut left = high - ratio * (high - low);
    let mut right = low + ratio * (high - low);
    let (mut at_left, mut at_right) = (cost(left), cost(right));
    while high - low > TOLERANCE {
        if at_left <= at_right {
            (high, right, at_right) = (right, left, at_left);
            left = high - ratio * (high - low);
            at_left = cost(left);
        } else {
            (low, left, at_left) = (left, right, at_right);
            right = low + ratio * (high - low);
            at_right = cost(right);
        }
    }
    Temperature::new((0.5 * (low + high)).exp())
}

/// The mean negative log-likelihood of the gold labels, in nats per row.
fn mean_nll(rows: &[(&[f32], usize)], temperature: Temperature) -> f64 {
    let nll = |&(row, gold): &(&[f32], usize)| {
        let highest = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let scaled = |logit: f32| (f64::from(logit) - f64::from(highest)) / temperature.get();
        let total: f64 = row.iter().map(|&logit| scaled(logit).exp()).sum();
        total.ln() - scaled(row[gold])
    };
    rows.iter().map(nll).sum::<f64>() / rows.len().max(1) as f64
}

fn word_reliability(rows: &[(&[f32], usize)], temperature: Temperature) -> ReliabilityDiagram {
    ReliabilityDiagram::of(rows.iter().map(|&(row, gold)| {
        let first = |best: (usize, f32), next: (usize, f32)| if next.1 > best.1 { next } else { best };
        let (best, highest) = row
            .iter()
            .copied()
            .enumerate()
            .fold((0, f32::NEG_INFINITY), first);
        let relative = |&logit: &f32| ((f64::from(logit) - f64::from(highest)) / temperature.get()).exp();
        (1.0 / row.iter().map(relative).sum::<f64>(), best == gold)
    }))
}

fn entity_reliability(
    (labels, decoder): (&LabelSet, &Decoder),
    logits: &WordLogits,
    corpus: &Corpus,
    temperature: Temperature,
) -> Option<ReliabilityDiagram> {
    let decoder = decoder.clone().with_temperature(temperature);
    let mut samples = Vec::new();
    for (sentence, rows) in corpus.sentences.iter().zip(logits) {
        let found = decoder.decode_words(&sentence.words, rows, Decoding::Constrained)?;
        let gold = labels.encode(&sentence.tags).into_iter();
        let gold = gold.map(|label| label.unwrap_or(labels.outside()));
        let gold = entities(labels.iob2_tags(gold), OrphanRule::Start);
        let predicted = entities(
            labels.iob2_tags(found.iter().map(|word| word.label)),
            OrphanRule::Start,
        );
        samples.extend(
            predicted
                .iter()
                .map(|entity| (score(entity, &found), gold.contains(entity))),
        );
    }
    Some(ReliabilityDiagram::of(samples))
}

/// The score of an entity: the mean score of its words, as the server computes it.
fn score(entity: &Entity, words: &[WordLabel]) -> f64 {
    let words = words.get(entity.words.range()).unwrap_or_default();
    words.iter().map(|word| f64::from(word.score)).sum::<f64>() / words.len().max(1) as f64
}

#[cfg(test)]
mod tests;
