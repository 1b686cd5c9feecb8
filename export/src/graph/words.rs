//! The rows of the word embedding table.

use nerve_repository::CheckpointError;

use crate::graph::options::Arithmetic;
use crate::graph::writer::{INPUTS, Writer};
use crate::onnx::builder::{Attribute, Element};
use crate::quantize::quantize_rows;

impl Writer<'_> {
    /// The rows of the word table, f32 `[batch, length, width]`, or `[real, width]` if packed.
    ///
    /// The table has the element type of the arithmetic, since it is half of the weights of a small model.
    pub(super) fn word_embeddings(&mut self) -> Result<String, CheckpointError> {
        let config = &self.checkpoint.config;
        let (vocab, width) = (config.vocab_size, config.embedding_size);
        let table = self
            .checkpoint
            .tensor("bert.embeddings.word_embeddings.weight", &[vocab, width])?;
        let packed = self
            .is_padding_free()
            .then(|| self.packed(INPUTS[0], "packed.ids"));
        let ids = packed.as_deref().unwrap_or(INPUTS[0]);
        let name = "embeddings.table";
        let to_f32 = [("to", Attribute::Int(Element::F32 as i64))];
        match self.arithmetic {
            Arithmetic::Float | Arithmetic::Observed => {
                self.graph.f32s(name, &[vocab, width], table);
                Ok(self.graph.op("Gather", &[name, ids], &[], "embeddings.words"))
            }
            Arithmetic::Half => {
                self.graph.f16s(name, &[vocab, width], table);
                self.graph.op("Gather", &[name, ids], &[], "embeddings.halves");
                Ok(self
                    .graph
                    .op("Cast", &["embeddings.halves"], &to_f32, "embeddings.words"))
            }
            Arithmetic::Int8(_) => {
                let (rows, scales) = quantize_rows(table, width);
                self.graph.i8s(name, &[vocab, width], &rows);
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
}
