//! The start of a version: its queue, workers and pipeline.

use std::sync::Arc;

use nerve_inference::TokenizerError;
use nerve_tagging::windows;
use tracing::warn;

use crate::config::BatchLimits;
use crate::context::VersionContext;
use crate::error::EngineError;
use crate::health::Health;
use crate::models::source::Sessions;
use crate::pipeline::cache::AnswerCache;
use crate::pipeline::model::TextModel;
use crate::pipeline::tagger::Tagger;
use crate::scheduler::job::WindowInput;
use crate::scheduler::lone::LoneSession;
use crate::scheduler::pool::{Pool, SessionReady};
use crate::scheduler::queue::Queue;
use crate::scheduler::worker::Worker;

impl Tagger {
    /// A tagger whose workers open their sessions in the background. The workers end when it is dropped.
    pub(crate) fn start(
        model: TextModel,
        sessions: Sessions,
        context: &VersionContext,
    ) -> Result<(Self, Vec<SessionReady>), EngineError> {
        let config = context.config.as_ref();
        let batching = batching(&model, config.batch_limits(model.padding_free));
        let health = Arc::new(Health::new(context.draining.clone()));
        let queue = Arc::new(Queue::new(config.queue, batching, Arc::clone(&context.metrics)));
        let worker = Worker {
            queue: Arc::clone(&queue),
            health: Arc::clone(&health),
            metrics: Arc::clone(&context.metrics),
            open: sessions.of_workers,
            open_lone: sessions.lone,
            lone: LoneSession::default(),
            warm_up: Arc::new(warm_up_batches(&model, batching)?),
        };
        let (pool, started) = Pool::start(worker, config.model.workers())?;
        let tagger = Self {
            counters: context.metrics.model(&model),
            model: Arc::new(model),
            threads: Arc::clone(&context.threads),
            queue,
            health,
            metrics: Arc::clone(&context.metrics),
            limits: config.texts,
            cache: (config.versions.cache_bytes > 0).then(|| AnswerCache::new(config.versions.cache_bytes)),
            pool,
        };
        Ok((tagger, started))
    }
}

/// The batch limits for this model.
fn batching(model: &TextModel, limits: BatchLimits) -> BatchLimits {
    let Some(reason) = &model.one_by_one else {
        return limits;
    };
    warn!(%reason, "windows run one at a time, because an answer would depend on the other windows of its batch; --max-batch is 1");
    BatchLimits {
        max_batch: 1,
        ..limits
    }
}

/// A short text, a full batch and the longest window, so that memory is allocated and kernels are chosen before the
/// first request. The sequences of `POST /` may be longer, and are not warmed up.
fn warm_up_batches(
    model: &TextModel,
    batching: BatchLimits,
) -> Result<Vec<Vec<WindowInput>>, TokenizerError> {
    const SHORT: usize = 8;
    const USUAL: usize = 32;
    let full = (batching.batch_tokens / USUAL).clamp(1, batching.max_batch);
    let mut batches = Vec::new();
    for (count, words) in [(1, SHORT), (full, USUAL), (1, model.limits.max_tokens())] {
        let subwords = model.tokenizer.encode_words(&vec!["a"; words])?;
        if let Some(window) = windows(&subwords, model.limits).first() {
            let ids = model.tokenizer.window_ids(&subwords, window);
            let reads = (0..ids.len()).collect();
            batches.push(vec![WindowInput { ids, reads }; count]);
        }
    }
    Ok(batches)
}
