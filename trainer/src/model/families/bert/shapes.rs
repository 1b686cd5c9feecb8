//! The parameters of a BERT-like encoder.

use std::collections::{BTreeMap, BTreeSet};

use nerve_repository::{ModelConfig, POSITION_BIAS};

/// The name and the shape of every parameter of the encoder.
pub(in crate::model) fn parameter_shapes(config: &ModelConfig) -> BTreeMap<String, Vec<usize>> {
    let (hidden, wide) = (config.hidden_size, config.intermediate_size);
    let layers: BTreeSet<String> = (0..config.layer_count())
        .map(|index| config.layer_name(index))
        .collect();
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
            vec![rows, config.embedding_size],
        );
    }
    if let Some(buckets) = config.family.position_buckets() {
        shapes.insert(
            POSITION_BIAS.to_owned(),
            vec![buckets, config.num_attention_heads],
        );
    }
    let mut norm = |name: String, width: usize| {
        shapes.insert(format!("{name}.weight"), vec![width]);
        shapes.insert(format!("{name}.bias"), vec![width]);
    };
    norm("bert.embeddings.LayerNorm".to_owned(), config.embedding_size);
    for layer in &layers {
        norm(format!("{layer}.attention.output.LayerNorm"), hidden);
        norm(format!("{layer}.output.LayerNorm"), hidden);
    }
    let mut dense = |name: String, outputs: usize, inputs: usize| {
        shapes.insert(format!("{name}.weight"), vec![outputs, inputs]);
        shapes.insert(format!("{name}.bias"), vec![outputs]);
    };
    if config.projects_embeddings() {
        dense(
            "bert.embeddings_project".to_owned(),
            hidden,
            config.embedding_size,
        );
    }
    for name in layers {
        for part in ["self.query", "self.key", "self.value", "output.dense"] {
            dense(format!("{name}.attention.{part}"), hidden, hidden);
        }
        dense(format!("{name}.intermediate.dense"), wide, hidden);
        dense(format!("{name}.output.dense"), hidden, wide);
    }
    shapes
}
