//! One encoder layer: attention and feed-forward network, each with a residual sum and layer normalization.

use nerve_repository::{Activation, CheckpointError};

use crate::graph::options::{LayerTokens, LogitsOf};
use crate::graph::writer::Writer;
use crate::onnx::builder::Attribute;

impl Writer<'_> {
    pub(super) fn layer(
        &mut self,
        index: usize,
        states: &str,
        score_bias: &str,
    ) -> Result<String, CheckpointError> {
        let config = &self.checkpoint.config;
        let (hidden, inner) = (config.hidden_size, config.intermediate_size);
        let name = format!("bert.encoder.layer.{index}");
        // After the last attention, each token is computed by itself.
        let tokens = match self.logits_of {
            LogitsOf::Selected if index + 1 == config.num_hidden_layers => LayerTokens::Selected,
            LogitsOf::Selected | LogitsOf::EveryToken => LayerTokens::All,
        };
        let mixed = self.attention(&format!("{name}.attention.self"), states, score_bias, tokens)?;
        let states = self.of_tokens(states, tokens);
        let rows = self.layer_input(&mixed);
        let projected = self.linear(
            &format!("{name}.attention.output.dense"),
            &rows,
            [hidden, hidden],
            1.0,
        )?;
        let sum = self.residual(&projected, &states, &format!("{name}.attention.sum"));
        let attended = self.layer_norm(&format!("{name}.attention.output.LayerNorm"), &sum)?;

        let operand = self.as_operand(&attended);
        let input = self.layer_input(&operand);
        let widened = self.linear(
            &format!("{name}.intermediate.dense"),
            &input,
            [hidden, inner],
            1.0,
        )?;
        let activated = self.activation(&widened, &format!("{name}.activated"));
        let activated = self.layer_input(&activated);
        let narrowed = self.linear(&format!("{name}.output.dense"), &activated, [inner, hidden], 1.0)?;
        let sum = self.residual(&narrowed, &attended, &format!("{name}.sum"));
        self.layer_norm(&format!("{name}.output.LayerNorm"), &sum)
    }

    /// A linear layer's output added to the f32 residual stream.
    fn residual(&mut self, output: &str, states: &str, name: &str) -> String {
        let output = self.as_f32(output);
        self.graph.op("Add", &[&output, states], &[], name)
    }

    fn activation(&mut self, input: &str, output: &str) -> String {
        match self.checkpoint.config.hidden_act {
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
        let width = self.checkpoint.config.hidden_size;
        let weight = self.checkpoint.tensor(&format!("{name}.weight"), &[width])?;
        let bias = self.checkpoint.tensor(&format!("{name}.bias"), &[width])?;
        let weight = self.graph.f32s(&format!("{name}.weight"), &[width], weight);
        let bias = self.graph.f32s(&format!("{name}.bias"), &[width], bias);
        let epsilon = self.checkpoint.config.layer_norm_eps as f32;
        let attributes = [
            ("axis", Attribute::Int(-1)),
            ("epsilon", Attribute::Float(epsilon)),
        ];
        Ok(self
            .graph
            .op("LayerNormalization", &[input, &weight, &bias], &attributes, name))
    }
}
