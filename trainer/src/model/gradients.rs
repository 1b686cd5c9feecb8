//! The loss and the gradients of one shard of a batch.

use candle_core::backprop::GradStore;
use candle_core::{D, DType, Result, Tensor, Var};
use candle_nn::ops::log_softmax;

use crate::model::bert::BertTagger;
use crate::model::packed::Packed;
use crate::model::parameters::WORD_EMBEDDINGS;
use crate::model::pass::Pass;
use crate::ops::dropout::Dropout;
use crate::train::loss::Loss;
use crate::train::targets::Targets;

/// The contribution of one shard to the loss and the gradients of a step.
pub(crate) struct Gradients {
    /// The shard's contribution to the mean loss of the step.
    pub(crate) loss: f64,
    /// The most probable label of each token of the batch, by its logits alone: u32 `[tokens]` on the device of the network;
    /// `None` for a masked model.
    pub(crate) predicted: Option<Tensor>,
    /// The gradient of each parameter, in name order; `None` for the word embeddings and for frozen parameters.
    pub(crate) dense: Vec<Option<Tensor>>,
    /// The vocabulary id of each row of `word_rows`.
    pub(crate) word_ids: Vec<u32>,
    /// The gradient of the word embeddings, one row per token: `[tokens, hidden]`; `None` if they are frozen.
    pub(crate) word_rows: Option<Tensor>,
}

impl Gradients {
    /// These gradients and those of another pass over the same shard.
    fn plus(self, other: Self) -> Result<Self> {
        let sum = |(one, other): (Option<Tensor>, Option<Tensor>)| match (one, other) {
            (Some(one), Some(other)) => (one + other).map(Some),
            (one, other) => Ok(one.or(other)),
        };
        let dense = self.dense.into_iter().zip(other.dense);
        Ok(Self {
            dense: dense.map(sum).collect::<Result<_>>()?,
            word_rows: sum((self.word_rows, other.word_rows))?,
            ..self
        })
    }
}

/// What a step minimizes: the weighted mean loss of its labeled tokens, and what regularizes it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct StepLoss<'l> {
    /// The loss of a token.
    pub(crate) loss: &'l Loss,
    /// The total weight of the labeled tokens of the whole step, by which the sum of the token losses is divided, so that
    /// the results of all shards add up to those of the step.
    pub(crate) weight: f64,
    /// The factor of the divergence of each labeled token's two distributions (R-Drop, Wu et al. 2021). A batch then has
    /// every sequence twice: all of them, and all of them again.
    pub(crate) consistency: Option<f64>,
    /// The norm by which the word embeddings of a sequence are moved for a second pass (FGM, Miyato et al. 2017).
    pub(crate) adversarial: Option<f64>,
    /// The factor of what is minimized, and so of all gradients.
    pub(crate) scale: f64,
}

impl StepLoss<'_> {
    /// The loss of the labeled tokens, and what is minimized.
    fn of(
        &self,
        logits: &Tensor,
        targets: &Targets,
        transitions: Option<&Tensor>,
    ) -> Result<(Tensor, Tensor)> {
        let loss = (self.loss.sum(logits, targets, transitions)? * (1.0 / self.weight))?;
        let minimized = match self.consistency {
            Some(factor) => (&loss + (divergence(logits)? * factor)?)?,
            None => loss.clone(),
        };
        let minimized = match self.scale {
            1.0 => minimized,
            scale => (minimized * scale)?,
        };
        Ok((loss, minimized))
    }
}

/// The sum of the symmetric Kullback-Leibler divergences between the distributions of tokens in the first half of the rows
/// and of the same tokens in the second half: for each token, the mean of the divergences in both directions.
fn divergence(logits: &Tensor) -> Result<Tensor> {
    let logs = log_softmax(logits, D::Minus1)?;
    let half = logs.dim(0)? / 2;
    let (first, second) = (logs.narrow(0, 0, half)?, logs.narrow(0, half, half)?);
    let each = ((first.exp()? - second.exp()?)? * (first - second)?)?;
    each.sum_all()? * 0.5
}

