//! DeBERTa-v3 (He et al. 2021): disentangled attention to contents and relative positions.

mod attention;
mod embeddings;
mod positions;

use nerve_repository::CheckpointError;

use crate::graph::families::deberta::positions::RelativePositions;
use crate::graph::writer::Writer;

/// The last hidden states.
pub(in crate::graph) fn states(writer: &mut Writer<'_>) -> Result<String, CheckpointError> {
    let config = &writer.checkpoint.config;
    let layers = config.num_hidden_layers;
    let relative = config.relative_attention()?;
    let positions = RelativePositions::of(writer.checkpoint, relative)?;
    writer.mask();
    writer.distance_rows(relative);
    let mut states = writer.deberta_embeddings(relative)?;
    for layer in 0..layers {
        let name = format!("bert.encoder.layer.{layer}");
        let tokens = writer.layer_tokens(layer);
        let attention = format!("{name}.attention.self");
        let mixed = writer.disentangled_attention(&attention, &states, &positions, tokens)?;
        states = writer.after_attention(&name, &states, &mixed, tokens)?;
    }
    Ok(states)
}
