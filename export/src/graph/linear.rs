//! Linear layers in each arithmetic, and their inputs.

use nerve_repository::CheckpointError;

use crate::graph::options::{Arithmetic, LogitsOf};
use crate::graph::writer::{OUTPUT, Writer};
use crate::quantize::QuantizedMatrix;

/// The input of linear layers, made once for all layers that share it.
pub(super) enum LayerInput {
    /// Floats.
    Float(String),
    /// u8 integers, `(integer - zero) * scale`.
    Quantized {
        value: String,
        scale_name: String,
        zero_name: String,
        scale: f32,
        /// What its dimensions were multiplied by before it was quantized, if it was smoothed.
        factors: Option<Vec<f32>>,
    },
}

impl Writer<'_> {
    /// Makes a value the input of linear layers: observed by calibration, or smoothed and quantized.
    pub(super) fn layer_input(&mut self, name: &str) -> LayerInput {
        self.observed.push(name.to_owned());
        let Arithmetic::Int8(ranges) = &self.arithmetic else {
            return LayerInput::Float(name.to_owned());
        };
        let affine = ranges.affine(name);
        let scale_name = self.graph.f32s(&format!("{name}.scale"), &[], &[affine.scale]);
        let zero_name = self.graph.u8_scalar(&format!("{name}.zero"), affine.zero_point);
        let factors = ranges.factors(name).map(<[f32]>::to_vec);
        let smoothed = match &factors {
            None => name.to_owned(),
            Some(factors) => {
                let constant = self
                    .graph
                    .f32s(&format!("{name}.factors"), &[factors.len()], factors);
                let smoothed = format!("{name}.smoothed");
                self.graph.op("Mul", &[name, &constant], &[], &smoothed)
            }
        };
        let inputs = [&smoothed, &scale_name, &zero_name].map(String::as_str);
        let value = self
            .graph
            .op("QuantizeLinear", &inputs, &[], &format!("{name}.quantized"));
        LayerInput::Quantized {
            value,
            scale_name,
            zero_name,
            scale: affine.scale,
            factors,
        }
    }

    /// `input * weight^T + bias`, with weight and bias multiplied by `scale`; `[from, to]` are the widths.
    pub(super) fn linear(
        &mut self,
        name: &str,
        input: &LayerInput,
        [from, to]: [usize; 2],
        scale: f32,
    ) -> Result<String, CheckpointError> {
        let tensors = self.tensors_of(name);
        let (weight_name, bias_name) = (format!("{tensors}.weight"), format!("{tensors}.bias"));
        let weight = self.checkpoint.tensor(&weight_name, &[to, from])?;
        let bias = self.checkpoint.tensor(&bias_name, &[to])?;
        let mut weight = transposed(weight, to, from);
        weight.iter_mut().for_each(|w| *w *= scale);
        let bias: Vec<f32> = bias.iter().map(|b| b * scale).collect();
        match input {
            LayerInput::Float(input) => {
                self.weights_of_inputs
                    .entry(input.clone())
                    .or_insert_with(|| weight_name.clone());
                let weight = self.operands(&weight_name, &[from, to], &weight);
                let bias = self.operands(&bias_name, &[to], &bias);
                Ok(self.product(name, input, &weight, &bias))
            }
            LayerInput::Quantized {
                value,
                scale_name,
                zero_name,
                scale,
                factors,
            } => {
                for (row, factor) in weight.chunks_exact_mut(to).zip(factors.iter().flatten()) {
                    row.iter_mut().for_each(|w| *w /= factor);
                }
                let matrix = QuantizedMatrix::per_column(&weight, to);
                let bias: Vec<i32> = bias
                    .iter()
                    .zip(&matrix.scales)
                    .map(|(bias, column)| (bias / (scale * column)).round() as i32)
                    .collect();
                let weight = self.graph.i8s(&weight_name, &[from, to], &matrix.values);
                let scales = format!("{weight_name}.scales");
                self.graph.f32s(&scales, &[to], &matrix.scales);
                let zeros = format!("{weight_name}.zeros");
                self.graph.i8s(&zeros, &[to], &vec![0; to]);
                // Its steps depend on the input's, which layers of the same weights do not share.
                let bias = self.graph.i32s(&format!("{name}.bias"), &[to], &bias);
                let inputs = [value, scale_name, zero_name, &weight, &scales, &zeros, &bias];
                Ok(self
                    .graph
                    .contrib("QGemm", &inputs.map(String::as_str), &[], name))
            }
        }
    }

    /// The logits of the last hidden states. They are f32 in every arithmetic, since so few columns cost little.
    pub(super) fn classifier(&mut self, states: &str) -> Result<(), CheckpointError> {
        let (hidden, labels) = (self.checkpoint.config.hidden_size, self.checkpoint.labels.len());
        let weight = self.checkpoint.tensor("classifier.weight", &[labels, hidden])?;
        let bias = self.checkpoint.tensor("classifier.bias", &[labels])?;
        let weight = transposed(weight, labels, hidden);
        let weight = self.graph.f32s("classifier.weight", &[hidden, labels], &weight);
        let bias = self.graph.f32s("classifier.bias", &[labels], bias);
        if self.is_of_rows() && self.logits_of == LogitsOf::EveryToken {
            let rows = self.product("classifier", states, &weight, &bias);
            self.graph.op("Reshape", &[&rows, "shape.logits"], &[], OUTPUT);
        } else {
            self.product(OUTPUT, states, &weight, &bias);
        }
        Ok(())
    }

    /// `input * weight + bias` in floats.
    fn product(&mut self, name: &str, input: &str, weight: &str, bias: &str) -> String {
        if self.is_of_rows() {
            return self.graph.op("Gemm", &[input, weight, bias], &[], name);
        }
        let product = format!("{name}.product");
        self.graph.op("MatMul", &[input, weight], &[], &product);
        self.graph.op("Add", &[&product, bias], &[], name)
    }

    /// A constant of float linear layers: f32, or f16 in half precision.
    pub(super) fn operands(&mut self, name: &str, shape: &[usize], data: &[f32]) -> String {
        if self.is_half() {
            self.graph.f16s(name, shape, data)
        } else {
            self.graph.f32s(name, shape, data)
        }
    }
}

/// The transpose of a row-major `[rows, columns]` matrix.
fn transposed(matrix: &[f32], rows: usize, columns: usize) -> Vec<f32> {
    let mut transposed = vec![0.0; matrix.len()];
    for (row, values) in matrix.chunks_exact(columns).enumerate() {
        for (column, value) in values.iter().enumerate() {
            transposed[column * rows + row] = *value;
        }
    }
    transposed
}
