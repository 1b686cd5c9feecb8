//! From words' logits to labels and how sure they are.

use crate::label::LabelSet;
use crate::tag::LabelId;
use crate::temperature::Temperature;

/// A word's label and its probability.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct WordLabel {
    /// The label decided on.
    pub label: LabelId,
    /// Its softmax probability at the decoder's temperature, in [0, 1].
    pub score: f32,
}

/// The most probable label of one row of logits and its softmax probability; the lowest id wins a tie.
///
/// The largest logit is subtracted before exponentiation, so no finite input overflows. `None` for an empty row and for
/// one with a NaN or infinite logit, of which no probability can be stated.
pub fn best_label(logits: &[f32]) -> Option<WordLabel> {
    best_label_at(logits, Temperature::default())
}

/// [`best_label`], its probability at a temperature.
fn best_label_at(logits: &[f32], temperature: Temperature) -> Option<WordLabel> {
    if logits.iter().any(|logit| !logit.is_finite()) {
        return None;
    }
    let (best, &highest) = logits
        .iter()
        .enumerate()
        .reduce(|best, next| if next.1 > best.1 { next } else { best })?;
    Some(WordLabel {
        label: LabelId(best),
        score: probability(logits, highest, temperature),
    })
}

/// The softmax probability, at a temperature, of the label whose logit is `chosen`.
fn probability(logits: &[f32], chosen: f32, temperature: Temperature) -> f32 {
    // In f64, so that two logits at opposite ends of f32 do not differ by infinity. A label far below the best divides
    // by infinity: 0.
    let relative: f64 = logits
        .iter()
        .map(|&logit| ((f64::from(logit) - f64::from(chosen)) / temperature.get()).exp())
        .sum();
    (1.0 / relative) as f32
}

/// Whether a text's labels must make sense as a sequence.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Decoding {
    /// The most probable sequence in which every label may follow the one before ([`LabelSet::may_follow`]).
    #[default]
    Constrained,
    /// The most probable label of each word, whatever its neighbours have.
    Independent,
}

/// Decides the labels of a text's words together.
///
/// The scheme's rules are worked out once, so one decoder serves all texts of a label set.
///
/// The temperature (Guo et al. 2017) divides the logits where a score is stated and nowhere else: labels are always decided
/// on the logits as they are. For one word that is the same, as division keeps their order; a sequence's sum of
/// log-probabilities would not keep its order, so there the rule is what makes calibration never change a label.
#[derive(Clone, Debug)]
pub struct Decoder {
    temperature: Temperature,
    outside: LabelId,
    /// For each label, the labels it may follow; `None` where it may follow any.
    predecessors: Vec<Option<Vec<usize>>>,
    /// For each label, whether a text may begin with it.
    may_start: Vec<bool>,
}

impl Decoder {
    /// The decoder of a label set, its scores uncalibrated.
    pub fn new(labels: &LabelSet) -> Self {
        let ids = || (0..labels.len()).map(LabelId);
        let predecessors = |next| {
            let allowed: Vec<usize> = ids()
                .filter(|&previous| labels.may_follow(Some(previous), next))
                .map(|previous| previous.0)
                .collect();
            (allowed.len() < labels.len()).then_some(allowed)
        };
        Self {
            temperature: Temperature::default(),
            outside: labels.outside(),
            predecessors: ids().map(predecessors).collect(),
            may_start: ids().map(|next| labels.may_follow(None, next)).collect(),
        }
    }

    /// The same decoder, its scores stated at a temperature.
    pub fn with_temperature(self, temperature: Temperature) -> Self {
        Self { temperature, ..self }
    }

    /// How many labels there are: the width of a row.
    pub fn width(&self) -> usize {
        self.predecessors.len()
    }

