//! The text side of a model: everything except its sessions.

use std::sync::Arc;

use nerve_inference::{Model, OneByOne, PipelineTokenizer, TextTokenizer};
use nerve_tagging::{Decoder, LabelSet, Splitter, WindowLimits};

/// A model's names, labels, tokenizer and limits.
pub struct TextModel {
    /// The model's name.
    pub name: String,
    /// The version, which changes with the model's content.
    pub version: String,
    /// The precision, such as `fp32` or `int8`.
    pub precision: String,
    /// The labels.
    pub labels: LabelSet,
    /// Decides the labels of a text from its logits, with scores at the model's temperature.
    pub(crate) decoder: Decoder,
    /// The decoder of tokens. Transition scores are those of words, so it has none.
    pub(crate) token_decoder: Decoder,
    pub(crate) tokenizer: Arc<TextTokenizer>,
    /// Tokenizes text as the `transformers` pipeline does, for `POST /`.
    pub pipeline: Arc<PipelineTokenizer>,
    /// How running text is split into words.
    pub splitter: Splitter,
    /// How long a window is.
    pub limits: WindowLimits,
    /// Why windows run one by one; absent if they share batches.
    pub(crate) one_by_one: Option<OneByOne>,
    /// Whether the graph computes no padding.
    pub(crate) padding_free: bool,
    /// The model's whole description, as `/info` shows it.
    pub description: serde_json::Value,
}

impl TextModel {
    /// The text side of an open model.
    pub(crate) fn of(model: &Model) -> Result<Self, serde_json::Error> {
        let info = model.info();
        Ok(Self {
            name: info.name.clone(),
            version: info.version.clone(),
            precision: info.precision.clone(),
            labels: model.labels().clone(),
            decoder: model.decoder(),
            token_decoder: model.decoder().without_transitions(),
            tokenizer: Arc::clone(model.tokenizer()),
            pipeline: Arc::new(model.pipeline_tokenizer()),
            splitter: model.splitter(),
            limits: model.limits(),
            one_by_one: info.one_by_one,
            padding_free: info.padding_free,
            description: serde_json::to_value(info)?,
        })
    }
}
