//! Texts to answers, with invented logits and without threads, for fuzz targets.

use std::sync::Arc;

use crate::config::TextLimits;
use crate::pipeline::aggregate::PipelineOptions;
use crate::pipeline::aggregation::DecodingOptions;
use crate::pipeline::classifier::{Chunking, Chunks, Classification};
use crate::pipeline::decide::Decision;
use crate::pipeline::error::TagError;
use crate::pipeline::model::TextModel;
use crate::pipeline::prepare::Preparation;
use crate::pipeline::tagged::TaggedText;

use crate::request::input::TagInput;
use crate::scheduler::job::WindowInput;

/// Limits that short texts exceed.
const LIMITS: TextLimits = TextLimits {
    max_line_bytes: 2048,
    max_text_bytes: 2048,
    max_words: 512,
    max_windows: 128,
};

/// The tagged texts, in order.
pub fn tag_directly(
    model: &Arc<TextModel>,
    sources: Vec<TagInput>,
    reading: DecodingOptions,
) -> Vec<Result<TaggedText, TagError>> {
    let mut preparation = Preparation::new(Arc::clone(model), sources, reading.aggregation, LIMITS);
    while !preparation.step() {}
    let (prepared, _) = preparation.finish();
    let tagged = prepared.into_iter().map(|prepared| {
        let prepared = prepared.map_err(TagError::Text)?;
        let logits = prepared.inputs(model).flat_map(|input| logits(model, &input));
        let logits = logits.collect();
        let mut decision = Decision::new(prepared, logits, reading);
        while !decision.step(model) {}
        decision.finish(model)
    });
    tagged.collect()
}

/// The answer of the `transformers` pipeline for the text.
pub fn classify_directly(
    model: &TextModel,
    text: &str,
    stride: Option<usize>,
    wanted: &PipelineOptions,
) -> Result<Classification, TagError> {
    let tokenizer = model.pipeline.as_ref();
    let mut chunking = Chunking::new(text.to_owned(), stride, LIMITS).map_err(TagError::Text)?;
    let chunked = loop {
        match chunking.step(tokenizer).map_err(TagError::Text)? {
            Chunks::Partial(rest) => chunking = rest,
            Chunks::Complete(chunked) => break chunked,
        }
    };
    let logits: Vec<f32> = chunked
        .inputs(tokenizer)
        .flat_map(|input| logits(model, &input))
        .collect();
    chunked.classified(tokenizer, &model.labels, &logits, wanted)
}

/// One row per position that is read. The same window always gets the same rows.
fn logits(model: &TextModel, input: &WindowInput) -> Vec<f32> {
    let width = model.labels.len();
    let row = |&position: &usize| {
        let seed = input.ids[position] as usize * 31 + position * 7;
        (0..width).map(move |label| ((seed + label * 13) % 17) as f32 - 8.0)
    };
    input.reads.iter().flat_map(row).collect()
}