    /// The labels of a text's words; `has_row` says of each word whether the next row of `rows` is its.
    ///
    /// `rows` holds one row of logits for each word that has one, row-major. A word without a row is `O`, surely, and no
    /// entity reaches across it. A score is the label's softmax probability in its row, at the decoder's temperature.
    ///
    /// Constrained decoding is Viterbi's algorithm (Viterbi 1967) on log-probabilities: the sequence of labels with the
    /// highest product of probabilities among those in which each may follow the one before. A label that may follow any
    /// other, as all of IOB2 but `I-X`, looks only at the best sequence so far, so the time is linear in words and labels;
    /// and where the words' most probable labels are a valid sequence already, that is the answer and nothing is searched.
    /// The lowest label wins a tie.
    ///
    /// `None` where the rows are not as many as the words that have one, or a logit is NaN or infinite.
    pub fn decode(
        &self,
        rows: &[f32],
        has_row: impl DoubleEndedIterator<Item = bool> + ExactSizeIterator + Clone,
        decoding: Decoding,
    ) -> Option<Vec<WordLabel>> {
        let mut labels: Vec<WordLabel> = Vec::with_capacity(has_row.len());
        let mut remaining = rows.chunks_exact(self.width());
        let mut valid = true;
        for present in has_row.clone() {
            let word = match present {
                true => best_label_at(remaining.next()?, self.temperature)?,
                false => self.surely_outside(),
            };
            valid = valid && self.may_follow(labels.last(), word.label);
            labels.push(word);
        }
        if remaining.next().is_some() || !remaining.remainder().is_empty() {
            return None;
        }
        if decoding == Decoding::Constrained && !valid {
            self.correct(rows, has_row, &mut labels);
        }
        Some(labels)
    }

    /// [`Self::decode`] for words whose rows came in another order: each word's own, where it has one.
    pub fn decode_words(&self, rows: &[Option<Vec<f32>>], decoding: Decoding) -> Option<Vec<WordLabel>> {
        if rows.iter().flatten().any(|row| row.len() != self.width()) {
            return None;
        }
        let flat: Vec<f32> = rows.iter().flatten().flatten().copied().collect();
        self.decode(&flat, rows.iter().map(Option::is_some), decoding)
    }

    fn surely_outside(&self) -> WordLabel {
        WordLabel {
            label: self.outside,
            score: 1.0,
        }
    }

    fn may_follow(&self, previous: Option<&WordLabel>, next: LabelId) -> bool {
        match (previous, &self.predecessors[next.0]) {
            (None, _) => self.may_start[next.0],
            (Some(_), None) => true,
            (Some(previous), Some(allowed)) => allowed.contains(&previous.label.0),
        }
    }

    /// Gives each word its label in the best valid sequence.
    fn correct(
        &self,
        rows: &[f32],
        has_row: impl DoubleEndedIterator<Item = bool> + ExactSizeIterator + Clone,
        labels: &mut [WordLabel],
    ) {
        let width = self.width();
        // For each word and label, the label before it on the best sequence that ends there.
        let mut origins: Vec<u32> = Vec::with_capacity(labels.len() * width);
        // For each label, how good the best sequence is that ends with it: its sum of logits. Log-probabilities differ
        // from logits by each row's normaliser, which all sequences share.
        let mut reached: Vec<f64> = Vec::new();
        let mut remaining = rows.chunks_exact(width);
        for present in has_row.clone() {
            let row = if present { remaining.next() } else { None };
            let mut extended: Vec<f64> = Vec::with_capacity(width);
            let best = best_of(&reached, 0..reached.len());
            for (label, allowed) in self.predecessors.iter().enumerate() {
                let (origin, before) = match allowed {
                    _ if reached.is_empty() && self.may_start[label] => (0, 0.0),
                    _ if reached.is_empty() => (0, f64::NEG_INFINITY),
                    None => best,
                    Some(allowed) => best_of(&reached, allowed.iter().copied()),
                };
                let here = match row {
                    Some(row) => f64::from(row[label]),
                    None if label == self.outside.0 => 0.0,
                    None => f64::NEG_INFINITY,
                };
                origins.push(origin as u32);
                extended.push(before + here);
            }
            // Counted from the best, so that a long text's sums keep their precision.
            let (_, highest) = best_of(&extended, 0..width);
            if highest == f64::NEG_INFINITY {
                // A scheme in which nothing may stand here, not even `O`: there is no valid sequence to choose.
                return;
            }
            extended.iter_mut().for_each(|score| *score -= highest);
            reached = extended;
        }
        let (mut label, _) = best_of(&reached, 0..width);
        let mut remaining = rows.chunks_exact(width).rev();
        let words = labels.iter_mut().zip(has_row).zip(origins.chunks_exact(width));
        for ((word, present), origins) in words.rev() {
            *word = match present.then(|| remaining.next()).flatten() {
                Some(row) => WordLabel {
                    label: LabelId(label),
                    score: probability(row, row[label], self.temperature),
                },
                None => self.surely_outside(),
            };
            label = origins[label] as usize;
        }
    }
}

