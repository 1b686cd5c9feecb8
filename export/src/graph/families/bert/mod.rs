//! BERT (Devlin et al. 2019) and the families that differ from it in positions, token types, position biases, narrower embeddings and
//! shared weights only.

mod embeddings;
mod layer;
mod position_bias;

use nerve_repository::CheckpointError;

use crate::graph::writer::Writer;

/// The last hidden states.
pub(in crate::graph) fn states(writer: &mut Writer<'_>) -> Result<String, CheckpointError> {
    let score_bias = writer.score_bias()?;
    let mut states = writer.embeddings()?;
    for layer in 0..writer.checkpoint.config.layer_count() {
        states = writer.layer(layer, &states, &score_bias)?;
    }
    Ok(states)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use nerve_repository::Checkpoint;
    use nerve_repository::onnx::proto::ModelProto;
    use prost::Message;

    use crate::graph::classifier::build;
    use crate::graph::options::{Arithmetic, LogitsOf};

    #[test]
    fn weights_that_layers_share_are_in_the_graph_once() {
        let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/families/fixtures");
        let checkpoint = Checkpoint::open(&fixtures.join("albert-groups")).unwrap();
        for arithmetic in [Arithmetic::Float, Arithmetic::Half] {
            let graph = build(&checkpoint, arithmetic, LogitsOf::Selected).unwrap();
            let graph = ModelProto::decode(graph.bytes.as_slice()).unwrap().graph.unwrap();
            let wide = graph
                .initializer
                .iter()
                .filter(|constant| constant.dims == [16, 24]);
            let applied = graph.node.iter().filter(|node| node.op_type == "Gelu");
            // Two groups of two inner layers have weights; the first group is applied twice.
            assert_eq!((wide.count(), applied.count()), (4, 6));
        }
    }
}
