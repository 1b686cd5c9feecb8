//! Token ids to the first hidden states.

use nerve_repository::{CheckpointError, RelativeAttention};

use crate::graph::writer::Writer;

impl Writer<'_> {
    /// The normalized embeddings, f32: of words alone, or with positions and token types where the model has them.
    pub(super) fn deberta_embeddings(
        &mut self,
        relative: RelativeAttention,
    ) -> Result<String, CheckpointError> {
        let prefix = "bert.embeddings";
        let config = &self.checkpoint.config;
        let (hidden, types) = (config.hidden_size, config.type_vocab_size);
        let words = self.word_embeddings()?;
        let mut sum = words.clone();
        if relative.has_position_table {
            let positions = self.position_embeddings(prefix)?;
            sum = self.graph.op("Add", &[&words, &positions], &[], "embeddings.sum");
        } else if types > 0 {
            let name = format!("{prefix}.token_type_embeddings.weight");
            let table = self.checkpoint.tensor(&name, &[types, hidden])?;
            let first = self
                .graph
                .f32s("embeddings.token_type", &[hidden], &table[..hidden]);
            sum = self.graph.op("Add", &[&words, &first], &[], "embeddings.sum");
        }
        if self.is_of_rows() && !self.is_padding_free() {
            sum = self
                .graph
                .op("Reshape", &[&sum, "shape.rows"], &[], "embeddings.rows");
        }
        self.layer_norm(&format!("{prefix}.LayerNorm"), &sum)
    }
}
