//! BERT (Devlin et al. 2019) and the families that differ from it in positions, token types and position biases only.

mod embeddings;
mod layer;
mod position_bias;

use nerve_repository::CheckpointError;

use crate::graph::writer::Writer;

/// The last hidden states.
pub(in crate::graph) fn states(writer: &mut Writer<'_>) -> Result<String, CheckpointError> {
    let score_bias = writer.score_bias()?;
    let mut states = writer.embeddings()?;
    for layer in 0..writer.checkpoint.config.num_hidden_layers {
        states = writer.layer(layer, &states, &score_bias)?;
    }
    Ok(states)
}
