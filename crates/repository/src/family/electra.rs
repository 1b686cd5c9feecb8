//! ELECTRA (Clark et al. 2020).

use serde_json::{Map, Value};

use crate::activation::Activation;
use crate::family::bert::{BERT, KEYS};
use crate::family::spec::{ConfigKeys, FamilySpec, FieldProblem, MaskedHead};

pub(super) const ELECTRA: FamilySpec = FamilySpec {
    model_type: "electra",
    class: "ElectraForTokenClassification",
    prefix: "electra.",
    keys: &ConfigKeys {
        embedding_size: Some(("embedding_size", 128)),
        ..KEYS
    },
    // The head of its generators. Discriminators have no head for masked words.
    masked_head: Some(&MaskedHead {
        dense: "generator_predictions.dense",
        norm: "generator_predictions.LayerNorm",
        bias: "generator_lm_head.bias",
        activation: Some(Activation::Gelu),
    }),
    check: |fields, _| check(fields),
    ..BERT
};

fn check(fields: &Map<String, Value>) -> Result<(), FieldProblem> {
    const FIELD: &str = "is_decoder";
    match fields.get(FIELD) {
        Some(stated) if *stated != false && !stated.is_null() => Err(FieldProblem {
            field: FIELD,
            problem: format!("is {stated}; only encoders are supported, whose tokens attend to all others"),
        }),
        _ => Ok(()),
    }
}
