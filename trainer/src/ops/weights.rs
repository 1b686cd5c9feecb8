//! The gradients of weight matrices, apart from candle's.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use candle_core::{Result, Tensor, TensorId};

/// The gradients of the weight matrices of one pass.
///
/// candle's backward adds every gradient to a fresh tensor of zeros, which for weights, larger than any activation of a
/// batch, is several times the memory traffic of the gradient itself.
#[derive(Clone, Debug, Default)]
pub(crate) struct WeightGradients(Arc<Mutex<HashMap<TensorId, Tensor>>>);

impl WeightGradients {
    /// Adds to the gradient of a variable.
    pub(super) fn add(&self, variable: &Tensor, gradient: Tensor) -> Result<()> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let sum = match all.remove(&variable.id()) {
            Some(sum) => (sum + gradient)?,
            None => gradient,
        };
        all.insert(variable.id(), sum);
        Ok(())
    }

    /// The gradient of a variable, if it has one.
    pub(crate) fn take(&self, variable: &Tensor) -> Option<Tensor> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.remove(&variable.id())
    }
}
