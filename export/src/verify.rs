//! Verifies that a bundle gives the same labels as its checkpoint, and that its logits do not depend on the batch.

use std::path::Path;

use nerve_tagging::best_label;
use serde::Serialize;
use thiserror::Error;

use crate::cancellation::{Cancellation, Cancelled};
use crate::graph::classifier::build;
use crate::graph::options::{Arithmetic, LogitsOf};
use crate::reference;
use nerve_inference::TokenizerError;
use nerve_inference::{EncodedWindow, encode};
use nerve_inference::{Kernels, KernelsInUse, Model, ModelError, OpenOptions};
use nerve_inference::{Logits, Session, SessionError};
use nerve_inference::{Runtime, SessionOptions};
use nerve_repository::{Checkpoint, CheckpointError, Precision};

/// The largest accepted difference between a logit of an fp32 bundle and of the checkpoint.
const FP32_DIFFERENCE: f32 = 1e-3;
/// The same for an fp16 bundle, whose operands have 11 significant bits.
const FP16_DIFFERENCE: f32 = 0.1;
/// The number of windows that the reference implementation computes, because it is slow.
const REFERENCE_WINDOWS: usize = 32;
/// The smallest accepted fraction of tokens that have the same label with Nerve's kernels as with those of ONNX Runtime. Where both round
/// an activation to another integer, a close label may differ: 1 of 19,456 tokens with the default model.
const KERNELS_AGREEMENT: f64 = 0.999;
/// So many tokens may differ in any case, since few tokens show no fraction: 2 of 600 with random weights, whose labels are all close.
const KERNELS_DIFFERENCES: usize = 3;
/// The batch size of the runs that are compared with runs of single windows.
const BATCH: usize = 8;

/// Texts of different lengths and scripts, for a verification without a corpus.
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

/// The measurements of a successful verification.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Verification {
    /// The version of the bundle.
    pub version: String,
    /// The precision of the bundle.
    pub precision: String,
    /// The number of windows whose logits are bit-identical alone and in mixed batches.
    pub batch_invariant_windows: usize,
    /// The largest absolute difference between a logit and the reference; absent if no reference is computed.
    pub max_abs_difference: Option<f32>,
    /// The fraction of tokens that have the same label as with the checkpoint; absent without a checkpoint.
    pub label_agreement: Option<f64>,
    /// The number of tokens whose labels are compared.
    pub labels_compared: usize,
    /// The kernels that compute the bundle on this machine.
    pub kernels: KernelsInUse,
    /// The fraction of tokens that have the same label as with ONNX Runtime's kernels; absent if those compute the bundle.
    pub kernels_agreement: Option<f64>,
}

/// What is verified, and on which sentences.
#[derive(Clone, Debug)]
pub struct VerifyRequest<'a> {
    /// The bundle.
    pub bundle: &'a Path,
    /// The checkpoint that it is compared with; without one it is compared with itself.
    pub checkpoint: Option<&'a Path>,
    /// The words of the sentences that are run; built-in sentences if absent.
    pub sentences: Option<Vec<Vec<String>>>,
    /// The least fraction of tokens, from 0 to 1, that must have the label of the checkpoint.
    pub min_agreement: f64,
    /// The kernels that compute the bundle.
    pub kernels: Kernels,
    /// Stops the verification.
    pub cancellation: &'a Cancellation,
}

