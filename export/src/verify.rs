//! Verifies that a bundle answers as its checkpoint does, and that the answer to a text does not depend on its batch.

use std::path::Path;

use nerve_tagging::best_label;
use serde::Serialize;
use thiserror::Error;

use crate::graph::classifier::build;
use crate::graph::options::{Arithmetic, LogitsOf};
use crate::reference;
use nerve_inference::TokenizerError;
use nerve_inference::{EncodedWindow, encode};
use nerve_inference::{Logits, Session, SessionError};
use nerve_inference::{Model, ModelError};
use nerve_inference::{Runtime, SessionOptions};
use nerve_repository::{Checkpoint, CheckpointError, Precision};

/// The largest difference of a logit of an fp32 bundle from the checkpoint's that passes.
const FP32_DIFFERENCE: f32 = 1e-3;
/// The same for an fp16 bundle, whose operands have 11 significant bits.
const FP16_DIFFERENCE: f32 = 0.1;
/// The number of windows that the slow reference computes.
const REFERENCE_WINDOWS: usize = 32;
/// The batch size with which single runs are compared.
const BATCH: usize = 8;

/// Texts of many lengths and scripts, for a verification without a corpus.
const PROBES: [&str; 8] = [
    "Hi",
    "Empire State Building = ESB .",
    "RT @paulwalk : It 's the view from where I 'm living for two weeks . #NewYork",
    "Barack Obama met Beyoncé in São Paulo , said Reuters on Tuesday",
    "東京 で 会い ましょう 😀 👩\u{200d}👩\u{200d}👧",
    "https://t.co/8r0AHF8Mff lol :) ... !!! don't can't won't",
    "naïve café Ελλάδα Россия مصر हिन्दी 한국어",
    "The quick brown fox jumps over the lazy dog while the five boxing wizards jump quickly and pack my box with five dozen liquor jugs , as the saying goes in at least three languages spoken north of the river and south of the hills",
];

/// The measurements of a verification that passed.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Verification {
    /// The bundle's version.
    pub version: String,
    /// The bundle's precision.
    pub precision: String,
    /// The number of windows with bit-identical logits alone and in mixed batches.
    pub batch_invariant_windows: usize,
    /// The largest absolute difference of a logit from the reference's.
    pub max_abs_difference: Option<f32>,
    /// The fraction of tokens whose label is the checkpoint's.
    pub label_agreement: Option<f64>,
    /// The number of tokens whose labels were compared.
    pub labels_compared: usize,
}

/// Why a bundle fails verification.
#[derive(Debug, Error)]
pub enum VerifyError {
    /// The bundle does not open.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// ONNX Runtime refuses or fails.
    #[error(transparent)]
    Session(#[from] SessionError),
    /// The checkpoint is unusable.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// The tokenizer fails.
    #[error(transparent)]
    Tokenizer(#[from] TokenizerError),
    /// The checkpoint has other labels than the bundle.
    #[error("the checkpoint's labels are not the bundle's")]
    OtherLabels,
    /// The logits are too far from the checkpoint's.
    #[error("logits differ from the checkpoint's by {found}, at most {allowed} is allowed")]
    Difference {
        /// The largest difference.
        found: f32,
        /// The largest difference that passes in this precision.
        allowed: f32,
    },
    /// Too few labels are the checkpoint's.
    #[error(
        "the labels of {equal} of {compared} tokens are the checkpoint's, {:.4}; at least {required} is required: \
         the bundle is of another checkpoint, or its int8 ranges are of other text",
        *equal as f64 / *compared as f64
    )]
    Agreement {
        /// Tokens that have the checkpoint's label.
        equal: usize,
        /// Tokens compared.
        compared: usize,
        /// The smallest agreement that passes.
        required: f64,
    },
    /// A logit is NaN or infinite.
    #[error("window {window} ({tokens} tokens) has logits that are not finite")]
    NotFinite {
        /// The window, counted from 0.
        window: usize,
        /// Its length in tokens.
        tokens: usize,
    },
    /// The texts have no token, so nothing can be verified.
    #[error("the texts have no token: nothing can be verified")]
    NoText,
    /// The logits of a text depend on its batch, or on which of its tokens are selected.
    #[error(
        "window {window} ({tokens} tokens) has other logits in a batch of mixed lengths, or for selected tokens, than alone"
    )]
    NotInvariant {
        /// The window, counted from 0.
        window: usize,
        /// Its length in tokens.
        tokens: usize,
    },
}

