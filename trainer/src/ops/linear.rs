//! The fused linear layer `x W^T + b`.

use candle_core::{CpuStorage, CustomOp3, Layout, Result, Shape, Tensor};
use nerve_kernels::{Initial, Matrix};
use pulp::Arch;

use crate::ops::multiplier::Multiplier;
use crate::ops::plain;
use crate::ops::values::{slice, values};
use crate::ops::weights::WeightGradients;

/// `x W^T + b` as `[tokens, outputs]`, for `x` of `[tokens, inputs]`, `weight` of `[outputs, inputs]` and `bias` of
/// `[outputs]`.
///
/// On the CPU the gradient of `weight` is added to `weight_gradients`, not to candle's gradient store. Therefore `weight` must
/// be a variable or outside the graph.
pub(crate) fn linear(
    x: &Tensor,
    weight: &Tensor,
    bias: &Tensor,
    multiplier: Multiplier,
    weight_gradients: &WeightGradients,
) -> Result<Tensor> {
    let (_, columns) = x.dims2()?;
    check(columns, weight, bias)?;
    if multiplier.is_composed(x.device()) {
        return plain::linear(x, weight, bias, multiplier);
    }
    let operator = Linear {
        multiplier,
        weight_gradients: weight_gradients.clone(),
    };
    x.apply_op3(weight, bias, operator)
}

/// The outputs of a layer of so many inputs. An error if weight and bias do not have these widths, or if the weight is the result
/// of differentiable operators.
pub(super) fn check(columns: usize, weight: &Tensor, bias: &Tensor) -> Result<usize> {
    let (outputs, inputs) = weight.dims2()?;
    if columns != inputs || bias.dims1()? != outputs {
        candle_core::bail!("a dense layer {inputs} -> {outputs} cannot take {columns} columns");
    }
    check_leaf(weight)?;
    Ok(outputs)
}

/// An error if the gradient of a parameter would be needed further down the graph.
pub(super) fn check_leaf(parameter: &Tensor) -> Result<()> {
    if parameter.device().is_cpu() && parameter.track_op() && !parameter.is_variable() {
        candle_core::bail!("a parameter of a fused layer must be a variable or outside the graph");
    }
    Ok(())
}

/// A linear layer inside a fused operator on the CPU: the gradients of weight and bias are added to a [`WeightGradients`].
#[derive(Clone, Debug)]
pub(crate) struct LinearLayer {
    /// `[outputs, inputs]`
    pub(crate) weight: Tensor,
    /// `[outputs]`
    pub(crate) bias: Tensor,
}

impl LinearLayer {
    /// The outputs for so many inputs; see [`check`].
    pub(super) fn check(&self, inputs: usize) -> Result<usize> {
        check_leaf(&self.bias)?;
        check(inputs, &self.weight, &self.bias)
    }

    /// Whether a parameter is trained.
    pub(super) fn is_variable(&self) -> bool {
        self.weight.is_variable() || self.bias.is_variable()
    }

    /// `x W^T + b`
    pub(super) fn forward(&self, x: &[f32], multiplier: Multiplier) -> Result<Vec<f32>> {
        let (outputs, inputs) = self.weight.dims2()?;
        let (weight, bias) = (values(&self.weight)?, values(&self.bias)?);
        Ok(forward(x, &weight, &bias, [inputs, outputs], multiplier))
    }

    /// Adds the gradients of weight and bias at this input for this gradient of the output.
    pub(super) fn add_gradients(
        &self,
        x: &[f32],
        dy: &[f32],
        multiplier: Multiplier,
        gradients: &WeightGradients,
    ) -> Result<()> {
        let (outputs, inputs) = self.weight.dims2()?;
        if self.weight.is_variable() {
            let dw = weight_gradient(x, dy, [inputs, outputs], multiplier);
            gradients.add(
                &self.weight,
                Tensor::from_vec(dw, (outputs, inputs), self.weight.device())?,
            )?;
        }
        if self.bias.is_variable() {
            let db = column_sums(dy, outputs);
            gradients.add(&self.bias, Tensor::from_vec(db, outputs, self.bias.device())?)?;
        }
        Ok(())
    }

    /// The gradient of the input.
    pub(super) fn input_gradient(&self, dy: &[f32], multiplier: Multiplier) -> Result<Vec<f32>> {
        let (outputs, inputs) = self.weight.dims2()?;
        let weight = values(&self.weight)?;
        Ok(input_gradient(dy, &weight, [inputs, outputs], multiplier))
    }

    /// Adds the gradient of the input to `dx`.
    pub(super) fn add_input_gradient(
        &self,
        dy: &[f32],
        dx: &mut [f32],
        multiplier: Multiplier,
    ) -> Result<()> {
        let (outputs, inputs) = self.weight.dims2()?;
        let weight = values(&self.weight)?;
        let dy = Matrix::new(dy, dy.len() / outputs, outputs, outputs);
        multiplier.add_product(dy, Matrix::new(&weight, outputs, inputs, inputs), dx);
        Ok(())
    }
}