/// The first of `among` with the highest score, and that score.
fn best_of(scores: &[f64], among: impl Iterator<Item = usize>) -> (usize, f64) {
    among.fold((0, f64::NEG_INFINITY), |best, at| {
        if scores[at] > best.1 {
            (at, scores[at])
        } else {
            best
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_score_is_the_softmax_probability() {
        let read = best_label(&[1.0, 3.0, 2.0]).unwrap();
        assert_eq!(read.label, LabelId(1));
        assert!((read.score - 0.665_240_96).abs() < 1e-6);
    }

    #[test]
    fn extreme_logits_do_not_overflow() {
        assert_eq!(best_label(&[f32::MIN, f32::MAX]).unwrap().score, 1.0);
        assert_eq!(best_label(&[1e30, 1e30]).unwrap().score, 0.5);
        assert_eq!(best_label(&[1e30, 1e30]).unwrap().label, LabelId(0));
        let one = Temperature::default();
        assert_eq!(probability(&[f32::MIN, f32::MAX], f32::MIN, one), 0.0);
    }

    #[test]
    fn no_label_without_finite_logits() {
        assert_eq!(best_label(&[]), None);
        assert_eq!(best_label(&[0.0, f32::NAN]), None);
        assert_eq!(best_label(&[0.0, f32::INFINITY]), None);
    }

    /// O, B-a, I-a, B-b, I-b.
    fn decoder() -> (LabelSet, Decoder) {
        let labels = LabelSet::iob2(["a", "b"]).unwrap();
        let decoder = Decoder::new(&labels);
        (labels, decoder)
    }

    fn decoded(rows: &[[f32; 5]], has_row: &[bool], decoding: Decoding) -> Vec<usize> {
        let words = decoder()
            .1
            .decode(rows.as_flattened(), has_row.iter().copied(), decoding);
        words.unwrap().iter().map(|word| word.label.0).collect()
    }

    #[test]
    fn an_orphan_takes_the_best_label_that_may_stand_there() {
        let inside_a = [1.0, 0.0, 5.0, 0.0, 0.0];
        let begin_b = [0.0, 0.0, 0.0, 9.0, 0.0];
        let rows = [inside_a, begin_b, inside_a];
        let all = [true; 3];
        assert_eq!(decoded(&rows, &all, Decoding::Independent), [2, 3, 2]);
        assert_eq!(decoded(&rows, &all, Decoding::Constrained), [0, 3, 0]);
        // Two sure I-a after an unsure first make the first a B-a.
        assert_eq!(
            decoded(&[inside_a, inside_a], &[true; 2], Decoding::Constrained),
            [1, 2]
        );
    }

    #[test]
    fn a_word_without_a_row_is_outside_and_breaks_the_entity() {
        let rows = [[0.0, 5.0, 0.0, 0.0, 0.0], [1.0, 0.0, 5.0, 0.0, 0.0]];
        assert_eq!(decoded(&rows, &[true, true], Decoding::Constrained), [1, 2]);
        assert_eq!(
            decoded(&rows, &[true, false, true], Decoding::Constrained),
            [1, 0, 0]
        );
        assert_eq!(
            decoded(&rows, &[true, false, true], Decoding::Independent),
            [1, 0, 2]
        );
        assert!(decoded(&[], &[], Decoding::Constrained).is_empty());
    }

    #[test]
    fn rows_that_are_not_the_words_have_no_labels() {
        let decoder = decoder().1;
        let row = [0.0; 5];
        for (rows, words) in [(&row[..], 2), (&row[..], 0), (&row[..4], 1)] {
            let has_row = std::iter::repeat_n(true, words);
            assert_eq!(decoder.decode(rows, has_row, Decoding::Constrained), None);
        }
        let short = [Some(vec![0.0; 4]), Some(vec![0.0; 6])];
        assert_eq!(decoder.decode_words(&short, Decoding::Constrained), None);
        let whole = [Some(vec![0.0; 5]), None];
        assert_eq!(
            decoder.decode_words(&whole, Decoding::Constrained).unwrap().len(),
            2
        );
    }

    /// The best score, as a sum of logits, of a valid sequence over all words with rows.
    fn best_by_brute_force(labels: &LabelSet, rows: &[[f32; 5]], has_row: &[bool]) -> f64 {
        fn search(labels: &LabelSet, rows: &[[f32; 5]], has_row: &[bool], previous: Option<LabelId>) -> f64 {
            let Some((&present, later_words)) = has_row.split_first() else {
                return 0.0;
            };
            let (row, later_rows) = match present {
                true => (Some(rows[0]), &rows[1..]),
                false => (None, rows),
            };
            let choices = (0..labels.len()).map(LabelId).filter(|&next| {
                labels.may_follow(previous, next) && (row.is_some() || next == labels.outside())
            });
            choices
                .map(|next| {
                    let here = row.map_or(0.0, |row| f64::from(row[next.0]));
                    here + search(labels, later_rows, later_words, Some(next))
                })
                .fold(f64::NEG_INFINITY, f64::max)
        }
        search(labels, rows, has_row, None)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(1000))]

        #[test]
        fn it_finds_what_trying_every_sequence_finds(
            words in prop::collection::vec((prop::array::uniform5(-4i8..=4), prop::bool::weighted(0.85)), 0..6)
        ) {
            let (labels, decoder) = decoder();
            let has_row: Vec<bool> = words.iter().map(|(_, present)| *present).collect();
            let present = words.iter().filter(|(_, present)| *present);
            let rows: Vec<[f32; 5]> = present.map(|(row, _)| row.map(f32::from)).collect();
            let found = decoder
                .decode(rows.as_flattened(), has_row.iter().copied(), Decoding::Constrained)
                .unwrap();
            let mut score = 0.0;
            let mut previous = None;
            let mut row = rows.iter();
            for (word, &present) in found.iter().zip(&has_row) {
                prop_assert!(labels.may_follow(previous, word.label));
                previous = Some(word.label);
                if present {
                    let row = row.next().unwrap();
                    score += f64::from(row[word.label.0]);
                    prop_assert_eq!(word.score, probability(row, row[word.label.0], Temperature::default()));
                } else {
                    prop_assert_eq!((word.label, word.score), (labels.outside(), 1.0));
                }
            }
            // Whole numbers, so that equal sums are equal.
            prop_assert_eq!(score, best_by_brute_force(&labels, &rows, &has_row));
        }

        #[test]
        fn a_temperature_changes_scores_and_never_a_label(
            words in prop::collection::vec((prop::array::uniform5(-30f32..30.0), prop::bool::weighted(0.85)), 0..8),
            temperature in prop::num::f64::POSITIVE | prop::num::f64::SUBNORMAL,
            constrained in any::<bool>(),
        ) {
            let decoder = decoder().1;
            let temperature = Temperature::new(temperature.abs()).unwrap();
            let decoding = if constrained { Decoding::Constrained } else { Decoding::Independent };
            let rows: Vec<Option<Vec<f32>>> =
                words.iter().map(|(row, present)| present.then(|| row.to_vec())).collect();
            let plain = decoder.decode_words(&rows, decoding).unwrap();
            let calibrated = decoder.clone().with_temperature(temperature).decode_words(&rows, decoding).unwrap();
            let unchanged = decoder.with_temperature(Temperature::default()).decode_words(&rows, decoding).unwrap();
            prop_assert_eq!(&plain, &unchanged);
            for ((plain, calibrated), row) in plain.iter().zip(&calibrated).zip(&rows) {
                prop_assert_eq!(plain.label, calibrated.label);
                prop_assert!((0.0..=1.0).contains(&calibrated.score), "{}", calibrated.score);
                if row.is_none() {
                    prop_assert_eq!(calibrated.score, 1.0);
                }
            }
        }
    }

    #[test]
    fn a_temperature_divides_the_logits() {
        let (_, decoder) = decoder();
        let rows = [Some(vec![2.0, 6.0, -2.0, 0.0, 1.0])];
        let halves = [Some(vec![1.0, 3.0, -1.0, 0.0, 0.5])];
        let two = decoder.clone().with_temperature(Temperature::new(2.0).unwrap());
        let calibrated = two.decode_words(&rows, Decoding::Constrained);
        assert_eq!(calibrated, decoder.decode_words(&halves, Decoding::Constrained));
    }
}
