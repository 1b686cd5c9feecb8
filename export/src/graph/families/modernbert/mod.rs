//! ModernBERT (Warner et al. 2024).

mod head;
mod layer;
mod rotary;
mod window;

use nerve_repository::CheckpointError;

use crate::graph::families::modernbert::rotary::Rotations;
use crate::graph::writer::Writer;

/// The output of the head below the classifier.
pub(in crate::graph) fn states(writer: &mut Writer<'_>) -> Result<String, CheckpointError> {
    let own = writer.checkpoint.config.modern_bert()?;
    writer.mask();
    let rotations = Rotations::write(writer, &own);
    let masks = writer.window_masks(&own);
    let mut states = writer.normalized_words(&own)?;
    for layer in 0..writer.checkpoint.config.num_hidden_layers {
        let local = own.reach(layer).is_some();
        let (rotations, mask) = (&rotations[usize::from(local)], &masks[usize::from(local)]);
        states = writer.gated_layer(&own, layer, &states, rotations, mask)?;
    }
    let states = writer.layer_norm_of("bert.encoder.LayerNorm", own.norm_bias, &states)?;
    writer.dense_head(&own, &states)
}
