//! What the versions of all models share.

use std::sync::Arc;

use crate::config::EngineConfig;
use crate::error::EngineError;
use crate::health::DrainFlag;
use crate::metrics::Metrics;
use crate::pipeline::threads::TokenizerPool;

/// What the versions of all models share.
#[derive(Clone)]
pub(crate) struct VersionContext {
    pub(crate) config: Arc<EngineConfig>,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) threads: Arc<TokenizerPool>,
    pub(crate) draining: DrainFlag,
}

impl VersionContext {
    /// The context of an engine with this configuration.
    pub(crate) fn new(config: EngineConfig) -> Result<Self, EngineError> {
        let metrics = Metrics::new()?;
        let gauges = metrics.text_threads.clone();
        let threads = TokenizerPool::start(config.model.text_threads(), config.queue.windows, gauges)?;
        Ok(Self {
            metrics: Arc::new(metrics),
            threads: Arc::new(threads),
            draining: DrainFlag::default(),
            config: Arc::new(config),
        })
    }
}
