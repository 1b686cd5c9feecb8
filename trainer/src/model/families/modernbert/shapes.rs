//! The parameters of ModernBERT and of its head below the classifier.

use std::collections::BTreeMap;

use nerve_repository::ModelConfig;

/// The name and the shape of every parameter but the classifier's; none for fields that [`ModelConfig::validate`] refuses.
pub(in crate::model) fn parameter_shapes(config: &ModelConfig) -> BTreeMap<String, Vec<usize>> {
    let mut shapes = BTreeMap::new();
    let Ok(own) = config.modern_bert() else {
        return shapes;
    };
    let (hidden, inner) = (config.hidden_size, config.intermediate_size);
    let words = "bert.embeddings.word_embeddings.weight".to_owned();
    shapes.insert(words, vec![config.vocab_size, hidden]);
    let mut norm = |name: &str| {
        shapes.insert(format!("{name}.weight"), vec![hidden]);
        if own.norm_bias {
            shapes.insert(format!("{name}.bias"), vec![hidden]);
        }
    };
    norm("bert.embeddings.LayerNorm");
    norm("bert.encoder.LayerNorm");
    norm("head.LayerNorm");
    for layer in 0..config.num_hidden_layers {
        // The embeddings are normalized, so the first layer does not normalize them again.
        if layer > 0 {
            norm(&format!("bert.encoder.layer.{layer}.attention.LayerNorm"));
        }
        norm(&format!("bert.encoder.layer.{layer}.mlp.LayerNorm"));
    }
    let mut dense = |name: &str, [outputs, inputs]: [usize; 2], has_bias: bool| {
        shapes.insert(format!("{name}.weight"), vec![outputs, inputs]);
        if has_bias {
            shapes.insert(format!("{name}.bias"), vec![outputs]);
        }
    };
    dense("head.dense", [hidden, hidden], own.classifier_bias);
    for layer in 0..config.num_hidden_layers {
        let name = format!("bert.encoder.layer.{layer}");
        dense(
            &format!("{name}.attention.Wqkv"),
            [3 * hidden, hidden],
            own.attention_bias,
        );
        dense(
            &format!("{name}.attention.Wo"),
            [hidden, hidden],
            own.attention_bias,
        );
        dense(&format!("{name}.mlp.Wi"), [2 * inner, hidden], own.mlp_bias);
        dense(&format!("{name}.mlp.Wo"), [hidden, inner], own.mlp_bias);
    }
    shapes
}