/// Why a bundle fails the verification.
#[derive(Debug, Error)]
pub enum VerifyError {
    /// The bundle cannot be opened.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// ONNX Runtime cannot open or run a graph.
    #[error(transparent)]
    Session(#[from] SessionError),
    /// The checkpoint is invalid.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// The tokenizer fails.
    #[error(transparent)]
    Tokenizer(#[from] TokenizerError),
    /// The labels of the checkpoint differ from those of the bundle.
    #[error("the checkpoint's labels are not the bundle's")]
    OtherLabels,
    /// The logits differ too much from those of the checkpoint.
    #[error("logits differ from the checkpoint's by {found}, at most {allowed} is allowed")]
    Difference {
        /// The largest difference.
        found: f32,
        /// The largest accepted difference for the precision of the bundle.
        allowed: f32,
    },
    /// Too few tokens have the same label as with the checkpoint.
    #[error(
        "the labels of {equal} of {compared} tokens are the checkpoint's, {:.4}; at least {required} is required: \
         the bundle is of another checkpoint, or its int8 ranges are of other text",
        *equal as f64 / *compared as f64
    )]
    Agreement {
        /// The number of tokens with the same label.
        equal: usize,
        /// The number of tokens compared.
        compared: usize,
        /// The smallest accepted fraction of equal labels.
        required: f64,
    },
    /// Too few tokens have the same label as with ONNX Runtime's kernels.
    #[error(
        "the labels of {equal} of {compared} tokens are those of ONNX Runtime's kernels, {:.4}; at least {KERNELS_AGREEMENT} is required: \
         Nerve's kernels do not suit this bundle; serve it with --kernels onnxruntime",
        *equal as f64 / *compared as f64
    )]
    Kernels {
        /// The number of tokens with the same label.
        equal: usize,
        /// The number of tokens compared.
        compared: usize,
    },
    /// A logit is NaN or infinite.
    #[error("window {window} ({tokens} tokens) has logits that are not finite")]
    NotFinite {
        /// The index of the window, counted from 0.
        window: usize,
        /// The number of its tokens.
        tokens: usize,
    },
    /// The verification is to stop.
    #[error(transparent)]
    Cancelled(#[from] Cancelled),
    /// The texts have no tokens, so there is nothing to verify.
    #[error("the texts have no token: nothing can be verified")]
    NoText,
    /// The logits of a window depend on its batch, or on which of its tokens are selected.
    #[error(
        "window {window} ({tokens} tokens) has other logits in a batch of mixed lengths, or for selected tokens, than alone"
    )]
    NotInvariant {
        /// The index of the window, counted from 0.
        window: usize,
        /// The number of its tokens.
        tokens: usize,
    },
}

