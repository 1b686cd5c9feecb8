//! The end of a sub-layer: dropout, the residual connection and the normalization (Vaswani et al. 2017).

use candle_core::{Result, Tensor};
use pulp::Arch;

use crate::ops::layer_norm::{NormLayer, layer_norm};
use crate::ops::mask::Mask;
use crate::ops::weights::WeightGradients;

/// Dropout, the residual connection and the normalization of a sub-layer.
#[derive(Clone, Debug)]
pub(crate) struct Residual {
    /// The dropout mask of the sub-layer's output.
    pub(crate) mask: Option<Mask>,
    /// Normalizes the sum.
    pub(crate) norm: NormLayer,
}

impl Residual {
    /// The sum of the input `x` of the sub-layer and of its output with dropout, in place of the output.
    pub(super) fn add(&self, output: &mut [f32], x: &[f32]) {
        if let Some(mask) = self.mask {
            mask.multiply(output, 0);
        }
        add(output, x);
    }

    /// The gradient of the sub-layer's output for the gradient of the sum, in place of that.
    pub(super) fn output_gradient(&self, dsum: &[f32]) -> Vec<f32> {
        let mut doutput = dsum.to_vec();
        if let Some(mask) = self.mask {
            mask.multiply(&mut doutput, 0);
        }
        doutput
    }

    /// The gradient of the sum for the gradient of the normalization's output.
    pub(super) fn sum_gradient(
        &self,
        sum: &[f32],
        dy: &[f32],
        gradients: &WeightGradients,
    ) -> Result<Vec<f32>> {
        self.norm.backward(sum, dy, gradients)
    }

    /// `norm(x + dropout(output))` inside the graph, on any device.
    pub(crate) fn apply(&self, output: &Tensor, x: &Tensor) -> Result<Tensor> {
        let dropped = match self.mask {
            Some(mask) => output.apply_op1(mask)?,
            None => output.clone(),
        };
        layer_norm(&(dropped + x)?, &self.norm.gamma, &self.norm.beta, self.norm.eps)
    }
}

/// Adds `part` to `sum`, element by element.
fn add(sum: &mut [f32], part: &[f32]) {
    Arch::new().dispatch(
        #[inline(always)]
        || {
            for (sum, part) in sum.iter_mut().zip(part) {
                *sum += part;
            }
        },
    );
}
