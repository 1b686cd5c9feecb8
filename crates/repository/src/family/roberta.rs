//! RoBERTa (Liu et al. 2019) and the families with its files: XLM-RoBERTa (Conneau et al. 2020) and CamemBERT (Martin et al. 2020).

use crate::family::bert::{DEFAULTS, KEYS};
use crate::family::spec::{FamilySpec, FirstPosition, MaskedHead};

pub(super) const ROBERTA: FamilySpec = FamilySpec {
    model_type: "roberta",
    class: "RobertaForTokenClassification",
    prefix: "roberta.",
    renamed: &[],
    keys: &KEYS,
    defaults: &DEFAULTS,
    default_pad: 1,
    first_position: FirstPosition::AfterPad,
    position_bias: false,
    wordpiece: false,
    spaced_words: true,
    masked_head: Some(&MASKED_HEAD),
    check: |_, _| Ok(()),
};

pub(super) const XLM_ROBERTA: FamilySpec = FamilySpec {
    model_type: "xlm-roberta",
    class: "XLMRobertaForTokenClassification",
    ..ROBERTA
};

pub(super) const CAMEMBERT: FamilySpec = FamilySpec {
    model_type: "camembert",
    class: "CamembertForTokenClassification",
    ..ROBERTA
};

pub(super) const MASKED_HEAD: MaskedHead = MaskedHead {
    dense: "lm_head.dense",
    norm: "lm_head.layer_norm",
    bias: "lm_head.bias",
};
