//! The encoder of any model family.

use candle_core::{Result, Tensor};

use crate::model::packed::Packed;
use crate::model::pass::Pass;

/// An encoder over shared variables.
pub(super) trait Encoder: Send + Sync {
    /// The last hidden states, `[tokens, hidden]`, of the tokens of `batch`, whose word embeddings are `word_rows`,
    /// `[tokens, embedding size]`.
    fn encode(&self, word_rows: Tensor, batch: &Packed, pass: &mut Pass) -> Result<Tensor>;

    /// The input of the linear classifier, `[tokens, hidden]`, of last hidden states: the states themselves, except in families
    /// with further layers in the head.
    fn head(&self, hidden: &Tensor, _pass: &mut Pass) -> Result<Tensor> {
        Ok(hidden.clone())
    }
}
