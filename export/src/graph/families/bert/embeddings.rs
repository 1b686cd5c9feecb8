//! Token ids to the first hidden states.

use nerve_repository::CheckpointError;

use crate::graph::linear::LayerInput;
use crate::graph::writer::{INPUTS, Writer};

impl Writer<'_> {
    /// The normalized sum of word, position and type embeddings, f32, projected to the width of the hidden states where it is narrower.
    pub(in crate::graph) fn embeddings(&mut self) -> Result<String, CheckpointError> {
        let prefix = "bert.embeddings";
        let width = self.checkpoint.config.embedding_size;
        let words = self.word_embeddings()?;
        let positions = self.position_embeddings(prefix)?;
        let sum = self.graph.op("Add", &[&words, &positions], &[], "embeddings.sum");
        let sum = if self.is_of_rows() && !self.is_padding_free() {
            let shape = match self.checkpoint.config.projects_embeddings() {
                true => self.graph.i64s("shape.embeddings", &[-1, width as i64]),
                false => "shape.rows".to_owned(),
            };
            self.graph.op("Reshape", &[&sum, &shape], &[], "embeddings.rows")
        } else {
            sum
        };
        let states = self.layer_norm_of_width(&format!("{prefix}.LayerNorm"), &sum, width)?;
        if !self.checkpoint.config.projects_embeddings() {
            return Ok(states);
        }
        // In floats in every arithmetic but half precision: one product of few inputs costs little, and all layers read its result.
        let input = LayerInput::Float(self.as_operand(&states));
        let hidden = self.checkpoint.config.hidden_size;
        let projected = self.linear("bert.embeddings_project", &input, [width, hidden], 1.0)?;
        Ok(self.as_f32(&projected))
    }

    /// The rows of the position table, in the shape of the word embeddings. Real tokens have ascending rows; padding has the row
    /// of the token before it, which no real token reads.
    pub(in crate::graph) fn position_embeddings(&mut self, prefix: &str) -> Result<String, CheckpointError> {
        let config = &self.checkpoint.config;
        let (width, positions) = (config.embedding_size, config.max_position_embeddings);
        let table = self.checkpoint.tensor(
            &format!("{prefix}.position_embeddings.weight"),
            &[positions, width],
        )?;
        let first = config.first_position();
        // Real tokens are counted from 1; only padding before the first of them reads row 0.
        let mut rows = vec![0.0; width];
        rows.extend_from_slice(&table[first * width..]);
        if config.type_vocab_size > 0 {
            let types = self.checkpoint.tensor(
                &format!("{prefix}.token_type_embeddings.weight"),
                &[config.type_vocab_size, width],
            )?;
            for row in rows.chunks_exact_mut(width) {
                row.iter_mut()
                    .zip(types)
                    .for_each(|(position, token_type)| *position += token_type);
            }
        }
        let table = "embeddings.position_table";
        self.graph.f32s(table, &[config.max_length() + 1, width], &rows);
        self.graph.i64s("embeddings.length_axis", &[1]);
        let count = [INPUTS[1], "embeddings.length_axis"];
        let mut counted = self.graph.op("CumSum", &count, &[], "embeddings.counted");
        if self.is_padding_free() {
            counted = self.packed(&counted, "packed.counts");
        }
        Ok(self.rows_of(table, &counted, "embeddings.positions"))
    }
}
