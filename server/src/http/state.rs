//! The state that handlers share.

use std::sync::Arc;
use std::time::Duration;

use nerve_engine::{BulkLimits, Engine, EngineError, MemoryBudget, Tagger};

use crate::config::HttpConfig;
use crate::http::body::BodyLimits;
use crate::http::keys::Keys;
use crate::http::metrics::HttpMetrics;
use crate::http::request_id::RequestIds;

/// The state that handlers share.
#[derive(Clone)]
pub(crate) struct AppState {
    pub(crate) engine: Arc<Engine>,
    pub(crate) config: Arc<HttpConfig>,
    pub(crate) metrics: Arc<HttpMetrics>,
    pub(crate) bulk: BulkLimits,
    pub(crate) keys: Arc<Keys>,
    /// The memory of all requests and their answers.
    pub(crate) memory: MemoryBudget,
    pub(crate) request_ids: Arc<RequestIds>,
}

impl AppState {
    /// The state of a server of this engine. Its metrics are added to the engine's registry.
    pub(crate) fn new(engine: Arc<Engine>, keys: Arc<Keys>, config: HttpConfig) -> Result<Self, EngineError> {
        Ok(Self {
            metrics: Arc::new(HttpMetrics::new(engine.metrics().registry())?),
            bulk: BulkLimits::of(engine.config()),
            keys,
            memory: MemoryBudget::new(config.max_inflight_bytes),
            request_ids: Arc::default(),
            config: Arc::new(config),
            engine,
        })
    }

    /// The live version of the stable model.
    pub(crate) fn live(&self) -> Arc<Tagger> {
        self.engine.live()
    }

    /// The limits of a request's body.
    pub(crate) fn body_limits(&self) -> BodyLimits {
        BodyLimits {
            bytes: self.config.max_body_bytes,
            time: Duration::from_millis(self.config.read_timeout_ms),
            budget: self.memory.clone(),
        }
    }
}
