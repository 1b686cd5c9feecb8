//! The embeddings below ModernBERT's layers and the head above them.

use nerve_repository::{CheckpointError, ModernBert};

use crate::graph::writer::Writer;

impl Writer<'_> {
    /// The normalized word embeddings, f32.
    pub(super) fn normalized_words(&mut self, own: &ModernBert) -> Result<String, CheckpointError> {
        let words = self.word_embeddings()?;
        let words = match self.is_of_rows() && !self.is_padding_free() {
            true => self
                .graph
                .op("Reshape", &[&words, "shape.rows"], &[], "embeddings.rows"),
            false => words,
        };
        self.layer_norm_of("bert.embeddings.LayerNorm", own.norm_bias, &words)
    }

    /// The dense layer, the activation and the normalization before the classifier, f32.
    pub(super) fn dense_head(&mut self, own: &ModernBert, states: &str) -> Result<String, CheckpointError> {
        let hidden = self.checkpoint.config.hidden_size;
        let operand = self.as_operand(states);
        let input = self.layer_input(&operand);
        let dense = self.linear_with("head.dense", own.classifier_bias, &input, [hidden, hidden])?;
        let dense = self.as_f32(&dense);
        let activated = self.activation_of(own.classifier_activation, &dense, "head.activated");
        self.layer_norm_of("head.LayerNorm", own.norm_bias, &activated)
    }
}
