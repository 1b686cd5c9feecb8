//! The logits of a text's words to their labels, in steps.

use nerve_tagging::{Decoder, LabelSearch, is_symbol};

use crate::pipeline::aggregation::{Aggregation, DecodingOptions, WordRows};
use crate::pipeline::error::TagError;
use crate::pipeline::model::TextModel;
use crate::pipeline::prepare::Prepared;
use crate::pipeline::tagged::TaggedText;
use crate::scheduler::job::LogitMatrix;

/// Words of a step, which takes about a millisecond.
const STEP_WORDS: usize = 2048;

/// The decision about the labels of a text, in steps, so that long texts and short ones take turns.
pub(super) struct Decision {
    text: Prepared,
    reading: DecodingOptions,
    phase: Phase,
}

enum Phase {
    Combine(WordRows),
    Search(LabelSearch<Vec<f32>>),
}

impl Decision {
    /// The decision from the logits of the tokens that are read.
    pub(super) fn new(text: Prepared, logits: LogitMatrix, reading: DecodingOptions) -> Self {
        let rows = WordRows::new(reading.aggregation, logits, text.read_lengths());
        Self {
            text,
            reading,
            phase: Phase::Combine(rows),
        }
    }

    /// Takes a step. True once the labels are decided.
    pub(super) fn step(&mut self, model: &TextModel) -> bool {
        match &mut self.phase {
            Phase::Combine(rows) => {
                if rows.step(model.decoder.width(), STEP_WORDS) {
                    let empty = WordRows::new(Aggregation::First, Vec::new(), std::iter::empty());
                    let rows = std::mem::replace(rows, empty).finish();
                    self.phase = Phase::Search(LabelSearch::new(rows, self.reading.decoding));
                }
                false
            }
            Phase::Search(search) => search.step(decoder(model, self.reading.aggregation), STEP_WORDS),
        }
    }

    /// The text with its labels, once they are decided.
    pub(super) fn finish(self, model: &TextModel) -> Result<TaggedText, TagError> {
        let Phase::Search(search) = self.phase else {
            return Err(TagError::InferenceFailed);
        };
        let text = self.text;
        let is_symbol = |word: usize| {
            let span = text.words.spans.get(word);
            span.and_then(|span| span.slice(&text.words.text))
                .is_none_or(is_symbol)
        };
        let decoder = decoder(model, self.reading.aggregation);
        let labels = decoder.finish(search, text.has_subword(), is_symbol);
        let mut labels = labels.ok_or(TagError::InferenceFailed)?;
        let joined = self.reading.aggregation != Aggregation::None;
        if !joined {
            // Each token is an entity of its own, and a word without tokens has none to be inside of.
            let unseen = labels
                .iter_mut()
                .zip(text.has_subword())
                .filter(|(_, seen)| !seen);
            unseen.for_each(|(label, _)| *label = decoder.outside_word());
        }
        Ok(TaggedText {
            words: text.words,
            labels,
            joined,
        })
    }
}

/// The decoder of words, or of tokens where these are labeled.
fn decoder(model: &TextModel, aggregation: Aggregation) -> &Decoder {
    match aggregation.is_of_tokens() {
        true => &model.token_decoder,
        false => &model.decoder,
    }
}
