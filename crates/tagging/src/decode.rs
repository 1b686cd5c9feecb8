//! The labels of a text's words and their probabilities, decoded from logits.

use crate::entity::{OrphanRule, entities};
use crate::label::LabelSet;
use crate::tag::{EntityType, LabelId, Tag};
use crate::temperature::Temperature;

/// A word's label and its probability.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct WordLabel {
    /// The label of the word.
    pub label: LabelId,
    /// Its softmax probability at the decoder's temperature, in [0, 1].
    pub score: f32,
}

/// The most probable label of one row of logits and its softmax probability. The lowest id wins a tie.
///
/// The largest logit is subtracted before exponentiation, so no finite input overflows. `None` for an empty row and for
/// a row with a NaN or infinite logit, which has no softmax probabilities.
pub fn best_label(logits: &[f32]) -> Option<WordLabel> {
    best_label_at(logits, Temperature::default())
}

/// [`best_label`] with the probability at a temperature.
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
    // The difference of two finite f32 logits can overflow f32, but not f64. For a label far below the best one the sum
    // is infinite and the probability is 0.
    let relative: f64 = logits
        .iter()
        .map(|&logit| ((f64::from(logit) - f64::from(chosen)) / temperature.get()).exp())
        .sum();
    (1.0 / relative) as f32
}

/// Whether the labels of a text must form a valid sequence of the label scheme.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Decoding {
    /// The most probable sequence in which every label may follow its predecessor ([`LabelSet::may_follow`]).
    #[default]
    Constrained,
    /// The most probable label of each word, regardless of its neighbors.
    Independent,
}

/// A decoder from logits to the labels of a text's words, for any number of texts of one label set.
///
/// The temperature (Guo et al. 2017) divides the logits only where a score is computed. Labels are decided on the
/// undivided logits, so calibration never changes a label: dividing the logits keeps the order of one word's labels, but
/// not the order of the probabilities of label sequences.
#[derive(Clone, Debug)]
pub struct Decoder {
    temperature: Temperature,
    outside: LabelId,
    /// For each label, the labels it may follow; `None` where it may follow any.
    predecessors: Vec<Option<Vec<usize>>>,
    /// For each label, whether a text may begin with it.
    may_start: Vec<bool>,
    /// The tag of each label.
    tags: Vec<Tag>,
    /// For each entity type, the label of a word inside an entity; `None` where the set has none.
    inside: Vec<Option<LabelId>>,
}

