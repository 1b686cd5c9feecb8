//! What the pipeline knows of the model it serves, apart from its sessions.

use std::sync::Arc;

use nerve_inference::{Model, OneByOne, PipelineEncoder, TextEncoder};
use nerve_tagging::{Decoder, LabelSet, Splitter, WindowLimits};

/// A model's names, labels and way of reading text.
pub(crate) struct TextModel {
    pub(crate) name: String,
    pub(crate) version: String,
    pub(crate) precision: String,
    pub(crate) labels: LabelSet,
    /// Decides the labels of a text from its logits, and states scores at the model's temperature.
    pub(crate) decoder: Decoder,
    pub(crate) encoder: Arc<TextEncoder>,
    /// Reads text as the `transformers` pipeline does, for `POST /`.
    pub(crate) pipeline: Arc<PipelineEncoder>,
    pub(crate) splitter: Splitter,
    pub(crate) limits: WindowLimits,
    /// Why windows run one by one; absent where they share batches.
    pub(crate) one_by_one: Option<OneByOne>,
    /// Whether padding costs little.
    pub(crate) padding_free: bool,
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
            decoder: model.decoder(),
            encoder: Arc::clone(model.encoder()),
            pipeline: Arc::new(model.pipeline_encoder()),
            splitter: model.splitter(),
            limits: model.limits(),
            one_by_one: info.one_by_one,
            padding_free: info.padding_free,
            description: serde_json::to_value(info)?,
        })
    }
}

#[cfg(any(test, fuzzing))]
#[allow(clippy::unwrap_used)]
pub(crate) mod testing {
    use super::*;

    /// A model of six words and windows of `max_tokens` subwords: person for `paul`, location for `paris`.
    pub(crate) fn text_model(max_tokens: usize) -> TextModel {
        let dir = tempfile::tempdir().unwrap();
        let vocab = "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\nmet\npaul\n##walk\nparis\nin\nxl\n😀\nnan\npanic\nerror\nslow\norphan\n";
        std::fs::write(dir.path().join("vocab.txt"), vocab).unwrap();
        let labels = LabelSet::iob2(["person", "location"]).unwrap();
        let encoder = TextEncoder::open_dir(dir.path()).unwrap();
        TextModel {
            pipeline: Arc::new(PipelineEncoder::new(&encoder, max_tokens + 2)),
            decoder: Decoder::new(&labels),
            labels,
            name: "test".to_owned(),
            version: "v1".to_owned(),
            precision: "fp32".to_owned(),
            encoder: Arc::new(encoder),
            splitter: Splitter::Corpus,
            limits: WindowLimits::new(max_tokens, max_tokens / 4).unwrap(),
            one_by_one: None,
            padding_free: false,
            description: serde_json::json!({"name": "test"}),
        }
    }
}
