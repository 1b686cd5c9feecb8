//! RoBERTa (Liu et al. 2019) and the families with its files: XLM-RoBERTa (Conneau et al. 2020) and CamemBERT (Martin et al. 2020).

use crate::family::bert::BERT;
use crate::family::spec::{FamilySpec, FirstPosition, MaskedHead};

pub(super) const ROBERTA: FamilySpec = FamilySpec {
    model_type: "roberta",
    class: "RobertaForTokenClassification",
    prefix: "roberta.",
    default_pad: 1,
    first_position: FirstPosition::AfterPad,
    wordpiece: false,
    masked_head: Some(&MASKED_HEAD),
    ..BERT
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
    activation: None,
};
