//! The self-attention sub-layer of a transformer (Vaswani et al. 2017), fused.

use std::sync::{Arc, Mutex, PoisonError};

use candle_core::{CpuStorage, CustomOp1, Layout, Result, Shape, Tensor};

use crate::ops::attention::{AttentionOptions, attention, check};
use crate::ops::linear::{LinearLayer, linear};
use crate::ops::mask::Mask;
use crate::ops::multiplier::Multiplier;
use crate::ops::position_bias::PositionBias;
use crate::ops::residual::Residual;
use crate::ops::values::{slice, values};
use crate::ops::weights::{WeightGradients, in_graph};

/// The layers of the sub-layer.
#[derive(Clone, Debug)]
pub(crate) struct SelfAttention {
    /// Queries, keys and values: each `[hidden, hidden]`.
    pub(crate) projections: [LinearLayer; 3],
    pub(crate) heads: usize,
    /// Sequence `i` consists of the tokens `cu_seqlens[i]..cu_seqlens[i + 1]`.
    pub(crate) cu_seqlens: Arc<[usize]>,
    /// Added to the scores.
    pub(crate) bias: Option<PositionBias>,
    /// The dropout mask of the attention weights.
    pub(crate) mask: Option<Mask>,
    /// `[hidden, hidden]`
    pub(crate) output: LinearLayer,
    pub(crate) residual: Residual,
}

/// `norm(x + dropout(output(attention(x))))`, `[tokens, hidden]`.
///
/// On the CPU the gradients of the parameters are added to `gradients`, not to candle's gradient store. Therefore the parameters
/// must be variables or outside the graph.
pub(crate) fn self_attention(
    x: &Tensor,
    layers: SelfAttention,
    multiplier: Multiplier,
    gradients: &WeightGradients,
) -> Result<Tensor> {
    if multiplier.is_composed(x.device()) {
        return layers.composed(x, multiplier, gradients);
    }
    let (tokens, width) = x.dims2()?;
    let linear_layers = || layers.projections.iter().chain([&layers.output]);
    for layer in linear_layers() {
        if layer.check(width)? != width {
            candle_core::bail!("an attention layer of the input {width} has another output");
        }
    }
    check(
        tokens,
        width,
        &layers.cu_seqlens,
        layers.heads,
        layers.bias.as_ref(),
    )?;
    layers.residual.norm.check(width)?;
    let is_trained = linear_layers().any(LinearLayer::is_variable)
        || layers.residual.norm.is_variable()
        || layers.bias.as_ref().is_some_and(|bias| bias.table.is_variable());
    let x = &in_graph(x, is_trained)?;
    x.apply_op1(Operator {
        keep: x.track_op(),
        layers,
        multiplier,
        gradients: gradients.clone(),
        saved: Mutex::default(),
    })
}

impl SelfAttention {
    /// The sub-layer composed of operators for each of its steps, on any device.
    fn composed(&self, x: &Tensor, multiplier: Multiplier, gradients: &WeightGradients) -> Result<Tensor> {
        let project =
            |layer: &LinearLayer, x: &Tensor| linear(x, &layer.weight, &layer.bias, multiplier, gradients);
        let factor = |layer: &LinearLayer| multiplier.factor(&project(layer, x)?);
        let [q, k, v] = &self.projections;
        let (q, k, v) = (factor(q)?, factor(k)?, factor(v)?);
        let bias = self.bias.as_ref();
        let context = attention(&q, &k, &v, &self.cu_seqlens, self.heads, bias, self.mask)?;
        self.residual.apply(&project(&self.output, &context)?, x)
    }

    fn attention(&self) -> AttentionOptions {
        AttentionOptions {
            cu_seqlens: self.cu_seqlens.clone(),
            heads: self.heads,
            bias: self.bias.clone(),
            mask: self.mask,
        }
    }
}

struct Operator {
    layers: SelfAttention,
    multiplier: Multiplier,
    gradients: WeightGradients,
    keep: bool,
    saved: Mutex<Option<Saved>>,
}

/// What the backward pass needs of the forward pass.
struct Saved {
    /// Queries, keys and values, each `[tokens, hidden]`.
    projected: [Vec<f32>; 3],
    /// The softmax weights.
    weights: Vec<f32>,
    /// The input of the output layer: `[tokens, hidden]`.
    context: Vec<f32>,
    /// The input of the normalization: `[tokens, hidden]`.
    sum: Vec<f32>,
}

