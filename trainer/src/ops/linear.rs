//! `x W^T + b`, fused.

use candle_core::{CpuStorage, CustomOp3, Layout, Result, Shape, Tensor};

use super::matrix::{Into, Matrix, multiply, product};
use super::plain;
use super::values::{slice, values};

/// `x W^T + b` for `x` of `[tokens, inputs]`, `weight` of `[outputs, inputs]` and `bias` of `[outputs]`.
pub(crate) fn linear(x: &Tensor, weight: &Tensor, bias: &Tensor) -> Result<Tensor> {
    let (outputs, inputs) = weight.dims2()?;
    let (_, columns) = x.dims2()?;
    if columns != inputs || bias.dims1()? != outputs {
        candle_core::bail!("a dense layer {inputs} -> {outputs} cannot take {:?}", x.shape());
    }
    if !x.device().is_cpu() {
        return plain::linear(x, weight, bias);
    }
    x.apply_op3(weight, bias, Linear)
}

struct Linear;

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
            Matrix::new(weight, outputs, inputs, inputs).transposed(),
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
        _bias: &Tensor,
        _y: &Tensor,
        gradient: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let (outputs, inputs) = weight.dims2()?;
        let (tokens, _) = x.dims2()?;
        let gradient = gradient.contiguous()?;
        let (dy, x, weight) = (values(&gradient)?, values(x)?, values(weight)?);
        let dy_matrix = Matrix::new(&dy, tokens, outputs, outputs);
        let dx = product(dy_matrix, Matrix::new(&weight, outputs, inputs, inputs));
        let dw = product(dy_matrix.transposed(), Matrix::new(&x, tokens, inputs, inputs));
        let mut db = vec![0f32; outputs];
        for row in dy.chunks_exact(outputs) {
            for (sum, g) in db.iter_mut().zip(row) {
                *sum += g;
            }
        }
        let device = gradient.device();
        Ok((
            Some(Tensor::from_vec(dx, (tokens, inputs), device)?),
            Some(Tensor::from_vec(dw, (outputs, inputs), device)?),
            Some(Tensor::from_vec(db, outputs, device)?),
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::check::{assert_close, assert_gradients, random};

    #[test]
    fn it_equals_the_plain_operators() {
        let (x, w, b) = (random((5, 7), 1), random((3, 7), 2), random(3, 3));
        let plain = x.matmul(&w.t().unwrap()).unwrap().broadcast_add(&b).unwrap();
        assert_close(&linear(&x, &w, &b).unwrap(), &plain, 1e-6);
        assert_gradients(&[x, w, b], |v| linear(&v[0], &v[1], &v[2]));
    }

    #[test]
    fn widths_must_agree() {
        assert!(linear(&random((5, 7), 1), &random((3, 6), 2), &random(3, 3)).is_err());
    }
}
