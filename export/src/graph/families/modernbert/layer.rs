//! One layer: attention and a gated unit, each after a normalization, each added to the residual stream.

use nerve_repository::{CheckpointError, ModernBert};

use crate::graph::families::modernbert::rotary::Rotations;
use crate::graph::linear::LayerInput;
use crate::graph::options::LayerTokens;
use crate::graph::writer::Writer;

/// The largest number of half precision.
const LARGEST_HALF: f32 = 65_504.0;

impl Writer<'_> {
    /// The states after a layer.
    pub(super) fn gated_layer(
        &mut self,
        own: &ModernBert,
        index: usize,
        states: &str,
        rotations: &Rotations,
        mask: &str,
    ) -> Result<String, CheckpointError> {
        let config = &self.checkpoint.config;
        let (hidden, inner) = (config.hidden_size, config.intermediate_size);
        let name = format!("bert.encoder.layer.{index}");
        let tokens = self.layer_tokens(index);
        let normal = match index {
            0 => states.to_owned(),
            _ => self.layer_norm_of(&format!("{name}.attention.LayerNorm"), own.norm_bias, states)?,
        };
        let mixed = self.rotary_attention(
            own,
            &format!("{name}.attention"),
            &normal,
            (rotations, mask),
            tokens,
        )?;
        let states = self.of_tokens(states, tokens);
        let rows = self.layer_input(&mixed);
        let attended = self.linear_with(
            &format!("{name}.attention.Wo"),
            own.attention_bias,
            &rows,
            [hidden, hidden],
        )?;
        let attended = self.residual(&attended, &states, &format!("{name}.attention.sum"));

        let normal = self.layer_norm_of(&format!("{name}.mlp.LayerNorm"), own.norm_bias, &attended)?;
        let operand = self.as_operand(&normal);
        let input = self.layer_input(&operand);
        let [activated, gate] = self.parts_of(
            &format!("{name}.mlp.Wi"),
            own.mlp_bias,
            &input,
            [hidden, inner],
            [("input", 1.0), ("gate", 1.0)],
        )?;
        let activated = self.activation(&activated, &format!("{name}.mlp.activated"));
        let gated = self.gated_product(&activated, &gate, &format!("{name}.mlp.gated"));
        let rows = self.layer_input(&gated);
        let narrowed = self.linear_with(&format!("{name}.mlp.Wo"), own.mlp_bias, &rows, [inner, hidden])?;
        Ok(self.residual(&narrowed, &attended, &format!("{name}.sum")))
    }

    fn rotary_attention(
        &mut self,
        own: &ModernBert,
        name: &str,
        states: &str,
        (rotations, mask): (&Rotations, &str),
        tokens: LayerTokens,
    ) -> Result<String, CheckpointError> {
        let config = &self.checkpoint.config;
        let square = [config.hidden_size; 2];
        let scale = 1.0 / (config.head_size() as f32).sqrt();
        let operand = self.as_operand(states);
        let input = self.layer_input(&operand);
        let [query, key, value] = self.parts_of(
            &format!("{name}.Wqkv"),
            own.attention_bias,
            &input,
            square,
            [("query", scale), ("key", 1.0), ("value", 1.0)],
        )?;
        let query = self.rotated(&query, rotations);
        let key = self.rotated(&key, rotations);
        Ok(self.attend(name, [&query, &key, &value], mask, tokens))
    }

    /// The products of a linear layer whose outputs have several parts, one for each part with its scale; `[from, to]` are the
    /// widths of the input and of a part.
    fn parts_of<const N: usize>(
        &mut self,
        name: &str,
        has_bias: bool,
        input: &LayerInput,
        [from, to]: [usize; 2],
        parts: [(&str, f32); N],
    ) -> Result<[String; N], CheckpointError> {
        let weight = self
            .checkpoint
            .tensor(&format!("{name}.weight"), &[N * to, from])?;
        let bias = match has_bias {
            true => Some(self.checkpoint.tensor(&format!("{name}.bias"), &[N * to])?),
            false => None,
        };
        let mut first = 0;
        Ok(parts.map(|(part, scale)| {
            let weight = &weight[first * from..][..to * from];
            let bias = bias.map(|bias| &bias[first..][..to]);
            first += to;
            self.linear_of(&format!("{name}.{part}"), input, weight, bias, [from, to], scale)
        }))
    }

    /// A linear layer that has a bias or none.
    pub(super) fn linear_with(
        &mut self,
        name: &str,
        has_bias: bool,
        input: &LayerInput,
        [from, to]: [usize; 2],
    ) -> Result<String, CheckpointError> {
        if has_bias {
            return self.linear(name, input, [from, to], 1.0);
        }
        let weight = self.checkpoint.tensor(&format!("{name}.weight"), &[to, from])?;
        Ok(self.linear_of(name, input, weight, None, [from, to], 1.0))
    }

    /// The product of an activation and its gate (Shazeer 2020). It may exceed the numbers of half precision, to which it is
    /// clipped there, since an infinity would become NaN in the next normalization.
    fn gated_product(&mut self, activated: &str, gate: &str, name: &str) -> String {
        if !self.is_half() {
            return self.graph.op("Mul", &[activated, gate], &[], name);
        }
        let (activated, gate) = (self.as_f32(activated), self.as_f32(gate));
        let product = format!("{name}.product");
        self.graph.op("Mul", &[&activated, &gate], &[], &product);
        let (lowest, highest) = (format!("{name}.lowest"), format!("{name}.highest"));
        self.graph.f32s(&lowest, &[], &[-LARGEST_HALF]);
        self.graph.f32s(&highest, &[], &[LARGEST_HALF]);
        self.graph.op("Clip", &[&product, &lowest, &highest], &[], name);
        self.as_operand(name)
    }
}
