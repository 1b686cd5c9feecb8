//! The parameters of a DeBERTa-v3 encoder.

use std::collections::BTreeMap;

use nerve_repository::{ModelConfig, RelativeAttention};

use crate::model::families::bert;

/// The name and the shape of every parameter of the encoder: those of BERT, of which the position table is optional, and those
/// of relative positions.
pub(in crate::model) fn parameter_shapes(config: &ModelConfig) -> BTreeMap<String, Vec<usize>> {
    let hidden = config.hidden_size;
    let mut shapes = bert::parameter_shapes(config);
    // `ModelConfig::validate` refuses such a configuration.
    let Ok(relative) = config.relative_attention() else {
        return shapes;
    };
    if !relative.has_position_table {
        shapes.remove("bert.embeddings.position_embeddings.weight");
    }
    shapes.insert(RelativeAttention::TABLE.to_owned(), vec![relative.rows(), hidden]);
    if relative.is_normalized {
        for part in ["weight", "bias"] {
            shapes.insert(format!("{}.{part}", RelativeAttention::NORM), vec![hidden]);
        }
    }
    let own = [
        ("pos_key_proj", relative.content_to_position),
        ("pos_query_proj", relative.position_to_content),
    ];
    let own = own
        .into_iter()
        .filter(|(_, is_used)| *is_used && !relative.shares_projections);
    for (part, _) in own {
        for layer in 0..config.num_hidden_layers {
            let name = format!("bert.encoder.layer.{layer}.attention.self.{part}");
            shapes.insert(format!("{name}.weight"), vec![hidden, hidden]);
            shapes.insert(format!("{name}.bias"), vec![hidden]);
        }
    }
    shapes
}