/// The loss and the gradients of one shard.
///
/// With adversarial training these are the gradients of two passes with the same dropout masks: one over the batch, and one
/// in which the word embeddings of each sequence are moved along their gradient. The loss and the predictions are those of
/// the first.
pub(crate) fn gradients(
    tagger: &BertTagger,
    batch: &Packed,
    targets: &Targets,
    loss: &StepLoss<'_>,
    dropout: Dropout,
) -> Result<Gradients> {
    let is_trained = !tagger.parameters().is_frozen(WORD_EMBEDDINGS);
    let rows = tagger.word_rows(batch)?;
    let pass = |rows: Tensor, is_leaf: bool, dropout: Dropout| -> Result<Gradients> {
        pass_gradients(tagger, (batch, rows, is_leaf), targets, loss, dropout)
    };
    let Some(norm) = loss.adversarial else {
        return pass(rows, is_trained, dropout);
    };
    let mut first = pass(rows.clone(), true, dropout.clone())?;
    let Some(gradient) = first.word_rows.take() else {
        candle_core::bail!("the word embeddings of a batch have no gradient");
    };
    let moved = moved(&rows, &gradient, batch.cu_seqlens(), norm)?;
    first.word_rows = is_trained.then_some(gradient);
    first.plus(pass(moved, is_trained, dropout)?)
}

/// The rows of each sequence, moved together by a vector of this norm in the direction of their gradient. Rows whose gradient
/// is 0 stay.
fn moved(rows: &Tensor, gradient: &Tensor, cu_seqlens: &[usize], norm: f64) -> Result<Tensor> {
    let squares: Vec<f32> = gradient.sqr()?.sum(1)?.to_vec1()?;
    let mut factors = Vec::with_capacity(squares.len());
    for pair in cu_seqlens.windows(2) {
        let of_sequence = squares[pair[0]..pair[1]].iter().map(|&square| f64::from(square));
        let length = of_sequence.sum::<f64>().sqrt();
        let factor = if length > 0.0 { norm / length } else { 0.0 };
        factors.extend(std::iter::repeat_n(factor as f32, pair[1] - pair[0]));
    }
    let factors = Tensor::from_vec(factors, (squares.len(), 1), rows.device())?;
    rows + gradient.broadcast_mul(&factors)?
}

/// The loss and the gradients of one pass over a batch with these word embeddings, which have a gradient where they are a
/// leaf.
fn pass_gradients(
    tagger: &BertTagger,
    (batch, rows, is_leaf): (&Packed, Tensor, bool),
    targets: &Targets,
    loss: &StepLoss<'_>,
    dropout: Dropout,
) -> Result<Gradients> {
    let mut pass = tagger.training_pass(dropout);
    let trained = tagger.training(batch, rows, is_leaf, &mut pass)?;
    let tokens = Tensor::new(targets.tokens.as_slice(), trained.logits.device())?;
    let logits = trained.logits.index_select(&tokens, 0)?;
    let transitions = tagger.transitions()?;
    let (loss, minimized) = loss.of(&logits, targets, transitions.as_ref())?;
    let predicted = trained.logits.detach().argmax(1)?;
    let store = minimized.backward()?;
    let dense = tagger
        .parameters()
        .iter()
        .map(|(name, var)| match gradient_of(&pass, &store, var)? {
            None if name != WORD_EMBEDDINGS && !tagger.parameters().is_frozen(name) => {
                candle_core::bail!("the graph has lost the parameter {name}")
            }
            gradient => Ok(gradient),
        })
        .collect::<Result<_>>()?;
    let word_rows = match trained.word_rows.as_ref().map(|leaf| store.get(leaf)) {
        Some(Some(gradient)) => Some(gradient.contiguous()?),
        Some(None) => candle_core::bail!("the graph has lost the parameter {WORD_EMBEDDINGS}"),
        None => None,
    };
    Ok(Gradients {
        loss: loss.to_dtype(DType::F64)?.to_scalar()?,
        predicted: Some(predicted),
        dense,
        word_ids: batch.ids().to_vec(),
        word_rows,
    })
}

/// The gradient of a parameter after a backward pass; `None` if the graph does not contain it.
pub(super) fn gradient_of(pass: &Pass, store: &GradStore, var: &Var) -> Result<Option<Tensor>> {
    let gradient = match (pass.weights.take(var), store.get(var)) {
        (Some(fused), Some(own)) => Some((fused + own)?),
        (fused, own) => fused.or_else(|| own.cloned()),
    };
    gradient.map(|gradient| gradient.contiguous()).transpose()
}

#[cfg(test)]
mod device_tests;
#[cfg(test)]
pub(crate) mod tests;
