//! Models, texts and engines for tests and fuzz targets.
#![allow(clippy::unwrap_used)]

use std::sync::Arc;

use nerve_inference::{PipelineTokenizer, TextTokenizer};
use nerve_tagging::{ByteSpan, Decoder, LabelId, LabelSet, Splitter, WindowLimits, WordLabel};

use crate::config::EngineConfig;
use crate::context::VersionContext;
use crate::engine::Engine;
use crate::error::EngineError;
use crate::models::source::ModelSource;
pub use crate::pipeline::direct::{classify_directly, tag_directly};
use crate::pipeline::model::TextModel;
use crate::pipeline::tagged::{TaggedText, Words};
use crate::pipeline::threads::TokenizerPool;

/// A model with a vocabulary of a few words and windows of `max_tokens` subwords.
pub fn text_model(max_tokens: usize) -> TextModel {
    let dir = tempfile::tempdir().unwrap();
    let vocab = "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\nmet\npaul\n##walk\nparis\nin\nxl\n😀\nnan\npanic\nerror\nslow\norphan\n";
    std::fs::write(dir.path().join("vocab.txt"), vocab).unwrap();
    let labels = LabelSet::iob2(["person", "location"]).unwrap();
    let tokenizer = TextTokenizer::open_dir(dir.path()).unwrap();
    TextModel {
        pipeline: Arc::new(PipelineTokenizer::new(&tokenizer, max_tokens + 2)),
        decoder: Decoder::new(&labels),
        token_decoder: Decoder::new(&labels),
        labels,
        name: "test".to_owned(),
        version: "v1".to_owned(),
        precision: "fp32".to_owned(),
        tokenizer: Arc::new(tokenizer),
        splitter: Splitter::Corpus,
        limits: WindowLimits::new(max_tokens, max_tokens / 4).unwrap(),
        one_by_one: None,
        padding_free: false,
        description: serde_json::json!({"name": "test"}),
    }
}

/// Words joined by spaces, with labels of score 1.
pub fn tagged(words: &[&str], labels: &[usize]) -> TaggedText {
    let mut start = 0;
    let spans = words.iter().map(|word| {
        let span = ByteSpan::new(start, start + word.len()).unwrap();
        start += word.len() + 1;
        span
    });
    let label = |&id: &usize| WordLabel {
        label: LabelId(id),
        score: 1.0,
    };
    TaggedText {
        words: Words {
            spans: spans.collect(),
            text: words.join(" "),
        },
        labels: labels.iter().map(label).collect(),
        joined: true,
    }
}

/// An engine whose tokenizer threads lose every task, as after a panic.
pub async fn engine_that_loses_tasks(
    config: EngineConfig,
    source: Arc<dyn ModelSource>,
) -> Result<Engine, EngineError> {
    let context = VersionContext::new(config)?;
    let gauges = context.metrics.text_threads.clone();
    let context = VersionContext {
        threads: Arc::new(TokenizerPool::that_lose_tasks(gauges)?),
        ..context
    };
    Engine::of_sources(context, source, None).await
}