impl CustomOp1 for Operator {
    fn name(&self) -> &'static str {
        "self-attention"
    }

    fn cpu_fwd(&self, x: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let (_, width) = layout.shape().dims2()?;
        let (x, layers) = (slice(x, layout)?, &self.layers);
        let project = |layer: &LinearLayer| layer.forward(x, self.multiplier);
        let [q, k, v] = &layers.projections;
        let projected = [project(q)?, project(k)?, project(v)?];
        let [q, k, v] = &projected;
        let (context, weights) = layers.attention().forward(q, k, v, width)?;
        let mut y = layers.output.forward(&context, self.multiplier)?;
        layers.residual.add(&mut y, x);
        if self.keep {
            *self.saved.lock().unwrap_or_else(PoisonError::into_inner) = Some(Saved {
                projected,
                weights,
                context,
                sum: y.clone(),
            });
        }
        layers.residual.norm.forward(&mut y)?;
        Ok((CpuStorage::F32(y), layout.shape().clone()))
    }

    fn bwd(&self, x: &Tensor, _y: &Tensor, gradient: &Tensor) -> Result<Option<Tensor>> {
        let (layers, multiplier) = (&self.layers, self.multiplier);
        let saved = self.saved.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(saved) = saved else {
            candle_core::bail!("an attention layer is differentiated once, after its forward pass");
        };
        let (_, width) = x.dims2()?;
        let gradient = gradient.contiguous()?;
        let mut dx = layers
            .residual
            .sum_gradient(&saved.sum, &values(&gradient)?, &self.gradients)?;
        let doutput = layers.residual.output_gradient(&dx);
        layers
            .output
            .add_gradients(&saved.context, &doutput, multiplier, &self.gradients)?;
        let dcontext = layers.output.input_gradient(&doutput, multiplier)?;
        let [q, k, v] = &saved.projected;
        let dprojected = layers
            .attention()
            .backward(&dcontext, [q, k, v], &saved.weights, width)?;
        let x_values = values(x)?;
        for (layer, dy) in layers.projections.iter().zip(&dprojected) {
            layer.add_gradients(&x_values, dy, multiplier, &self.gradients)?;
            layer.add_input_gradient(dy, &mut dx, multiplier)?;
        }
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
    use nerve_repository::relative_position::BUCKETS;

    fn layers(t: &[Tensor], p: f64, gradients: &WeightGradients) -> SelfAttention {
        let linear = |at: usize| LinearLayer {
            weight: t[at].clone(),
            bias: t[at + 1].clone(),
        };
        let mut dropout = Dropout::seeded(5);
        SelfAttention {
            projections: [linear(1), linear(3), linear(5)],
            heads: 2,
            cu_seqlens: [0, 3, 3, 7].into(),
            bias: t.get(11).map(|table| PositionBias {
                table: table.clone(),
                gradients: gradients.clone(),
            }),
            mask: dropout.next(p),
            output: linear(7),
            residual: Residual {
                mask: dropout.next(p),
                norm: NormLayer {
                    gamma: t[9].clone(),
                    beta: t[10].clone(),
                    eps: 1e-5,
                },
            },
        }
    }

    /// The input and the parameters, with position biases or without.
    fn inputs(has_bias: bool) -> Vec<Tensor> {
        let mut inputs = vec![random((7, 4), 1)];
        for layer in 0..4 {
            inputs.push(random((4, 4), 2 + layer));
            inputs.push(random(4, 12 + layer));
        }
        inputs.extend([random(4, 20), random(4, 21)]);
        if has_bias {
            inputs.push(random((BUCKETS, 2), 22));
        }
        inputs
    }

    #[test]
    fn it_equals_the_composed_operators() {
        let gradients = WeightGradients::default();
        for (has_bias, p) in [(false, 0.0), (false, 0.3), (true, 0.3)] {
            let inputs = inputs(has_bias);
            let layers = layers(&inputs, p, &gradients);
            let composed = layers.composed(&inputs[0], Multiplier::default(), &gradients);
            let fused = self_attention(&inputs[0], layers.clone(), Multiplier::default(), &gradients);
            assert_close(&fused.unwrap(), &composed.unwrap(), 1e-6);
        }
    }

    #[test]
    fn gradients_are_finite_differences() {
        let gradients = WeightGradients::default();
        for (has_bias, p) in [(false, 0.0), (false, 0.3), (true, 0.3)] {
            assert_gradients_in(&gradients, &inputs(has_bias), |t| {
                self_attention(&t[0], layers(t, p, &gradients), Multiplier::default(), &gradients)
            });
        }
    }

    #[test]
    fn a_layer_learns_on_an_input_outside_the_graph() {
        let mut inputs = inputs(true);
        let table = Var::from_tensor(&inputs[11]).unwrap();
        inputs[11] = table.as_tensor().clone();
        let gradients = WeightGradients::default();
        let layers = layers(&inputs, 0.0, &gradients);
        let y = self_attention(&inputs[0], layers, Multiplier::default(), &gradients).unwrap();
        y.sqr().unwrap().sum_all().unwrap().backward().unwrap();
        assert!(gradients.take(&table).is_some());
    }

    #[test]
    fn widths_must_agree() {
        let gradients = WeightGradients::default();
        for (at, other) in [(0, random((6, 4), 1)), (5, random((6, 4), 1)), (9, random(5, 1))] {
            let mut inputs = inputs(false);
            inputs[at] = other;
            let layers = layers(&inputs, 0.0, &gradients);
            let found = self_attention(&inputs[0], layers, Multiplier::default(), &gradients);
            assert!(found.is_err(), "{at}");
        }
    }
}
