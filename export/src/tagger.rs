//! Words in, labels out: a model on one session, for evaluation and bulk work.

use nerve_tagging::{LabelSet, Subwords, Window, WindowLimits, WordIndex, WordLabel, best_label, windows};
use thiserror::Error;

use crate::encoder::{EncoderError, TextEncoder};
use crate::model::Model;
use crate::session::{Logits, Session, SessionError};

/// Why words could not be labelled.
#[derive(Debug, Error)]
pub enum TagError {
    /// The tokenizer failed.
    #[error(transparent)]
    Encoder(#[from] EncoderError),
    /// Inference failed.
    #[error(transparent)]
    Session(#[from] SessionError),
    /// A word's logits are not finite numbers.
    #[error("the logits of word {0} are not finite numbers")]
    NotFinite(usize),
}

/// Windows that run together, in positions of the whole input.
const BATCH: usize = 8;

/// The labels of sentences' words; a word without subwords is `O` with certainty.
///
/// Windows of like length run together, and the answers come in the order of the sentences.
pub fn tag<S: AsRef<str>>(
    model: &Model,
    session: &mut Session,
    sentences: &[Vec<S>],
) -> Result<Vec<Vec<WordLabel>>, TagError> {
    tag_with(
        model.encoder(),
        model.limits(),
        model.labels(),
        session,
        sentences,
    )
}

/// [`tag`], over the parts of a model that is not in a directory yet.
pub(crate) fn tag_with<S: AsRef<str>>(
    encoder: &TextEncoder,
    limits: WindowLimits,
    labels: &LabelSet,
    session: &mut Session,
    sentences: &[Vec<S>],
) -> Result<Vec<Vec<WordLabel>>, TagError> {
    let encoded = encode(encoder, limits, sentences)?;
    let outside = WordLabel {
        label: labels.outside(),
        score: 1.0,
    };
    let mut answers: Vec<Vec<WordLabel>> = sentences.iter().map(|words| vec![outside; words.len()]).collect();
    let specials = encoder.specials().0;
    run_by_length(session, &encoded, |window, logits, row| {
        let subwords = &encoded.subwords[window.sentence];
        for word in window.window.answers.range() {
            let Some(position) = subwords.first_in_window(WordIndex(word), &window.window, specials) else {
                continue;
            };
            let read = logits
                .row(row, position)
                .and_then(best_label)
                .ok_or(TagError::NotFinite(word))?;
            answers[window.sentence][word] = read;
        }
        Ok(())
    })?;
    Ok(answers)
}

/// Sentences as the network reads them.
pub(crate) struct Encoded {
    subwords: Vec<Subwords>,
    pub(crate) windows: Vec<EncodedWindow>,
}

/// One window and the sentence it is of.
pub(crate) struct EncodedWindow {
    sentence: usize,
    window: Window,
    pub(crate) ids: Vec<u32>,
}

/// The windows of sentences, those without a token left out.
pub(crate) fn encode<S: AsRef<str>>(
    encoder: &TextEncoder,
    limits: WindowLimits,
    sentences: &[Vec<S>],
) -> Result<Encoded, EncoderError> {
    let subwords = sentences
        .iter()
        .map(|words| encoder.encode_words(words))
        .collect::<Result<Vec<_>, _>>()?;
    let mut encoded = Vec::with_capacity(subwords.len());
    for (sentence, subwords) in subwords.iter().enumerate() {
        for window in windows(subwords, limits)
            .into_iter()
            .filter(|window| !window.tokens.is_empty())
        {
            let ids = encoder.window_ids(subwords, &window);
            encoded.push(EncodedWindow {
                sentence,
                window,
                ids,
            });
        }
    }
    Ok(Encoded {
        subwords,
        windows: encoded,
    })
}

fn run_by_length(
    session: &mut Session,
    encoded: &Encoded,
    mut read: impl FnMut(&EncodedWindow, &Logits, usize) -> Result<(), TagError>,
) -> Result<(), TagError> {
    let mut order: Vec<&EncodedWindow> = encoded.windows.iter().collect();
    order.sort_by_key(|window| window.ids.len());
    for batch in order.chunks(BATCH) {
        let sequences: Vec<&[u32]> = batch.iter().map(|window| window.ids.as_slice()).collect();
        let logits = session.run(&sequences)?;
        for (row, window) in batch.iter().enumerate() {
            read(window, &logits, row)?;
        }
    }
    Ok(())
}
