//! The interface of an update rule.

use candle_core::{Result, Tensor};

/// One step of an update rule for one variable.
pub(super) trait Update {
    /// Updates weights with their gradient and moments.
    fn apply(&self, weights: &mut [f32], gradient: &[f32], moments: &mut [&mut [f32]]);

    /// Updates weights that have never had a gradient. Returns false if they need the complete update.
    fn apply_untouched(&self, weights: &mut [f32]) -> bool;

    /// Updates weights with their gradient and moments on any device, and returns the new weights.
    fn apply_tensors(&self, weights: &Tensor, gradient: &Tensor, moments: &mut [Tensor]) -> Result<Tensor>;
}
