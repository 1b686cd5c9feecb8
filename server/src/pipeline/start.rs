//! A model's pipeline and workers, started.

use std::sync::Arc;

use nerve_inference::EncoderError;
use nerve_tagging::windows;
use tracing::warn;

use crate::config::BatchLimits;
use crate::health::Health;
use crate::models::{Sessions, Shared};
use crate::pipeline::{AnswerCache, Tagger, TextModel};
use crate::run::ServerError;
use crate::scheduler::{LoneSession, Pool, Queue, Started, WindowInput, Worker};

impl Tagger {
    /// A pipeline whose workers open their sessions meanwhile; they end when it is dropped.
    pub(crate) fn start(
        model: TextModel,
        sessions: Sessions,
        shared: &Shared,
    ) -> Result<(Self, Started), ServerError> {
        let config = shared.config.as_ref();
        let batching = batching(&model, config.batching(model.padding_free));
        let health = Arc::new(Health::new(shared.draining.clone()));
        let queue = Arc::new(Queue::new(config.queue, batching, Arc::clone(&shared.metrics)));
        let worker = Worker {
            queue: Arc::clone(&queue),
            health: Arc::clone(&health),
            metrics: Arc::clone(&shared.metrics),
            open: sessions.of_workers,
            open_lone: sessions.lone,
            lone: LoneSession::default(),
            warm_up: Arc::new(warm_up_batches(&model, batching)?),
        };
        let (pool, started) = Pool::start(worker, config.workers())?;
        let tagger = Self {
            of_model: shared.metrics.model(&model),
            model: Arc::new(model),
            threads: Arc::clone(&shared.threads),
            queue,
            health,
            metrics: Arc::clone(&shared.metrics),
            limits: config.requests,
            cache: (config.cache_bytes > 0).then(|| AnswerCache::new(config.cache_bytes)),
            pool,
        };
        Ok((tagger, started))
    }
}

/// What may be computed together with this model.
fn batching(model: &TextModel, limits: BatchLimits) -> BatchLimits {
    let Some(reason) = &model.one_by_one else {
        return limits;
    };
    warn!(%reason, "windows run one by one, so that no answer depends on who else asks; --max-batch is 1");
    BatchLimits {
        max_batch: 1,
        ..limits
    }
}

/// A short text, a full batch and the longest window: memory is claimed and kernels are chosen before the first client. The
/// sequences of `POST /` may be longer, and are left to those who send them.
fn warm_up_batches(model: &TextModel, batching: BatchLimits) -> Result<Vec<Vec<WindowInput>>, EncoderError> {
    const SHORT: usize = 8;
    const USUAL: usize = 32;
    let full = (batching.batch_tokens / USUAL).clamp(1, batching.max_batch);
    let mut batches = Vec::new();
    for (count, words) in [(1, SHORT), (full, USUAL), (1, model.limits.max_tokens())] {
        let subwords = model.encoder.encode_words(&vec!["a"; words])?;
        if let Some(window) = windows(&subwords, model.limits).first() {
            let ids = model.encoder.window_ids(&subwords, window);
            let reads = (0..ids.len()).collect();
            batches.push(vec![WindowInput { ids, reads }; count]);
        }
    }
    Ok(batches)
}
