//! BERT (Devlin et al. 2019).

use crate::activation::Activation;
use crate::family::spec::{Architecture, ConfigDefaults, ConfigKeys, FamilySpec, FirstPosition, MaskedHead};

pub(super) const BERT: FamilySpec = FamilySpec {
    model_type: "bert",
    architecture: Architecture::Bert,
    class: "BertForTokenClassification",
    prefix: "bert.",
    renamed: &[],
    keys: &KEYS,
    defaults: &DEFAULTS,
    default_pad: 0,
    first_position: FirstPosition::Row(0),
    position_bias: false,
    wordpiece: true,
    spaced_words: true,
    masked_head: Some(&MaskedHead {
        dense: "cls.predictions.transform.dense",
        norm: "cls.predictions.transform.LayerNorm",
        bias: "cls.predictions.bias",
        activation: None,
    }),
    shares_layers: false,
    check: |_, _| Ok(()),
};

pub(super) const KEYS: ConfigKeys = ConfigKeys {
    embedding_size: None,
    hidden_size: "hidden_size",
    layers: "num_hidden_layers",
    heads: "num_attention_heads",
    intermediate_size: "intermediate_size",
    activation: "hidden_act",
    hidden_dropout: "hidden_dropout_prob",
    attention_dropout: "attention_probs_dropout_prob",
    classifier_dropout: Some("classifier_dropout"),
    token_types: Some("type_vocab_size"),
    layer_norm_eps: Some("layer_norm_eps"),
};

pub(super) const DEFAULTS: ConfigDefaults = ConfigDefaults {
    activation: Activation::Gelu,
    hidden_dropout: 0.1,
    attention_dropout: 0.1,
    classifier_dropout: None,
    positions: 512,
    token_types: 2,
    layer_norm_eps: 1e-12,
};
