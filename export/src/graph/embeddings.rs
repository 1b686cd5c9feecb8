//! Token ids to the first hidden states.

use nerve_repository::CheckpointError;

use crate::graph::options::Arithmetic;
use crate::graph::writer::{INPUTS, Writer};
use crate::onnx::builder::{Attribute, Element};
use crate::quantize::quantize_rows;

impl Writer<'_> {
    /// The normalized sum of word, position and type embeddings, f32.
    pub(super) fn embeddings(&mut self) -> Result<String, CheckpointError> {
        let prefix = "bert.embeddings";
        let words = self.word_embeddings(prefix)?;
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

    /// The rows of the word table, `[batch, length, hidden]`, or `[real, hidden]` if packed.
    ///
    /// The table has the element type of the arithmetic, since it is half of the weights of a small model.
    fn word_embeddings(&mut self, prefix: &str) -> Result<String, CheckpointError> {
        let config = &self.checkpoint.config;
        let (vocab, hidden) = (config.vocab_size, config.hidden_size);
        let table = self
            .checkpoint
            .tensor(&format!("{prefix}.word_embeddings.weight"), &[vocab, hidden])?;
        let packed = self
            .is_padding_free()
            .then(|| self.packed(INPUTS[0], "packed.ids"));
        let ids = packed.as_deref().unwrap_or(INPUTS[0]);
        let name = "embeddings.table";
        let to_f32 = [("to", Attribute::Int(Element::F32 as i64))];
        match self.arithmetic {
            Arithmetic::Float | Arithmetic::Observed => {
                self.graph.f32s(name, &[vocab, hidden], table);
                Ok(self.graph.op("Gather", &[name, ids], &[], "embeddings.words"))
            }
            Arithmetic::Half => {
                self.graph.f16s(name, &[vocab, hidden], table);
                self.graph.op("Gather", &[name, ids], &[], "embeddings.halves");
                Ok(self
                    .graph
                    .op("Cast", &["embeddings.halves"], &to_f32, "embeddings.words"))
            }
            Arithmetic::Int8(_) => {
                let (rows, scales) = quantize_rows(table, hidden);
                self.graph.i8s(name, &[vocab, hidden], &rows);
                self.graph.f32s("embeddings.scales", &[vocab, 1], &scales);
                self.graph.op("Gather", &[name, ids], &[], "embeddings.integers");
                self.graph
                    .op("Cast", &["embeddings.integers"], &to_f32, "embeddings.floats");
                let scales = ["embeddings.scales", ids];
                self.graph.op("Gather", &scales, &[], "embeddings.row_scales");
                let factors = ["embeddings.floats", "embeddings.row_scales"];
                Ok(self.graph.op("Mul", &factors, &[], "embeddings.words"))
            }
        }
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
