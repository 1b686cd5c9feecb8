//! Words in, labels out: a model on one session, for evaluation and bulk work.

use nerve_tagging::{Decoding, Subwords, Window, WindowLimits, WordIndex, WordLabel, windows};
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
    #[error("the logits of a word of sentence {} are not finite numbers", sentence + 1)]
    NotFinite {
        /// The sentence, counted from 0.
        sentence: usize,
    },
}

/// Windows that run together, in positions of the whole input.
const BATCH: usize = 8;

/// The labels of sentences' words, scored at the model's temperature; a word without subwords is `O` with certainty.
///
/// Windows of like length run together, and the answers come in the order of the sentences. A sentence's labels are
/// decided together, as the server decides them.
pub fn tag<S: AsRef<str>>(
    model: &Model,
    session: &mut Session,
    sentences: &[Vec<S>],
    decoding: Decoding,
) -> Result<Vec<Vec<WordLabel>>, TagError> {
    let rows = word_logits(model, session, sentences)?;
    let decoder = model.decoder();
    let decide = |(sentence, rows): (usize, &Vec<Option<Vec<f32>>>)| {
        let labels = decoder.decode_words(rows, decoding);
        labels.ok_or(TagError::NotFinite { sentence })
    };
    rows.iter().enumerate().map(decide).collect()
}

/// The logits of sentences' words, in the model's label order; none for a word without subwords.
pub fn word_logits<S: AsRef<str>>(
    model: &Model,
    session: &mut Session,
    sentences: &[Vec<S>],
) -> Result<Vec<Vec<Option<Vec<f32>>>>, TagError> {
    let encoder = model.encoder();
    let encoded = encode(encoder, model.limits(), sentences)?;
    let specials = encoder.specials().0;
    // Each sentence's rows by word, for the windows run in the order of their lengths.
    let mut rows: Vec<Vec<Option<Vec<f32>>>> =
        sentences.iter().map(|words| vec![None; words.len()]).collect();
    run_by_length(session, &encoded, |window, logits, row| {
        let subwords = &encoded.subwords[window.sentence];
        for word in window.window.answers.range() {
            let position = subwords.first_in_window(WordIndex(word), &window.window, specials);
            // A row that is not there is no labels, not an `O`.
            let logits = position.map(|position| logits.row(row, position).unwrap_or_default());
            rows[window.sentence][word] = logits.map(<[f32]>::to_vec);
        }
    })?;
    Ok(rows)
}

/// Sentences as the network reads them.
pub struct Encoded {
    subwords: Vec<Subwords>,
    pub windows: Vec<EncodedWindow>,
}

/// One window and the sentence it is of.
pub struct EncodedWindow {
    sentence: usize,
    window: Window,
    /// Its token ids, special tokens included.
    pub ids: Vec<u32>,
}

/// The windows of sentences, those without a token left out.
pub fn encode<S: AsRef<str>>(
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
    mut read: impl FnMut(&EncodedWindow, &Logits, usize),
) -> Result<(), TagError> {
    let mut order: Vec<&EncodedWindow> = encoded.windows.iter().collect();
    order.sort_by_key(|window| window.ids.len());
    for batch in order.chunks(BATCH) {
        let sequences: Vec<&[u32]> = batch.iter().map(|window| window.ids.as_slice()).collect();
        let logits = session.run(&sequences)?;
        for (row, window) in batch.iter().enumerate() {
            read(window, &logits, row);
        }
    }
    Ok(())
}