/// Checks a bundle on the words of sentences (built-in ones where none are given).
///
/// Always: every logit is finite, and every window's logits are bit-identical alone and in batches of mixed lengths. With a
/// checkpoint: an fp32 bundle's logits are within 1e-3 of the plain reference on up to 32 windows, an fp16 bundle's within 0.1,
/// and the labels of at least `min_agreement` (a fraction) of all tokens are those of the checkpoint's fp32 graph.
pub fn verify(
    bundle: &Path,
    checkpoint: Option<&Path>,
    sentences: Option<Vec<Vec<String>>>,
    min_agreement: f64,
    runtime: &Runtime,
) -> Result<Verification, VerifyError> {
    let model = Model::open(bundle)?;
    let probe = |text: &&str| text.split(' ').map(str::to_owned).collect();
    let sentences = sentences.unwrap_or_else(|| PROBES.iter().map(probe).collect());
    let windows = encode(model.tokenizer(), model.limits(), &sentences)?;
    if windows.is_empty() {
        return Err(VerifyError::NoText);
    }
    let mut session = model.session(runtime, &SessionOptions::default())?;
    let width = model.labels().len();
    let alone = alone(&mut session, &windows, width)?;
    let is_finite = |logits: &Vec<f32>| logits.iter().all(|logit| logit.is_finite());
    if let Some(window) = alone.iter().position(|logits| !is_finite(logits)) {
        let tokens = windows[window].ids.len();
        return Err(VerifyError::NotFinite { window, tokens });
    }
    check_batches(&mut session, &windows, &alone, width)?;
    let mut found = Verification {
        version: model.info().version.clone(),
        precision: model.info().precision.clone(),
        batch_invariant_windows: windows.len(),
        max_abs_difference: None,
        label_agreement: None,
        labels_compared: 0,
    };
    if let Some(dir) = checkpoint {
        let checkpoint = Checkpoint::open(dir)?;
        if checkpoint.labels != *model.labels() {
            return Err(VerifyError::OtherLabels);
        }
        let difference = difference(&checkpoint, &windows, &alone)?;
        let allowed = match found.precision.parse() {
            Ok(Precision::Fp32) => FP32_DIFFERENCE,
            Ok(Precision::Fp16) => FP16_DIFFERENCE,
            Ok(Precision::Int8) | Err(_) => f32::INFINITY,
        };
        if !difference.is_finite() || difference > allowed {
            return Err(VerifyError::Difference {
                found: difference,
                allowed,
            });
        }
        found.max_abs_difference = Some(difference);
        let (equal, compared) = agreement(&checkpoint, &windows, &alone, runtime)?;
        let agreement = equal as f64 / compared as f64;
        if agreement < min_agreement {
            return Err(VerifyError::Agreement {
                equal,
                compared,
                required: min_agreement,
            });
        }
        found.label_agreement = Some(agreement);
        found.labels_compared = compared;
    }
    Ok(found)
}

/// The logits of each window run by itself.
fn alone(
    session: &mut Session,
    windows: &[EncodedWindow],
    width: usize,
) -> Result<Vec<Vec<f32>>, SessionError> {
    let one = |window: &EncodedWindow| {
        let logits = session.run(&[&window.ids])?;
        Ok(rows(&logits, 0, window.ids.len(), width))
    };
    windows.iter().map(one).collect()
}

fn rows(logits: &Logits, sequence: usize, length: usize, width: usize) -> Vec<f32> {
    let mut all = Vec::with_capacity(length * width);
    for position in 0..length {
        all.extend_from_slice(logits.row(sequence, position).unwrap_or_default());
    }
    all
}