/// Verifies a bundle on the words of sentences, or on built-in sentences if none are given.
///
/// Every logit must be finite, and the logits of every window must be bit-identical alone and in batches of mixed
/// lengths. If Nerve's kernels compute the bundle, all but 3 or 0.1% of the tokens must have the same label with ONNX
/// Runtime's. With a checkpoint, the logits of up to 32 windows must be within 1e-3 (fp32) or 0.1 (fp16) of the reference
/// implementation, and at least the fraction `min_agreement` of all tokens must have the same label as with the
/// checkpoint's fp32 graph.
pub fn verify(request: &VerifyRequest<'_>, runtime: &Runtime) -> Result<Verification, VerifyError> {
    let &VerifyRequest {
        bundle,
        checkpoint,
        min_agreement,
        kernels,
        cancellation,
        ..
    } = request;
    let model = open(bundle, kernels)?;
    let probe = |text: &&str| text.split(' ').map(str::to_owned).collect();
    let sentences = request
        .sentences
        .clone()
        .unwrap_or_else(|| PROBES.iter().map(probe).collect());
    let windows = encode(model.tokenizer(), model.limits(), &sentences)?;
    if windows.is_empty() {
        return Err(VerifyError::NoText);
    }
    let mut session = model.session(runtime, &SessionOptions::default())?;
    let width = model.labels().len();
    let alone = alone(&mut session, &windows, width, cancellation)?;
    let is_finite = |logits: &Vec<f32>| logits.iter().all(|logit| logit.is_finite());
    if let Some(window) = alone.iter().position(|logits| !is_finite(logits)) {
        let tokens = windows[window].ids.len();
        return Err(VerifyError::NotFinite { window, tokens });
    }
    check_batches(&mut session, &windows, &alone, width, cancellation)?;
    let mut found = Verification {
        version: model.info().version.clone(),
        precision: model.info().precision.clone(),
        batch_invariant_windows: windows.len(),
        max_abs_difference: None,
        label_agreement: None,
        labels_compared: 0,
        kernels: model.info().kernels.clone(),
        kernels_agreement: None,
    };
    if matches!(found.kernels, KernelsInUse::Nerve { .. }) {
        let plain = open(bundle, Kernels::OnnxRuntime)?;
        let mut session = plain.session(runtime, &SessionOptions::default())?;
        let expected = self::alone(&mut session, &windows, width, cancellation)?;
        let (equal, compared) = equal_labels(&expected, &alone, width);
        let agreement = equal as f64 / compared as f64;
        if agreement < KERNELS_AGREEMENT && compared - equal > KERNELS_DIFFERENCES {
            return Err(VerifyError::Kernels { equal, compared });
        }
        found.kernels_agreement = Some(agreement);
    }
    if let Some(dir) = checkpoint {
        let checkpoint = Checkpoint::open(dir)?;
        if checkpoint.labels != *model.labels() {
            return Err(VerifyError::OtherLabels);
        }
        let difference = difference(&checkpoint, &windows, &alone, cancellation)?;
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
        let (equal, compared) = agreement(&checkpoint, &windows, &alone, runtime, cancellation)?;
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

/// The logits of each window, run alone.
fn alone(
    session: &mut Session,
    windows: &[EncodedWindow],
    width: usize,
    cancellation: &Cancellation,
) -> Result<Vec<Vec<f32>>, VerifyError> {
    let one = |window: &EncodedWindow| {
        cancellation.check()?;
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
    cancellation: &Cancellation,
) -> Result<(), VerifyError> {
    // Windows are distributed over the batches in the order of their lengths, so every batch contains short and long
    // windows.
    let mut by_length: Vec<usize> = (0..windows.len()).collect();
    by_length.sort_by_key(|&window| windows[window].ids.len());
    let batches = windows.len().div_ceil(BATCH);
    for first in 0..batches {
        cancellation.check()?;
        let members: Vec<usize> = by_length.iter().copied().skip(first).step_by(batches).collect();
        let sequences: Vec<&[u32]> = members
            .iter()
            .map(|&window| windows[window].ids.as_slice())
            .collect();
        // As a server does, the run selects some tokens of each window: every second one.
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
    cancellation: &Cancellation,
) -> Result<f32, VerifyError> {
    let mut largest = 0.0f32;
    let step = windows.len().div_ceil(REFERENCE_WINDOWS).max(1);
    for (window, found) in windows.iter().zip(alone).step_by(step) {
        cancellation.check()?;
        let expected = reference::logits(checkpoint, &window.ids)?;
        if expected.len() != found.len() {
            return Ok(f32::INFINITY);
        }
        for (a, b) in expected.iter().zip(found) {
            let difference = (a - b).abs();
            // `f32::max` would ignore NaN.
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
    cancellation: &Cancellation,
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
    let expected = alone(&mut session, windows, width, cancellation)?;
    Ok(equal_labels(&expected, alone_in_bundle, width))
}

/// How many tokens have the same best label in both, and how many there are.
fn equal_labels(expected: &[Vec<f32>], found: &[Vec<f32>], width: usize) -> (usize, usize) {
    let labels = |logits: &[f32]| -> Vec<_> {
        logits
            .chunks_exact(width)
            .map(|row| best_label(row).map(|best| best.label))
            .collect()
    };
    let (mut equal, mut compared) = (0, 0);
    for (a, b) in expected.iter().zip(found) {
        let (a, b) = (labels(a), labels(b));
        compared += a.len();
        equal += a.iter().zip(&b).filter(|(a, b)| a == b).count();
    }
    (equal, compared)
}

fn open(bundle: &Path, kernels: Kernels) -> Result<Model, ModelError> {
    let options = OpenOptions {
        kernels,
        ..OpenOptions::default()
    };
    Model::open_with(bundle, &options)
}
