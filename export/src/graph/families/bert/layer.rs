//! One encoder layer: attention and feed-forward network, each with a residual sum and layer normalization.

use nerve_repository::CheckpointError;

use crate::graph::options::LayerTokens;
use crate::graph::writer::Writer;

impl Writer<'_> {
    pub(in crate::graph) fn layer(
        &mut self,
        index: usize,
        states: &str,
        score_bias: &str,
    ) -> Result<String, CheckpointError> {
        let name = format!("bert.encoder.layer.{index}");
        let tokens = self.layer_tokens(index);
        let mixed = self.attention(&format!("{name}.attention.self"), states, score_bias, tokens)?;
        self.after_attention(&name, states, &mixed, tokens)
    }

    /// The outputs of a layer for these tokens, whose attention has yielded `mixed`.
    pub(in crate::graph) fn after_attention(
        &mut self,
        name: &str,
        states: &str,
        mixed: &str,
        tokens: LayerTokens,
    ) -> Result<String, CheckpointError> {
        let config = &self.checkpoint.config;
        let (hidden, inner) = (config.hidden_size, config.intermediate_size);
        let states = self.of_tokens(states, tokens);
        let rows = self.layer_input(mixed);
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
}
