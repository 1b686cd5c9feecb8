//! The gradients of weight matrices, stored outside candle's gradient store.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use candle_core::{Result, Tensor, TensorId, Var};

/// The gradients of the weight matrices of one backward pass.
///
/// candle's backward pass adds every gradient to a new tensor of zeros. Weights are larger than the activations of a
/// batch, so for them this takes several times the memory traffic of the gradient itself.
#[derive(Clone, Debug, Default)]
pub(crate) struct WeightGradients(Arc<Mutex<HashMap<TensorId, Tensor>>>);

impl WeightGradients {
    /// Adds to the gradient of a variable.
    pub(crate) fn add(&self, variable: &Tensor, gradient: Tensor) -> Result<()> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let sum = match all.remove(&variable.id()) {
            Some(sum) => (sum + gradient)?,
            None => gradient,
        };
        all.insert(variable.id(), sum);
        Ok(())
    }

    /// Removes the gradient of a variable and returns it, if there is one.
    pub(crate) fn take(&self, variable: &Tensor) -> Option<Tensor> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.remove(&variable.id())
    }
}

/// The input of an operator that adds to [`WeightGradients`]: `x`, or a leaf of the graph with its values if the operator `learns`
/// and `x` is outside the graph. candle runs no backward pass of an operator whose inputs are all outside the graph.
pub(crate) fn in_graph(x: &Tensor, learns: bool) -> Result<Tensor> {
    match learns && !x.track_op() {
        true => Ok(Var::from_tensor(x)?.into_inner()),
        false => Ok(x.clone()),
    }
}
