//! The fused linear layer `x W^T + b`.

use candle_core::{CpuStorage, CustomOp3, Layout, Result, Shape, Tensor};

use crate::ops::matrix::{Into, Matrix, multiply, product, transposed};
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
    weight_gradients: &WeightGradients,
) -> Result<Tensor> {
    let (outputs, inputs) = weight.dims2()?;
    let (_, columns) = x.dims2()?;
    if columns != inputs || bias.dims1()? != outputs {
        candle_core::bail!("a dense layer {inputs} -> {outputs} cannot take {:?}", x.shape());
    }
    if !x.device().is_cpu() {
        return plain::linear(x, weight, bias);
    }
    if weight.track_op() && !weight.is_variable() {
        candle_core::bail!("the weight of a linear layer must be a variable or outside the graph");
    }
    let operator = Linear {
        weight_gradients: weight_gradients.clone(),
    };
    x.apply_op3(weight, bias, operator)
}

struct Linear {
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
        let mut y = bias.repeat(tokens);
        multiply(
            1.0,
            Matrix::new(x, tokens, inputs, inputs),
            Matrix::new(&transposed(weight, outputs, inputs), inputs, outputs, outputs),
            &mut y,
            outputs,
            Into::Add,
        );
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
        let dy_matrix = Matrix::new(&dy, tokens, outputs, outputs);
        let mut dx = None;
        if x.track_op() {
            let weight = values(weight)?;
            let found = product(dy_matrix, Matrix::new(&weight, outputs, inputs, inputs));
            dx = Some(Tensor::from_vec(found, (tokens, inputs), device)?);
        }
        if weight.is_variable() {
            let x = values(x)?;
            let found = product(dy_matrix.transposed(), Matrix::new(&x, tokens, inputs, inputs));
            let dw = Tensor::from_vec(found, (outputs, inputs), device)?;
            self.weight_gradients.add(weight, dw)?;
        }
        let mut db = None;
        if bias.track_op() {
            let mut sums = vec![0f32; outputs];
            for row in dy.chunks_exact(outputs) {
                for (sum, g) in sums.iter_mut().zip(row) {
                    *sum += g;
                }
            }
            db = Some(Tensor::from_vec(sums, outputs, device)?);
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
        assert_close(&linear(&x, &w, &b, &weight_gradients).unwrap(), &plain, 1e-6);
        assert_gradients_in(&weight_gradients, &[x, w, b], |v| {
            linear(&v[0], &v[1], &v[2], &weight_gradients)
        });
    }

    #[test]
    fn widths_must_agree_and_weights_be_leaves() {
        let weight_gradients = WeightGradients::default();
        let (x, b) = (random((5, 7), 1), random(3, 3));
        assert!(linear(&x, &random((3, 6), 2), &b, &weight_gradients).is_err());
        let leaf = Var::from_tensor(&random((3, 7), 2)).unwrap();
        assert!(linear(&x, leaf.as_tensor(), &b, &weight_gradients).is_ok());
        assert!(linear(&x, &(leaf.as_tensor() * 2.0).unwrap(), &b, &weight_gradients).is_err());
    }
}
