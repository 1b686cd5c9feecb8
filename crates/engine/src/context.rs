//! What the versions of all models share.

use std::sync::Arc;

use crate::config::EngineConfig;
use crate::error::EngineError;
use crate::health::DrainFlag;
use crate::metrics::Metrics;
use crate::pipeline::threads::TokenizerPool;

/// Tokenizing takes a fraction of the time of inference. The second thread keeps a long text from delaying the
/// others.
const TEXT_THREADS: usize = 2;

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
        Ok(Self {
            metrics: Arc::new(Metrics::new()?),
            threads: Arc::new(TokenizerPool::start(TEXT_THREADS, config.queue.windows)?),
            draining: DrainFlag::default(),
            config: Arc::new(config),
        })
    }
}