impl Decoder {
    /// The decoder of a label set with temperature 1, that is, without calibration.
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
            tags: ids()
                .map(|label| labels.tag(label).unwrap_or(Tag::Outside))
                .collect(),
            inside: (0..labels.types().len())
                .map(|of| labels.id(Tag::Inside(EntityType(of))))
                .collect(),
        }
    }

    /// The same decoder with scores computed at the given temperature.
    pub fn with_temperature(self, temperature: Temperature) -> Self {
        Self { temperature, ..self }
    }

    /// The number of labels, which is the length of a row of logits.
    pub fn width(&self) -> usize {
        self.predecessors.len()
    }

    /// The label of each word of a text, with its softmax probability at the decoder's temperature.
    ///
    /// `has_row` yields one item per word: whether the word has a row of logits. `rows` contains the rows of those words in
    /// order, row-major, shape `[words with a row, width]`.
    ///
    /// Constrained decoding is Viterbi's algorithm (Viterbi 1967) on log-probabilities: among the sequences in which each
    /// label may follow its predecessor, it finds the one with the highest product of probabilities. A label that may follow
    /// any other (in IOB2, every label except `I-X`) extends the best sequence so far, so the time is linear in words and
    /// labels. If the most probable labels of the words already form a valid sequence, they are returned without a search.
    /// The lowest label wins a tie.
    ///
    /// A word without a row takes no part in the decision: the label of the next word with a row follows that of the previous
    /// one. Between two words of one entity it is inside the entity, with the mean score of the entity's words, so that the
    /// entity has the same mean score with and without it. Elsewhere it is `O` with score 1.
    ///
    /// `None` if the number of rows differs from the number of words that have one, or if a logit is NaN or infinite.
    pub fn decode(
        &self,
        rows: &[f32],
        has_row: impl Iterator<Item = bool>,
        decoding: Decoding,
    ) -> Option<Vec<WordLabel>> {
        let decided = self.decode_rows(rows, decoding)?;
        let mut remaining = decided.iter();
        let mut labels = Vec::with_capacity(decided.len());
        let mut with_row = Vec::with_capacity(decided.len());
        for present in has_row {
            if present {
                with_row.push(labels.len());
                labels.push(*remaining.next()?);
            } else {
                labels.push(self.outside_word());
            }
        }
        if remaining.next().is_some() {
            return None;
        }
        if with_row.len() < labels.len() {
            self.fill_gaps(&mut labels, &with_row);
        }
        Some(labels)
    }

    /// [`Self::decode`] where every word has a row of logits.
    fn decode_rows(&self, rows: &[f32], decoding: Decoding) -> Option<Vec<WordLabel>> {
        let rows = rows.chunks_exact(self.width());
        if !rows.remainder().is_empty() {
            return None;
        }
        let mut labels: Vec<WordLabel> = Vec::with_capacity(rows.len());
        let mut valid = true;
        for row in rows.clone() {
            let word = best_label_at(row, self.temperature)?;
            valid = valid && self.may_follow(labels.last(), word.label);
            labels.push(word);
        }
        if decoding == Decoding::Constrained && !valid {
            self.constrain(rows, &mut labels);
        }
        Some(labels)
    }

    /// [`Self::decode`] for one optional row of logits per word, in the order of the words.
    pub fn decode_words(&self, rows: &[Option<Vec<f32>>], decoding: Decoding) -> Option<Vec<WordLabel>> {
        if rows.iter().flatten().any(|row| row.len() != self.width()) {
            return None;
        }
        let flat: Vec<f32> = rows.iter().flatten().flatten().copied().collect();
        self.decode(&flat, rows.iter().map(Option::is_some), decoding)
    }

    /// `O` with score 1: the label of a word that the model does not see.
    pub fn outside_word(&self) -> WordLabel {
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

    /// Replaces the labels by the best valid sequence, found with Viterbi's algorithm.
    fn constrain<'r>(
        &self,
        rows: impl DoubleEndedIterator<Item = &'r [f32]> + ExactSizeIterator + Clone,
        labels: &mut [WordLabel],
    ) {
        let width = self.width();
        // For each word and label, the preceding label in the best sequence that ends with them.
        let mut origins: Vec<u32> = Vec::with_capacity(labels.len() * width);
        // For each label, the sum of logits of the best sequence that ends with the label. Log-probabilities differ from
        // logits by a normalizer per row, which is the same for all sequences.
        let mut reached: Vec<f64> = Vec::new();
        for row in rows.clone() {
            let mut extended: Vec<f64> = Vec::with_capacity(width);
            let best = best_of(&reached, 0..reached.len());
            for (label, allowed) in self.predecessors.iter().enumerate() {
                let (origin, before) = match allowed {
                    _ if reached.is_empty() && self.may_start[label] => (0, 0.0),
                    _ if reached.is_empty() => (0, f64::NEG_INFINITY),
                    None => best,
                    Some(allowed) => best_of(&reached, allowed.iter().copied()),
                };
                origins.push(origin as u32);
                extended.push(before + f64::from(row[label]));
            }
            // Sums are relative to the best one, so that they keep their precision in a long text.
            let (_, highest) = best_of(&extended, 0..width);
            if highest == f64::NEG_INFINITY {
                // The scheme permits no label here, not even `O`: no valid sequence exists.
                return;
            }
            extended.iter_mut().for_each(|score| *score -= highest);
            reached = extended;
        }
        let (mut label, _) = best_of(&reached, 0..width);
        let words = labels.iter_mut().zip(rows).zip(origins.chunks_exact(width));
        for ((word, row), origins) in words.rev() {
            *word = WordLabel {
                label: LabelId(label),
                score: probability(row, row[label], self.temperature),
            };
            label = origins[label] as usize;
        }
    }

    /// Gives the words between two neighbors of `with_row`, the words that have a row, the label of an inner word if both
    /// neighbors belong to one entity.
    fn fill_gaps(&self, labels: &mut [WordLabel], with_row: &[usize]) {
        let tags = with_row.iter().map(|&word| self.tags[labels[word].label.0]);
        for entity in entities(tags, OrphanRule::Start) {
            let words = &with_row[entity.words.range()];
            let Some(inside) = self.inside.get(entity.entity_type.0).copied().flatten() else {
                continue;
            };
            let total: f64 = words.iter().map(|&word| f64::from(labels[word].score)).sum();
            let filler = WordLabel {
                label: inside,
                score: (total / words.len() as f64) as f32,
            };
            for pair in words.windows(2) {
                labels[pair[0] + 1..pair[1]].fill(filler);
            }
        }
    }
}

