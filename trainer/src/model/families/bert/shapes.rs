//! The parameters of a BERT-like encoder.

use std::collections::BTreeMap;

use nerve_repository::{ModelConfig, POSITION_BIAS};

/// The name and the shape of every parameter of the encoder.
pub(in crate::model) fn parameter_shapes(config: &ModelConfig) -> BTreeMap<String, Vec<usize>> {
    let (hidden, wide) = (config.hidden_size, config.intermediate_size);
    let mut shapes = BTreeMap::new();
    let tables = [
        ("word", config.vocab_size),
        ("position", config.max_position_embeddings),
        ("token_type", config.type_vocab_size),
    ];
    // A family without segments has a segment table without rows.
    for (table, rows) in tables.into_iter().filter(|(_, rows)| *rows > 0) {
        shapes.insert(
            format!("bert.embeddings.{table}_embeddings.weight"),
            vec![rows, hidden],
        );
    }
    if let Some(buckets) = config.family.position_buckets() {
        shapes.insert(
            POSITION_BIAS.to_owned(),
            vec![buckets, config.num_attention_heads],
        );
    }
    let mut norm = |name: String| {
        shapes.insert(format!("{name}.weight"), vec![hidden]);
        shapes.insert(format!("{name}.bias"), vec![hidden]);
    };
    norm("bert.embeddings.LayerNorm".to_owned());
    for layer in 0..config.num_hidden_layers {
        norm(format!("bert.encoder.layer.{layer}.attention.output.LayerNorm"));
        norm(format!("bert.encoder.layer.{layer}.output.LayerNorm"));
    }
    let mut dense = |name: String, outputs: usize, inputs: usize| {
        shapes.insert(format!("{name}.weight"), vec![outputs, inputs]);
        shapes.insert(format!("{name}.bias"), vec![outputs]);
    };
    for layer in 0..config.num_hidden_layers {
        let name = format!("bert.encoder.layer.{layer}");
        for part in ["self.query", "self.key", "self.value", "output.dense"] {
            dense(format!("{name}.attention.{part}"), hidden, hidden);
        }
        dense(format!("{name}.intermediate.dense"), wide, hidden);
        dense(format!("{name}.output.dense"), hidden, wide);
    }
    shapes
}
