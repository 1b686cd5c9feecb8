//! The feed-forward sub-layer of a transformer (Vaswani et al. 2017), fused.

use std::sync::{Mutex, PoisonError};

use candle_core::{CpuStorage, CustomOp1, Layout, Result, Shape, Tensor};
use nerve_repository::Activation;

use crate::ops::activation;
use crate::ops::linear::{LinearLayer, linear};
use crate::ops::multiplier::Multiplier;
use crate::ops::residual::Residual;
use crate::ops::values::{slice, values};
use crate::ops::weights::{WeightGradients, in_graph};

/// The layers of the sub-layer.
#[derive(Clone, Debug)]
pub(crate) struct FeedForward {
    /// `[intermediate, hidden]`
    pub(crate) wide: LinearLayer,
    pub(crate) activation: Activation,
    /// `[hidden, intermediate]`
    pub(crate) narrow: LinearLayer,
    pub(crate) residual: Residual,
}

/// `norm(x + dropout(narrow(activation(wide(x)))))`, `[tokens, hidden]`.
///
/// On the CPU the gradients of the parameters are added to `gradients`, not to candle's gradient store. Therefore the parameters
/// must be variables or outside the graph.
pub(crate) fn feed_forward(
    x: &Tensor,
    layers: FeedForward,
    multiplier: Multiplier,
    gradients: &WeightGradients,
) -> Result<Tensor> {
    if multiplier.is_composed(x.device()) {
        return layers.composed(x, multiplier, gradients);
    }
    let (_, width) = x.dims2()?;
    let intermediate = layers.wide.check(width)?;
    if layers.narrow.check(intermediate)? != width {
        candle_core::bail!("a feed-forward layer of the input {width} has another output");
    }
    layers.residual.norm.check(width)?;
    let is_trained = [&layers.wide, &layers.narrow]
        .iter()
        .any(|layer| layer.is_variable());
    let is_trained = is_trained || layers.residual.norm.is_variable();
    let x = &in_graph(x, is_trained)?;
    x.apply_op1(Operator {
        keep: x.track_op(),
        layers,
        multiplier,
        gradients: gradients.clone(),
        saved: Mutex::default(),
    })
}

impl FeedForward {
    /// The sub-layer composed of operators for each of its steps, on any device.
    fn composed(&self, x: &Tensor, multiplier: Multiplier, gradients: &WeightGradients) -> Result<Tensor> {
        let (wide, narrow) = (&self.wide, &self.narrow);
        let h = linear(x, &wide.weight, &wide.bias, multiplier, gradients)?;
        let h = activation::activation(&h, self.activation)?;
        let output = linear(&h, &narrow.weight, &narrow.bias, multiplier, gradients)?;
        self.residual.apply(&output, x)
    }
}

struct Operator {
    layers: FeedForward,
    multiplier: Multiplier,
    gradients: WeightGradients,
    keep: bool,
    saved: Mutex<Option<Saved>>,
}

/// What the backward pass needs of the forward pass.
struct Saved {
    /// The input of the activation: `[tokens, intermediate]`.
    wide: Vec<f32>,
    /// The input of the normalization: `[tokens, hidden]`.
    sum: Vec<f32>,
}

