//! A server's life: open the model, warm up, serve, drain.

use std::net::TcpListener;
use std::path::PathBuf;
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use actix_web::HttpServer;
use nerve_export::{EncoderError, Model, ModelError, Runtime, RuntimeError, SessionOptions};
use nerve_tagging::windows;
use thiserror::Error;
use tokio::time::{timeout, timeout_at};
use tracing::{info, warn};

use crate::config::{BatchLimits, ConfigError, ServerConfig};
use crate::health::Health;
use crate::http::{AppState, app};
use crate::infer::{Infer, InferError, OpenSession};
use crate::metrics::{Metrics, ModelFacts};
use crate::pipeline::{Tagger, TextModel, TextThreads};
use crate::scheduler::{Pool, Queue, Started, Worker};

/// Longer than the idle timeouts of common proxies, so that the proxy closes first and no request meets a closed door.
const KEEP_ALIVE: Duration = Duration::from_secs(75);
/// Time to answer 503 to what is still waiting when the drain deadline has passed.
const LAST_WORDS: Duration = Duration::from_millis(250);
/// Tokenising takes a fraction of a text's inference; a second thread keeps a long text from holding up the rest.
const TEXT_THREADS: usize = 2;

/// Why a server could not start or go on.
#[derive(Debug, Error)]
pub enum ServerError {
    /// The configuration makes no server.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// ONNX Runtime cannot be opened.
    #[error(transparent)]
    Runtime(#[from] RuntimeError),
    /// The model cannot be opened.
    #[error("cannot open the model {}: {source}", path.display())]
    Model {
        /// The path as configured.
        path: PathBuf,
        /// The defect.
        source: ModelError,
    },
    /// The model's description cannot be shown.
    #[error("cannot describe the model: {0}")]
    Describe(#[from] serde_json::Error),
    /// The tokenizer fails on a plain text.
    #[error("the model's tokenizer fails: {0}")]
    Tokenizer(#[from] EncoderError),
    /// A first session cannot be opened, or fails its warm-up.
    #[error("cannot open a model session: {0}")]
    Session(Box<dyn std::error::Error + Send + Sync>),
    /// A thread ended without a word while the server started.
    #[error("a thread was lost while the server started")]
    ThreadLost,
    /// The metrics contradict one another.
    #[error("cannot register the metrics: {0}")]
    Metrics(#[from] prometheus::Error),
    /// Threads or sockets fail.
    #[error("cannot serve: {0}")]
    Io(#[from] std::io::Error),
}

/// Serves on `listener` until `shutdown` is done, then drains.
///
/// Must run on a Tokio or actix runtime. The listener accepts at once; `/health/ready` and the `/ner` routes answer 503
/// until every worker's session has been warmed up. After `shutdown`, readiness falls, the listener closes, and requests
/// in flight have `drain_deadline_ms` to end; those that do not are answered 503.
pub async fn run(
    listener: TcpListener,
    mut config: ServerConfig,
    shutdown: impl Future<Output = ()>,
) -> Result<(), ServerError> {
    config.validate()?;
    let mut shutdown = pin!(shutdown);
    let opening = config.clone();
    let opened = tokio::select! {
        opened = tokio::task::spawn_blocking(move || open(&opening)) => opened,
        () = &mut shutdown => return Ok(()),
    };
    let (model, sessions) = opened.map_err(|_| ServerError::ThreadLost)??;
    config.batching = batching(&model, config.batching);
    serve(listener, &config, model, sessions, shutdown).await
}

/// The text side of the configured model, and the way to its sessions.
pub(crate) fn open(config: &ServerConfig) -> Result<(TextModel, Arc<OpenSession>), ServerError> {
    let runtime = Runtime::load(config.onnxruntime.as_deref())?;
    let model = Model::open_with(&config.model, &config.plain).map_err(|source| ServerError::Model {
        path: config.model.clone(),
        source,
    })?;
    let text_model = TextModel::of(&model)?;
    info!(model = %text_model.name, version = %text_model.version, device = %config.device, "model opened");
    // One thread a session: several small sessions answer more texts than one wide one.
    let options = SessionOptions {
        device: config.device,
        intra_threads: 1,
    };
    let sessions =
        move || -> Result<Box<dyn Infer>, InferError> { Ok(Box::new(model.session(&runtime, &options)?)) };
    Ok((text_model, Arc::new(sessions)))
}

/// What may be computed together with this model.
pub(crate) fn batching(model: &TextModel, limits: BatchLimits) -> BatchLimits {
    let Some(reason) = &model.one_by_one else {
        return limits;
    };
    warn!(%reason, "windows run one by one, so that no answer depends on who else asks; --max-batch is 1");
    BatchLimits {
        max_batch: 1,
        ..limits
    }
}

/// A model at work: the pipeline, and the workers behind it.
pub(crate) struct Engine {
    pub(crate) tagger: Tagger,
    /// The workers end when this is dropped.
    pub(crate) pool: Pool,
    pub(crate) started: Started,
}

impl Engine {
    /// Starts the workers, which open their sessions meanwhile.
    pub(crate) fn start(
        config: &ServerConfig,
        model: TextModel,
        sessions: Arc<OpenSession>,
    ) -> Result<Self, ServerError> {
        let device = config.device.to_string();
        let metrics = Arc::new(Metrics::new(&ModelFacts {
            name: &model.name,
            version: &model.version,
            precision: &model.precision,
            device: &device,
            types: model.labels.types(),
        })?);
        let health = Arc::new(Health::default());
        let queue = Arc::new(Queue::new(config.queue, config.batching, Arc::clone(&metrics)));
        let worker = Worker {
            queue: Arc::clone(&queue),
            health: Arc::clone(&health),
            metrics: Arc::clone(&metrics),
            open: sessions,
            warm_up: Arc::new(warm_up_batches(&model, config)?),
        };
        let (pool, started) = Pool::start(worker, config.workers)?;
        let tagger = Tagger {
            model: Arc::new(model),
            threads: TextThreads::start(TEXT_THREADS, config.queue.windows)?,
            queue,
            health,
            metrics,
            limits: config.requests,
        };
        Ok(Self {
            tagger,
            pool,
            started,
        })
    }
}

/// Serves a model whose sessions `sessions` opens; what [`run`] does once the model is open.
pub(crate) async fn serve(
    listener: TcpListener,
    config: &ServerConfig,
    model: TextModel,
    sessions: Arc<OpenSession>,
    shutdown: impl Future<Output = ()>,
) -> Result<(), ServerError> {
    let Engine {
        tagger,
        pool,
        started,
    } = Engine::start(config, model, sessions)?;
    let (health, queue) = (Arc::clone(&tagger.health), Arc::clone(&tagger.queue));
    let state = AppState::new(tagger, config);

    let drain = Duration::from_millis(config.drain_deadline_ms);
    let address = listener.local_addr()?;
    let server = HttpServer::new(move || app(state.clone()))
        .workers(config.http_threads)
        .keep_alive(KEEP_ALIVE)
        .tcp_nodelay(true)
        // A client that closes its connection withdraws its request.
        .h1_allow_half_closed(false)
        .disable_signals()
        .shutdown_timeout(drain.as_secs().saturating_add(1))
        .listen(listener)?
        .run();
    let handle = server.handle();
    let mut server = pin!(server);
    info!(%address, workers = config.workers, "listening");

    tokio::select! {
        ended = &mut server => return Ok(ended?),
        told = until_told(started, &health, shutdown) => told?,
    }

    info!(deadline_ms = config.drain_deadline_ms, "draining");
    health.set_draining();
    let deadline = Instant::now() + drain;
    let mut drained = pin!(async { tokio::join!(handle.stop(true), server).1 });
    match timeout_at(deadline.into(), &mut drained).await {
        Ok(ended) => ended?,
        Err(_) => {
            warn!("requests were still running at the drain deadline; they are answered 503");
            queue.abort();
            let _late = timeout(LAST_WORDS, drained).await;
        }
    }
    if !pool.stop(deadline + LAST_WORDS).await {
        warn!("a worker was still busy at the drain deadline");
    }
    info!("stopped");
    Ok(())
}

/// Ends when the server is told to stop, or with the first session that does not open.
async fn until_told(
    started: Started,
    health: &Health,
    shutdown: impl Future<Output = ()>,
) -> Result<(), ServerError> {
    let mut shutdown = pin!(shutdown);
    tokio::select! {
        warm = all_started(started) => warm?,
        () = &mut shutdown => return Ok(()),
    }
    health.set_warm();
    info!("ready");
    shutdown.await;
    Ok(())
}

/// Ends when every worker has a warm session, or with the first that has none.
pub(crate) async fn all_started(started: Started) -> Result<(), ServerError> {
    for worker in started {
        worker
            .await
            .map_err(|_| ServerError::ThreadLost)?
            .map_err(ServerError::Session)?;
    }
    Ok(())
}

/// A short text, a full batch and the longest window: memory is claimed and kernels are chosen before the first client.
fn warm_up_batches(model: &TextModel, config: &ServerConfig) -> Result<Vec<Vec<Vec<u32>>>, EncoderError> {
    const SHORT: usize = 8;
    const USUAL: usize = 32;
    let full = (config.batching.batch_tokens / USUAL).clamp(1, config.batching.max_batch);
    let mut batches = Vec::new();
    for (count, words) in [(1, SHORT), (full, USUAL), (1, model.limits.max_tokens())] {
        let subwords = model.encoder.encode_words(&vec!["a"; words])?;
        if let Some(window) = windows(&subwords, model.limits).first() {
            batches.push(vec![model.encoder.window_ids(&subwords, window); count]);
        }
    }
    Ok(batches)
}
