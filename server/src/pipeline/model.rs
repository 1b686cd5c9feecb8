//! What the pipeline knows of the model it serves, apart from its sessions.

use std::sync::Arc;

use nerve_export::{Model, OneByOne, TextEncoder};
use nerve_tagging::{LabelSet, Splitter, WindowLimits};

/// A model's names, labels and way of reading text.
pub(crate) struct TextModel {
    pub(crate) name: String,
    pub(crate) version: String,
    pub(crate) precision: String,
    pub(crate) labels: LabelSet,
    pub(crate) encoder: Arc<TextEncoder>,
    pub(crate) splitter: Splitter,
    pub(crate) limits: WindowLimits,
    /// Why windows run one by one; absent where they share batches.
    pub(crate) one_by_one: Option<OneByOne>,
    /// The model's whole description, as `/info` shows it.
    pub(crate) description: serde_json::Value,
}

impl TextModel {
    /// The text side of an opened model.
    pub(crate) fn of(model: &Model) -> Result<Self, serde_json::Error> {
        let info = model.info();
        Ok(Self {
            name: info.name.clone(),
            version: info.version.clone(),
            precision: info.precision.clone(),
            labels: model.labels().clone(),
            encoder: Arc::clone(model.encoder()),
            splitter: model.splitter(),
            limits: model.limits(),
            one_by_one: info.one_by_one,
            description: serde_json::to_value(info)?,
        })
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A model of six words and windows of `max_tokens` subwords: person for `paul`, location for `paris`.
    pub(crate) fn text_model(max_tokens: usize) -> TextModel {
        let dir = tempfile::tempdir().unwrap();
        let vocab = "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\nmet\npaul\n##walk\nparis\nin\nxl\n😀\nnan\npanic\nerror\nslow\n";
        std::fs::write(dir.path().join("vocab.txt"), vocab).unwrap();
        TextModel {
            name: "test".to_owned(),
            version: "v1".to_owned(),
            precision: "fp32".to_owned(),
            labels: LabelSet::iob2(["person", "location"]).unwrap(),
            encoder: Arc::new(TextEncoder::open_dir(dir.path()).unwrap()),
            splitter: Splitter::Corpus,
            limits: WindowLimits::new(max_tokens, max_tokens / 4).unwrap(),
            one_by_one: None,
            description: serde_json::json!({"name": "test"}),
        }
    }
}
