//! The logits of windows, whatever computes them.

use std::error::Error;

/// One window to compute.
#[derive(Clone, Copy, Debug)]
pub struct TokenWindow<'w> {
    /// The token ids, special tokens included.
    pub ids: &'w [u32],
    /// The positions in `ids` whose logits are wanted, ascending.
    pub reads: &'w [usize],
}

/// Why logits could not be computed: an error of whatever computes them.
pub type LogitsError = Box<dyn Error + Send + Sync>;

/// Computes the label logits of windows: an ONNX Runtime session, or a network that is being trained.
pub trait WindowLogits {
    /// The logits of the tokens that each window reads, one row after the other, window by window.
    ///
    /// There may be any number of windows, the longest first: the implementation decides how many run together. The logits
    /// of a window may not depend on the windows it runs with.
    fn window_logits(&mut self, windows: &[TokenWindow]) -> Result<Vec<Vec<f32>>, LogitsError>;
}
