//! The labels of a text's words and their probabilities, decoded from logits.

use std::borrow::Borrow;

use crate::entity::{OrphanRule, entities};
use crate::label::LabelSet;
use crate::symbol::is_symbol;
use crate::tag::{EntityType, LabelId, Tag};
use crate::temperature::Temperature;
use crate::transition_scores::TransitionScores;

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
    /// The most probable sequence in which every label may follow its predecessor ([`LabelSet::may_follow`]), with the model's
    /// transition scores where it has some. An entity that consists of symbols ([`is_symbol`]) becomes `O`.
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
    transitions: Option<TransitionScores>,
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
            transitions: None,
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

    /// The same decoder with the transition scores of a model; `None` if they are of another number of labels.
    pub fn with_transitions(self, transitions: Option<TransitionScores>) -> Option<Self> {
        let fits = |scores: &TransitionScores| scores.as_slice().len() == (self.width() + 1).pow(2);
        transitions
            .as_ref()
            .is_none_or(fits)
            .then_some(Self { transitions, ..self })
    }

    /// The same decoder without transition scores.
    pub fn without_transitions(self) -> Self {
        Self {
            transitions: None,
            ..self
        }
    }

    /// Whether transition scores are added to the logits.
    pub fn has_transitions(&self) -> bool {
        self.transitions.is_some()
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
    /// The lowest label wins a tie. With transition scores, which are added to the logits along a sequence, there always is a
    /// search, and its time grows with the square of the number of labels.
    ///
    /// A word without a row takes no part in the decision: the label of the next word with a row follows that of the previous
    /// one. Between two words of one entity it is inside the entity, with the mean score of the entity's words, so that the
    /// entity has the same mean score with and without it. Elsewhere it is `O` with score 1.
    ///
    /// `is_symbol` says of a word, by its index, whether it consists of symbols. Constrained decoding gives `O` to the words of
    /// an entity that has no other words. No other label changes by that.
    ///
    /// `None` if the number of rows differs from the number of words that have one, or if a logit is NaN or infinite.
    pub fn decode(
        &self,
        rows: &[f32],
        has_row: impl Iterator<Item = bool>,
        is_symbol: impl Fn(usize) -> bool,
        decoding: Decoding,
    ) -> Option<Vec<WordLabel>> {
        let mut search = LabelSearch::new(rows, decoding);
        while !search.step(self, usize::MAX) {}
        self.finish(search, has_row, is_symbol)
    }

    /// The labels of a finished search, as [`Self::decode`] returns them.
    pub fn finish<R: Borrow<[f32]>>(
        &self,
        search: LabelSearch<R>,
        has_row: impl Iterator<Item = bool>,
        is_symbol: impl Fn(usize) -> bool,
    ) -> Option<Vec<WordLabel>> {
        let decided = search.labels?;
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
        if search.decoding == Decoding::Constrained {
            self.drop_symbols(&mut labels, &with_row, search.rows.borrow(), is_symbol);
        }
        if with_row.len() < labels.len() {
            self.fill_gaps(&mut labels, &with_row);
        }
        Some(labels)
    }

    /// [`Self::decode`] for one optional row of logits per word, in the order of the words. `None` if there are not as many
    /// words as rows.
    pub fn decode_words<S: AsRef<str>>(
        &self,
        words: &[S],
        rows: &[Option<Vec<f32>>],
        decoding: Decoding,
    ) -> Option<Vec<WordLabel>> {
        if words.len() != rows.len() || rows.iter().flatten().any(|row| row.len() != self.width()) {
            return None;
        }
        let flat: Vec<f32> = rows.iter().flatten().flatten().copied().collect();
        let is_symbol = |word: usize| is_symbol(words[word].as_ref());
        self.decode(&flat, rows.iter().map(Option::is_some), is_symbol, decoding)
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

    /// Gives `O` to the words of each entity whose words with a row all consist of symbols.
    fn drop_symbols(
        &self,
        labels: &mut [WordLabel],
        with_row: &[usize],
        rows: &[f32],
        is_symbol: impl Fn(usize) -> bool,
    ) {
        let tags = with_row.iter().map(|&word| self.tags[labels[word].label.0]);
        for entity in entities(tags, OrphanRule::Start) {
            let words = &with_row[entity.words.range()];
            if !words.iter().all(|&word| is_symbol(word)) {
                continue;
            }
            let rows = rows.chunks_exact(self.width()).skip(entity.words.start());
            for (&word, row) in words.iter().zip(rows) {
                labels[word] = WordLabel {
                    label: self.outside,
                    score: probability(row, row[self.outside.0], self.temperature),
                };
            }
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

/// The search for the labels of the words that have a row of logits, in steps, so that a long text can be decoded in turns with others.
pub struct LabelSearch<R> {
    /// Row-major, shape `[words with a row, width]`.
    rows: R,
    decoding: Decoding,
    phase: SearchPhase,
    /// The labels so far; `None` once a row has no best label.
    labels: Option<Vec<WordLabel>>,
    /// Whether the most probable labels form a valid sequence.
    valid: bool,
    /// For each word and label, the preceding label in the best sequence that ends with them.
    origins: Vec<u32>,
    /// For each label, the sum of logits of the best sequence that ends with the label. Log-probabilities differ from
    /// logits by a normalizer per row, which is the same for all sequences.
    reached: Vec<f64>,
}

/// What a step continues.
#[derive(Clone, Copy)]
enum SearchPhase {
    /// The most probable label of each word is chosen, from this word on.
    Choose(usize),
    /// The best sequences are extended, from this word on.
    Extend(usize),
    /// The best sequence is followed back, from the word before this one, which has the label.
    Follow(usize, usize),
    Done,
}

impl<R: Borrow<[f32]>> LabelSearch<R> {
    /// A search among the labels of these rows.
    pub fn new(rows: R, decoding: Decoding) -> Self {
        Self {
            rows,
            decoding,
            phase: SearchPhase::Choose(0),
            labels: Some(Vec::new()),
            valid: true,
            origins: Vec::new(),
            reached: Vec::new(),
        }
    }

    /// Continues for at most so many words. True once the search is complete. The decoder must be the same at each step.
    pub fn step(&mut self, decoder: &Decoder, words: usize) -> bool {
        let width = decoder.width();
        let count = self.rows.borrow().len() / width;
        self.phase = match self.phase {
            SearchPhase::Choose(first) => self.choose(decoder, first, count.min(first.saturating_add(words))),
            SearchPhase::Extend(first) => self.extend(decoder, first, count.min(first.saturating_add(words))),
            SearchPhase::Follow(end, label) => self.follow(decoder, end.saturating_sub(words), end, label),
            SearchPhase::Done => SearchPhase::Done,
        };
        matches!(self.phase, SearchPhase::Done)
    }

    fn choose(&mut self, decoder: &Decoder, first: usize, end: usize) -> SearchPhase {
        let rows = self.rows.borrow().chunks_exact(decoder.width());
        let (complete, count) = (rows.remainder().is_empty(), rows.len());
        let Some(labels) = self.labels.as_mut().filter(|_| complete) else {
            self.labels = None;
            return SearchPhase::Done;
        };
        for row in rows.skip(first).take(end - first) {
            let Some(word) = best_label_at(row, decoder.temperature) else {
                self.labels = None;
                return SearchPhase::Done;
            };
            self.valid = self.valid && decoder.may_follow(labels.last(), word.label);
            labels.push(word);
        }
        match self.decoding {
            _ if end < count => SearchPhase::Choose(end),
            Decoding::Constrained if !self.valid || (decoder.has_transitions() && count > 0) => {
                SearchPhase::Extend(0)
            }
            Decoding::Constrained | Decoding::Independent => SearchPhase::Done,
        }
    }

    /// Extends the best sequences by the words from `first` to `end` (Viterbi's algorithm).
    fn extend(&mut self, decoder: &Decoder, first: usize, end: usize) -> SearchPhase {
        let width = decoder.width();
        let rows = self.rows.borrow().chunks_exact(width);
        let count = rows.len();
        for row in rows.skip(first).take(end - first) {
            let mut extended: Vec<f64> = Vec::with_capacity(width);
            let reached = &self.reached;
            let best = best_of(reached, 0..reached.len());
            for (label, allowed) in decoder.predecessors.iter().enumerate() {
                let (origin, before) = match (allowed, &decoder.transitions) {
                    _ if reached.is_empty() && !decoder.may_start[label] => (0, f64::NEG_INFINITY),
                    (_, scores) if reached.is_empty() => {
                        (0, scores.as_ref().map_or(0.0, |scores| scores.after(None, label)))
                    }
                    (None, None) => best,
                    (Some(allowed), None) => best_of(reached, allowed.iter().copied()),
                    (allowed, Some(scores)) => {
                        let score = |at: usize| reached[at] + scores.after(Some(at), label);
                        match allowed {
                            None => best_by(0..width, score),
                            Some(allowed) => best_by(allowed.iter().copied(), score),
                        }
                    }
                };
                self.origins.push(origin as u32);
                extended.push(before + f64::from(row[label]));
            }
            // Sums are relative to the best one, so that they keep their precision in a long text.
            let (_, highest) = best_of(&extended, 0..width);
            if highest == f64::NEG_INFINITY {
                // The scheme permits no label here, not even `O`: no valid sequence exists.
                return SearchPhase::Done;
            }
            extended.iter_mut().for_each(|score| *score -= highest);
            self.reached = extended;
        }
        match end < count {
            true => SearchPhase::Extend(end),
            false => {
                let at_end = |label: usize| match &decoder.transitions {
                    Some(scores) => self.reached[label] + scores.at_end(LabelId(label)),
                    None => self.reached[label],
                };
                SearchPhase::Follow(count, best_by(0..width, at_end).0)
            }
        }
    }

    /// Takes the labels of the best sequence for the words before `end`, back to `first`.
    fn follow(&mut self, decoder: &Decoder, first: usize, end: usize, mut label: usize) -> SearchPhase {
        let width = decoder.width();
        let rows = self.rows.borrow()[first * width..end * width].chunks_exact(width);
        let origins = self.origins[first * width..end * width].chunks_exact(width);
        let labels = self.labels.as_deref_mut().unwrap_or_default();
        let words = labels[first..end].iter_mut().zip(rows).zip(origins);
        for ((word, row), origins) in words.rev() {
            *word = WordLabel {
                label: LabelId(label),
                score: probability(row, row[label], decoder.temperature),
            };
            label = origins[label] as usize;
        }
        match first {
            0 => SearchPhase::Done,
            _ => SearchPhase::Follow(first, label),
        }
    }
}

/// The first index in `among` with the highest score, and the score.
fn best_of(scores: &[f64], among: impl Iterator<Item = usize>) -> (usize, f64) {
    best_by(among, |at| scores[at])
}

/// The first index in `among` with the highest score, and the score.
fn best_by(among: impl Iterator<Item = usize>, score: impl Fn(usize) -> f64) -> (usize, f64) {
    among.fold((0, f64::NEG_INFINITY), |best, at| match score(at) {
        higher if higher > best.1 => (at, higher),
        _ => best,
    })
}

#[cfg(test)]
mod tests;