fn check_batches(
    session: &mut Session,
    windows: &[EncodedWindow],
    alone: &[Vec<f32>],
    width: usize,
) -> Result<(), VerifyError> {
    // Every batch has windows of all lengths: they are dealt out in the order of their lengths.
    let mut by_length: Vec<usize> = (0..windows.len()).collect();
    by_length.sort_by_key(|&window| windows[window].ids.len());
    let batches = windows.len().div_ceil(BATCH);
    for first in 0..batches {
        let members: Vec<usize> = by_length.iter().copied().skip(first).step_by(batches).collect();
        let sequences: Vec<&[u32]> = members
            .iter()
            .map(|&window| windows[window].ids.as_slice())
            .collect();
        // A server selects some tokens of each window; here every second one.
        let some = |&window: &usize| (window % 2..windows[window].ids.len()).step_by(2).collect();
        let some: Vec<Vec<usize>> = members.iter().map(some).collect();
        let positions: Vec<&[usize]> = some.iter().map(Vec::as_slice).collect();
        let (whole, selected) = (
            session.run(&sequences)?,
            session.run_selected(&sequences, &positions)?,
        );
        for (sequence, &window) in members.iter().enumerate() {
            let tokens = windows[window].ids.len();
            let is_same = |logits: &Logits, position: usize| {
                let expected = alone[window].get(position * width..(position + 1) * width);
                let found = logits.row(sequence, position);
                let bits = |row: &[f32]| row.iter().map(|x| x.to_bits()).collect::<Vec<_>>();
                found.is_some() && found.map(bits) == expected.map(bits)
            };
            let all = (0..tokens).all(|position| is_same(&whole, position));
            if !all
                || !positions[sequence]
                    .iter()
                    .all(|&position| is_same(&selected, position))
            {
                return Err(VerifyError::NotInvariant { window, tokens });
            }
        }
    }
    Ok(())
}

fn difference(
    checkpoint: &Checkpoint,
    windows: &[EncodedWindow],
    alone: &[Vec<f32>],
) -> Result<f32, CheckpointError> {
    let mut largest = 0.0f32;
    let step = windows.len().div_ceil(REFERENCE_WINDOWS).max(1);
    for (window, found) in windows.iter().zip(alone).step_by(step) {
        let expected = reference::logits(checkpoint, &window.ids)?;
        if expected.len() != found.len() {
            return Ok(f32::INFINITY);
        }
        for (a, b) in expected.iter().zip(found) {
            let difference = (a - b).abs();
            // `max` would drop a NaN.
            largest = if difference.is_nan() {
                f32::INFINITY
            } else {
                largest.max(difference)
            };
        }
    }
    Ok(largest)
}

fn agreement(
    checkpoint: &Checkpoint,
    windows: &[EncodedWindow],
    alone_in_bundle: &[Vec<f32>],
    runtime: &Runtime,
) -> Result<(usize, usize), VerifyError> {
    let graph = build(checkpoint, Arithmetic::Float, LogitsOf::EveryToken)?;
    let width = checkpoint.labels.len();
    let mut session = Session::from_bytes(
        &graph.bytes,
        Path::new("fp32 graph of the checkpoint"),
        runtime,
        &SessionOptions::default(),
        width,
        checkpoint.config.pad_token_id,
    )?;
    let expected = alone(&mut session, windows, width)?;
    let labels = |logits: &[f32]| -> Vec<_> {
        logits
            .chunks_exact(width)
            .map(|row| best_label(row).map(|best| best.label))
            .collect()
    };
    let (mut equal, mut compared) = (0, 0);
    for (a, b) in expected.iter().zip(alone_in_bundle) {
        let (a, b) = (labels(a), labels(b));
        compared += a.len();
        equal += a.iter().zip(&b).filter(|(a, b)| a == b).count();
    }
    Ok((equal, compared))
}
