//! The interface of a model that computes the logits of windows.

use std::error::Error;

/// One window, the input of a model.
#[derive(Clone, Copy, Debug)]
pub struct TokenWindow<'w> {
    /// The token ids, special tokens included.
    pub ids: &'w [u32],
    /// The positions in `ids` whose logits are computed, ascending.
    pub reads: &'w [usize],
}

/// The error of a model that cannot compute logits.
pub type LogitsError = Box<dyn Error + Send + Sync>;

/// Computes the label logits of windows. An ONNX Runtime session and a candle network implement it.
pub trait WindowLogits {
    /// The logits at the `reads` positions of each window, one row after the other, in window order.
    ///
    /// The caller passes any number of windows, the longest first, and the implementation divides them into batches.
    /// The logits of a window must not depend on its batch.
    fn window_logits(&mut self, windows: &[TokenWindow]) -> Result<Vec<Vec<f32>>, LogitsError>;
}
