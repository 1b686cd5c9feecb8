//! DistilBERT (Sanh et al. 2019).

use crate::family::bert::BERT;
use crate::family::spec::{ConfigKeys, FamilySpec, MaskedHead};

pub(super) const DISTILBERT: FamilySpec = FamilySpec {
    model_type: "distilbert",
    class: "DistilBertForTokenClassification",
    prefix: "distilbert.",
    renamed: &[
        ("encoder.layer.", "transformer.layer."),
        (".attention.self.query.", ".attention.q_lin."),
        (".attention.self.key.", ".attention.k_lin."),
        (".attention.self.value.", ".attention.v_lin."),
        (".attention.output.dense.", ".attention.out_lin."),
        (".attention.output.LayerNorm.", ".sa_layer_norm."),
        (".intermediate.dense.", ".ffn.lin1."),
        (".output.dense.", ".ffn.lin2."),
        (".output.LayerNorm.", ".output_layer_norm."),
    ],
    keys: &ConfigKeys {
        embedding_size: None,
        hidden_size: "dim",
        layers: "n_layers",
        heads: "n_heads",
        intermediate_size: "hidden_dim",
        activation: "activation",
        hidden_dropout: "dropout",
        attention_dropout: "attention_dropout",
        classifier_dropout: None,
        token_types: None,
        layer_norm_eps: None,
    },
    masked_head: Some(&MaskedHead {
        dense: "vocab_transform",
        norm: "vocab_layer_norm",
        bias: "vocab_projector.bias",
        activation: None,
    }),
    ..BERT
};
