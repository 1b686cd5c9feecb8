//! MPNet (Song et al. 2020).

use serde_json::{Map, Value};

use crate::family::bert::{BERT, KEYS};
use crate::family::roberta::MASKED_HEAD;
use crate::family::spec::{ConfigKeys, FamilySpec, FieldProblem, FirstPosition};
use crate::relative_position::BUCKETS;

pub(super) const MPNET: FamilySpec = FamilySpec {
    model_type: "mpnet",
    class: "MPNetForTokenClassification",
    prefix: "mpnet.",
    renamed: &[
        (".attention.self.query.", ".attention.attn.q."),
        (".attention.self.key.", ".attention.attn.k."),
        (".attention.self.value.", ".attention.attn.v."),
        (".attention.output.dense.", ".attention.attn.o."),
        (".attention.output.LayerNorm.", ".attention.LayerNorm."),
    ],
    keys: &ConfigKeys {
        classifier_dropout: None,
        token_types: None,
        ..KEYS
    },
    default_pad: 1,
    // `transformers` counts from behind the id 1, whatever `pad_token_id` is.
    first_position: FirstPosition::Row(2),
    position_bias: true,
    wordpiece: false,
    masked_head: Some(&MASKED_HEAD),
    check: |fields, _| check(fields),
    ..BERT
};

fn check(fields: &Map<String, Value>) -> Result<(), FieldProblem> {
    const FIELD: &str = "relative_attention_num_buckets";
    match fields.get(FIELD) {
        Some(stated) if *stated != BUCKETS => Err(FieldProblem {
            field: FIELD,
            problem: format!("is {stated}; only {BUCKETS} is supported, as in `transformers`"),
        }),
        _ => Ok(()),
    }
}