impl CustomOp1 for Operator {
    fn name(&self) -> &'static str {
        "feed-forward"
    }

    fn cpu_fwd(&self, x: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let (x, layers) = (slice(x, layout)?, &self.layers);
        let wide = layers.wide.forward(x, self.multiplier)?;
        let activated = activation::forward(&wide, layers.activation);
        let mut y = layers.narrow.forward(&activated, self.multiplier)?;
        layers.residual.add(&mut y, x);
        if self.keep {
            let sum = y.clone();
            *self.saved.lock().unwrap_or_else(PoisonError::into_inner) = Some(Saved { wide, sum });
        }
        layers.residual.norm.forward(&mut y)?;
        Ok((CpuStorage::F32(y), layout.shape().clone()))
    }

    fn bwd(&self, x: &Tensor, _y: &Tensor, gradient: &Tensor) -> Result<Option<Tensor>> {
        let (layers, multiplier) = (&self.layers, self.multiplier);
        let saved = self.saved.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(Saved { mut wide, sum }) = saved else {
            candle_core::bail!("a feed-forward layer is differentiated once, after its forward pass");
        };
        let gradient = gradient.contiguous()?;
        let mut dx = layers
            .residual
            .sum_gradient(&sum, &values(&gradient)?, &self.gradients)?;
        let doutput = layers.residual.output_gradient(&dx);
        let mut dwide = layers.narrow.input_gradient(&doutput, multiplier)?;
        activation::backward(&mut wide, &mut dwide, layers.activation);
        layers
            .narrow
            .add_gradients(&wide, &doutput, multiplier, &self.gradients)?;
        layers
            .wide
            .add_gradients(&values(x)?, &dwide, multiplier, &self.gradients)?;
        layers.wide.add_input_gradient(&dwide, &mut dx, multiplier)?;
        Tensor::from_vec(dx, x.shape(), gradient.device()).map(Some)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::Var;

    use crate::ops::check::{assert_close, assert_gradients_in, random};
    use crate::ops::dropout::Dropout;
    use crate::ops::layer_norm::NormLayer;

    fn layers(t: &[Tensor], p: f64) -> FeedForward {
        let linear = |at: usize| LinearLayer {
            weight: t[at].clone(),
            bias: t[at + 1].clone(),
        };
        FeedForward {
            wide: linear(1),
            activation: Activation::Gelu,
            narrow: linear(3),
            residual: Residual {
                mask: Dropout::seeded(5).next(p),
                norm: NormLayer {
                    gamma: t[5].clone(),
                    beta: t[6].clone(),
                    eps: 1e-5,
                },
            },
        }
    }

    fn inputs() -> [Tensor; 7] {
        [
            random((5, 6), 1),
            random((9, 6), 2),
            random(9, 3),
            random((6, 9), 4),
            random(6, 5),
            random(6, 6),
            random(6, 7),
        ]
    }

    #[test]
    fn it_equals_the_composed_operators() {
        let (inputs, gradients) = (inputs(), WeightGradients::default());
        for p in [0.0, 0.3] {
            let composed = layers(&inputs, p).composed(&inputs[0], Multiplier::default(), &gradients);
            let fused = feed_forward(&inputs[0], layers(&inputs, p), Multiplier::default(), &gradients);
            assert_close(&fused.unwrap(), &composed.unwrap(), 1e-6);
        }
    }

    #[test]
    fn gradients_are_finite_differences() {
        let gradients = WeightGradients::default();
        for p in [0.0, 0.3] {
            assert_gradients_in(&gradients, &inputs(), |t| {
                feed_forward(&t[0], layers(t, p), Multiplier::default(), &gradients)
            });
        }
    }

    #[test]
    fn a_layer_learns_on_an_input_outside_the_graph() {
        let mut inputs = inputs();
        let bias = Var::from_tensor(&inputs[2]).unwrap();
        inputs[2] = bias.as_tensor().clone();
        let gradients = WeightGradients::default();
        let y = feed_forward(
            &inputs[0],
            layers(&inputs, 0.0),
            Multiplier::default(),
            &gradients,
        )
        .unwrap();
        y.sqr().unwrap().sum_all().unwrap().backward().unwrap();
        assert!(gradients.take(&bias).is_some());
    }

    #[test]
    fn widths_must_agree() {
        let gradients = WeightGradients::default();
        for (at, other) in [(0, random((5, 7), 1)), (3, random((7, 9), 1)), (5, random(7, 1))] {
            let mut inputs = inputs();
            inputs[at] = other;
            let layers = layers(&inputs, 0.0);
            assert!(
                feed_forward(&inputs[0], layers, Multiplier::default(), &gradients).is_err(),
                "{at}"
            );
        }
    }
}