fn forward(
    x: &[f32],
    weight: &[f32],
    bias: &[f32],
    [inputs, outputs]: [usize; 2],
    multiplier: Multiplier,
) -> Vec<f32> {
    let x = Matrix::new(x, x.len() / inputs, inputs, inputs);
    let weight = Matrix::new(weight, outputs, inputs, inputs);
    multiplier.product(x, weight.transposed(), Initial::Row(bias))
}

fn input_gradient(
    dy: &[f32],
    weight: &[f32],
    [inputs, outputs]: [usize; 2],
    multiplier: Multiplier,
) -> Vec<f32> {
    let dy = Matrix::new(dy, dy.len() / outputs, outputs, outputs);
    multiplier.product(dy, Matrix::new(weight, outputs, inputs, inputs), Initial::Zero)
}

fn weight_gradient(x: &[f32], dy: &[f32], [inputs, outputs]: [usize; 2], multiplier: Multiplier) -> Vec<f32> {
    let tokens = x.len() / inputs;
    let dy = Matrix::new(dy, tokens, outputs, outputs);
    multiplier.product(
        dy.transposed(),
        Matrix::new(x, tokens, inputs, inputs),
        Initial::Zero,
    )
}

/// The sum of the rows.
fn column_sums(rows: &[f32], width: usize) -> Vec<f32> {
    let mut sums = vec![0f32; width];
    Arch::new().dispatch(
        #[inline(always)]
        || {
            for row in rows.chunks_exact(width) {
                for (sum, x) in sums.iter_mut().zip(row) {
                    *sum += x;
                }
            }
        },
    );
    sums
}

struct Linear {
    multiplier: Multiplier,
    weight_gradients: WeightGradients,
}

impl CustomOp3 for Linear {
    fn name(&self) -> &'static str {
        "linear"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        x_layout: &Layout,
        weight: &CpuStorage,
        weight_layout: &Layout,
        bias: &CpuStorage,
        bias_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let (tokens, inputs) = x_layout.shape().dims2()?;
        let (x, weight, bias) = (
            slice(x, x_layout)?,
            slice(weight, weight_layout)?,
            slice(bias, bias_layout)?,
        );
        let outputs = bias.len();
        let y = forward(x, weight, bias, [inputs, outputs], self.multiplier);
        Ok((CpuStorage::F32(y), (tokens, outputs).into()))
    }

    fn bwd(
        &self,
        x: &Tensor,
        weight: &Tensor,
        bias: &Tensor,
        _y: &Tensor,
        gradient: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let (outputs, inputs) = weight.dims2()?;
        let (tokens, _) = x.dims2()?;
        let gradient = gradient.contiguous()?;
        let device = gradient.device();
        let dy = values(&gradient)?;
        let mut dx = None;
        if x.track_op() {
            let found = input_gradient(&dy, &values(weight)?, [inputs, outputs], self.multiplier);
            dx = Some(Tensor::from_vec(found, (tokens, inputs), device)?);
        }
        if weight.is_variable() {
            let found = weight_gradient(&values(x)?, &dy, [inputs, outputs], self.multiplier);
            let dw = Tensor::from_vec(found, (outputs, inputs), device)?;
            self.weight_gradients.add(weight, dw)?;
        }
        let mut db = None;
        if bias.track_op() {
            db = Some(Tensor::from_vec(column_sums(&dy, outputs), outputs, device)?);
        }
        Ok((dx, None, db))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::check::{assert_close, assert_gradients_in, random};
    use candle_core::Var;

    #[test]
    fn it_equals_the_plain_operators() {
        let (x, w, b) = (random((5, 7), 1), random((3, 7), 2), random(3, 3));
        let plain = x.matmul(&w.t().unwrap()).unwrap().broadcast_add(&b).unwrap();
        let weight_gradients = WeightGradients::default();
        assert_close(
            &linear(&x, &w, &b, Multiplier::default(), &weight_gradients).unwrap(),
            &plain,
            1e-6,
        );
        assert_gradients_in(&weight_gradients, &[x, w, b], |v| {
            linear(&v[0], &v[1], &v[2], Multiplier::default(), &weight_gradients)
        });
    }

    #[test]
    fn widths_must_agree_and_weights_be_leaves() {
        let weight_gradients = WeightGradients::default();
        let (x, b) = (random((5, 7), 1), random(3, 3));
        let multiplier = Multiplier::default();
        assert!(linear(&x, &random((3, 6), 2), &b, multiplier, &weight_gradients).is_err());
        let leaf = Var::from_tensor(&random((3, 7), 2)).unwrap();
        assert!(linear(&x, leaf.as_tensor(), &b, multiplier, &weight_gradients).is_ok());
        assert!(
            linear(
                &x,
                &(leaf.as_tensor() * 2.0).unwrap(),
                &b,
                multiplier,
                &weight_gradients
            )
            .is_err()
        );
    }
}
