//! Token ids to the first hidden states.

use nerve_repository::CheckpointError;

use crate::graph::writer::{INPUTS, Writer};

impl Writer<'_> {
    /// The normalized sum of word, position and type embeddings, f32.
    pub(in crate::graph) fn embeddings(&mut self) -> Result<String, CheckpointError> {
        let prefix = "bert.embeddings";
        let words = self.word_embeddings()?;
        let positions = self.position_embeddings(prefix)?;
        let sum = self.graph.op("Add", &[&words, &positions], &[], "embeddings.sum");
        let sum = if self.is_of_rows() && !self.is_padding_free() {
            self.graph
                .op("Reshape", &[&sum, "shape.rows"], &[], "embeddings.rows")
        } else {
            sum
        };
        self.layer_norm(&format!("{prefix}.LayerNorm"), &sum)
    }

    /// The rows of the position table, in the shape of the word embeddings. Real tokens have ascending rows; padding has the row
    /// of the token before it, which no real token reads.
    fn position_embeddings(&mut self, prefix: &str) -> Result<String, CheckpointError> {
        let config = &self.checkpoint.config;
        let (hidden, positions) = (config.hidden_size, config.max_position_embeddings);
        let table = self.checkpoint.tensor(
            &format!("{prefix}.position_embeddings.weight"),
            &[positions, hidden],
        )?;
        let first = config.first_position();
        // Real tokens are counted from 1; only padding before the first of them reads row 0.
        let mut rows = vec![0.0; hidden];
        rows.extend_from_slice(&table[first * hidden..]);
        if config.type_vocab_size > 0 {
            let types = self.checkpoint.tensor(
                &format!("{prefix}.token_type_embeddings.weight"),
                &[config.type_vocab_size, hidden],
            )?;
            for row in rows.chunks_exact_mut(hidden) {
                row.iter_mut()
                    .zip(types)
                    .for_each(|(position, token_type)| *position += token_type);
            }
        }
        let table = "embeddings.position_table";
        self.graph.f32s(table, &[config.max_length() + 1, hidden], &rows);
        self.graph.i64s("embeddings.length_axis", &[1]);
        let count = [INPUTS[1], "embeddings.length_axis"];
        let mut counted = self.graph.op("CumSum", &count, &[], "embeddings.counted");
        if self.is_padding_free() {
            counted = self.packed(&counted, "packed.counts");
        }
        Ok(self.rows_of(table, &counted, "embeddings.positions"))
    }
}
