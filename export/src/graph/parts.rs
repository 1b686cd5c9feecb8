//! The parts of layers that several families have, besides linear layers and attention.

use nerve_repository::{Activation, CheckpointError};

use crate::graph::options::{LayerTokens, LogitsOf};
use crate::graph::writer::Writer;
use crate::onnx::builder::Attribute;

impl Writer<'_> {
    /// The tokens of the outputs of a layer. After the last attention, each token is computed by itself.
    pub(super) fn layer_tokens(&self, index: usize) -> LayerTokens {
        match self.logits_of {
            LogitsOf::Selected if index + 1 == self.checkpoint.config.layer_count() => LayerTokens::Selected,
            LogitsOf::Selected | LogitsOf::EveryToken => LayerTokens::All,
        }
    }

    /// A linear layer's output added to the f32 residual stream.
    pub(super) fn residual(&mut self, output: &str, states: &str, name: &str) -> String {
        let output = self.as_f32(output);
        self.graph.op("Add", &[&output, states], &[], name)
    }

    pub(super) fn activation(&mut self, input: &str, output: &str) -> String {
        self.activation_of(self.checkpoint.config.hidden_act, input, output)
    }

    pub(super) fn activation_of(&mut self, function: Activation, input: &str, output: &str) -> String {
        match function {
            Activation::Gelu => self.graph.op("Gelu", &[input], &[], output),
            Activation::GeluTanh => self.graph.op(
                "Gelu",
                &[input],
                &[("approximate", Attribute::Text("tanh"))],
                output,
            ),
            Activation::Relu => self.graph.op("Relu", &[input], &[], output),
        }
    }

    pub(super) fn layer_norm(&mut self, name: &str, input: &str) -> Result<String, CheckpointError> {
        self.layer_norm_of(name, true, input)
    }

    /// The normalization, which adds nothing unless `has_bias`.
    pub(super) fn layer_norm_of(
        &mut self,
        name: &str,
        has_bias: bool,
        input: &str,
    ) -> Result<String, CheckpointError> {
        let width = self.checkpoint.config.hidden_size;
        self.layer_norm_of_width(name, has_bias, input, width)
    }

    /// The normalization of rows of another width than that of the hidden states.
    pub(super) fn layer_norm_of_width(
        &mut self,
        name: &str,
        has_bias: bool,
        input: &str,
        width: usize,
    ) -> Result<String, CheckpointError> {
        let tensors = self.tensors_of(name);
        let [weight, bias] = ["weight", "bias"].map(|part| format!("{tensors}.{part}"));
        let weights = self.checkpoint.tensor(&weight, &[width])?;
        let mut inputs = vec![input.to_owned(), self.graph.f32s(&weight, &[width], weights)];
        if has_bias {
            let biases = self.checkpoint.tensor(&bias, &[width])?;
            inputs.push(self.graph.f32s(&bias, &[width], biases));
        }
        let epsilon = self.checkpoint.config.layer_norm_eps as f32;
        let attributes = [
            ("axis", Attribute::Int(-1)),
            ("epsilon", Attribute::Float(epsilon)),
        ];
        let inputs: Vec<&str> = inputs.iter().map(String::as_str).collect();
        Ok(self.graph.op("LayerNormalization", &inputs, &attributes, name))
    }
}