/// The first index in `among` with the highest score, and the score.
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
        // Two words that are clearly inside `a`: the first becomes B-a instead of both becoming O.
        assert_eq!(
            decoded(&[inside_a, inside_a], &[true; 2], Decoding::Constrained),
            [1, 2]
        );
    }

    #[test]
    fn a_word_without_a_row_lies_inside_the_entity_around_it() {
        let (begin, inside) = ([0.0, 5.0, 0.0, 0.0, 0.0], [1.0, 0.0, 5.0, 0.0, 0.0]);
        let outside = [5.0, 0.0, 0.0, 0.0, 0.0];
        for decoding in [Decoding::Constrained, Decoding::Independent] {
            let rows = [begin, inside, outside];
            let has_row = [false, true, false, false, true, false, true, false];
            assert_eq!(decoded(&rows, &has_row, decoding), [0, 1, 2, 2, 2, 0, 0, 0]);
            // Two entities side by side, and an entity before `O`, have nothing between them.
            assert_eq!(
                decoded(
                    &[begin, begin, outside],
                    &[true, false, true, false, true],
                    decoding
                ),
                [1, 0, 1, 0, 0]
            );
            assert_eq!(decoded(&[], &[false, false], decoding), [0, 0]);
        }
        assert!(decoded(&[], &[], Decoding::Constrained).is_empty());
    }

    #[test]
    fn a_word_without_a_row_changes_no_score() {
        let decoder = decoder().1;
        let (begin, inside) = (vec![0.0, 3.0, 0.0, 0.0, 0.0], vec![1.0, 0.0, 2.0, 0.0, 0.0]);
        let decode = |rows: &[_]| decoder.decode_words(rows, Decoding::Constrained).unwrap();
        let words = decode(&[Some(begin.clone()), None, Some(inside.clone()), None]);
        let without = decode(&[Some(begin), Some(inside)]);
        assert_eq!([words[0], words[2]], without[..]);
        let mean = (without[0].score + without[1].score) / 2.0;
        assert!((words[1].score - mean).abs() < 1e-6);
        assert_eq!((words[3].label, words[3].score), (LabelId(0), 1.0));
    }

    #[test]
    fn a_word_without_a_row_has_the_inner_label_of_each_scheme() {
        let gap_label = |names: &[&str], before: &str, after: &str| {
            let labels = LabelSet::learn(names.iter().copied()).unwrap();
            let row = |name: &str| {
                let chosen = labels.parse(name).unwrap().0;
                Some(
                    (0..labels.len())
                        .map(|at| if at == chosen { 9.0 } else { 0.0 })
                        .collect(),
                )
            };
            let rows = [row(before), None, row(after)];
            let words = Decoder::new(&labels)
                .decode_words(&rows, Decoding::Constrained)
                .unwrap();
            labels.name(words[1].label).unwrap().to_owned()
        };
        let iobes = ["O", "B-a", "I-a", "E-a", "S-a"];
        assert_eq!(gap_label(&iobes, "B-a", "E-a"), "I-a");
        assert_eq!(gap_label(&iobes, "S-a", "S-a"), "O");
        assert_eq!(gap_label(&["O", "B-a", "M-a", "E-a", "S-a"], "B-a", "E-a"), "M-a");
        assert_eq!(gap_label(&["O", "I-a", "B-a", "I-b"], "I-a", "I-a"), "I-a");
        assert_eq!(gap_label(&["O", "I-a", "I-b"], "I-a", "I-b"), "O");
        assert_eq!(gap_label(&["O", "a"], "a", "a"), "a");
        // No label stands for an inner word.
        assert_eq!(gap_label(&["O", "B-a", "E-a"], "B-a", "E-a"), "O");
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

    /// The highest sum of logits of a valid sequence.
    fn best_by_brute_force(labels: &LabelSet, rows: &[[f32; 5]], previous: Option<LabelId>) -> f64 {
        let Some((row, later)) = rows.split_first() else {
            return 0.0;
        };
        let choices = (0..labels.len()).map(LabelId);
        choices
            .filter(|&next| labels.may_follow(previous, next))
            .map(|next| f64::from(row[next.0]) + best_by_brute_force(labels, later, Some(next)))
            .fold(f64::NEG_INFINITY, f64::max)
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
                }
            }
            // The logits are whole numbers, so the sums are exact.
            prop_assert_eq!(score, best_by_brute_force(&labels, &rows, None));
            // The entities are those of the words with a row.
            let tags = |words: Vec<WordLabel>| words.into_iter().map(|word| labels.tag(word.label).unwrap());
            let alone = decoder.decode_rows(rows.as_flattened(), Decoding::Constrained).unwrap();
            let numbers: Vec<usize> = (0..has_row.len()).filter(|&word| has_row[word]).collect();
            let expected: Vec<(usize, usize)> = entities(tags(alone), OrphanRule::Drop)
                .iter()
                .map(|entity| (numbers[entity.words.start()], numbers[entity.words.end() - 1] + 1))
                .collect();
            let found: Vec<(usize, usize)> = entities(tags(found), OrphanRule::Drop)
                .iter()
                .map(|entity| (entity.words.start(), entity.words.end()))
                .collect();
            prop_assert_eq!(found, expected);
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
                if row.is_none() && plain.label == LabelId(0) {
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
