//! What an update rule does to one variable.

use candle_core::{Result, Tensor};

/// One step of a rule, for one variable.
pub(super) trait Update {
    /// Moves weights by their gradient and moments.
    fn apply(&self, weights: &mut [f32], gradient: &[f32], moments: &mut [&mut [f32]]);

    /// Moves weights that have never had a gradient; false where they need the whole update.
    fn apply_untouched(&self, weights: &mut [f32]) -> bool;

    /// Weights moved by their gradient and moments, on any device.
    fn apply_tensors(&self, weights: &Tensor, gradient: &Tensor, moments: &mut [Tensor]) -> Result<Tensor>;
}
