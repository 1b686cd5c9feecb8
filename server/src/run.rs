//! A server's life: open the model, warm up, serve, drain.

use std::net::TcpListener;
use std::path::PathBuf;
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use actix_web::HttpServer;
use nerve_inference::{EncoderError, ModelError, Runtime, RuntimeError};
use thiserror::Error;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::task::spawn_blocking;
use tokio::time::{sleep, timeout, timeout_at};
use tracing::{info, warn};

use crate::config::{ConfigError, ServerConfig};
use crate::device::with_device;
use crate::http::{AppState, KeyError, Keys, app, give_up_on_clients_that_do_not_read};
use crate::models::{Canary, Files, ModelSource, Models, Opened, Place, Shared, Track, watch};
use crate::pipeline::Tagger;
use crate::scheduler::Started;
use crate::tls::{TlsError, tls_config};

/// Longer than the idle timeouts of common proxies, so that the proxy closes first and no request meets a closed door.
const KEEP_ALIVE: Duration = Duration::from_secs(75);
/// Time to answer 503 to what is still waiting when the drain deadline has passed.
const LAST_WORDS: Duration = Duration::from_millis(250);

/// How far behind actix's clock may be, from which it counts the time that a head may take.
const CLOCK_STEP: Duration = Duration::from_millis(500);
/// How soon a key that was taken away opens nothing any more.
const KEYS_POLL: Duration = Duration::from_secs(1);

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
    /// The API keys cannot be read.
    #[error("cannot read the API keys: {0}")]
    Keys(#[from] KeyError),
    /// HTTPS cannot be served with the files given.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// Threads or sockets fail.
    #[error("cannot serve: {0}")]
    Io(#[from] std::io::Error),
}

/// How a server that was told to stop has stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stopped {
    /// Everything in flight was answered.
    Drained,
    /// Some of what was in flight was not answered, or a worker was still busy, at the drain deadline.
    Late,
}

/// Serves on `listener` until `shutdown` is done, then drains.
///
/// Must run on a Tokio or actix runtime. The listener accepts at once; `/health/ready` and the `/ner` routes answer 503
/// until every worker's session has been warmed up. After `shutdown`, readiness falls at once and the listener closes
/// `drain_delay_ms` later; requests in flight then have `drain_deadline_ms` to end, and those that do not are answered
/// 503.
pub async fn run(
    listener: TcpListener,
    config: ServerConfig,
    shutdown: impl Future<Output = ()>,
) -> Result<Stopped, ServerError> {
    config.validate()?;
    let runtime = Runtime::load(config.onnxruntime.as_deref())?;
    let choosing = Arc::clone(&runtime);
    let config = spawn_blocking(move || with_device(config, &choosing)).await;
    let config = config.map_err(|_| ServerError::ThreadLost)?;
    let source: Arc<dyn ModelSource> = Arc::new(Files::new(&config.model, &runtime, &config));
    let canary = config
        .canary
        .as_ref()
        .map(|canary| -> Arc<dyn ModelSource> { Arc::new(Files::new(&canary.path, &runtime, &config)) });
    serve(listener, config, source, canary, shutdown).await
}

/// The first version of a model, opened on a thread that may block.
async fn first(source: &Arc<dyn ModelSource>) -> Result<(Place, Opened), ServerError> {
    let source = Arc::clone(source);
    let opened = spawn_blocking(move || Opened::first(source.as_ref())).await;
    opened.map_err(|_| ServerError::ThreadLost)?
}

/// The model of a source at work, its sessions being opened.
async fn start(
    name: &'static str,
    source: Arc<dyn ModelSource>,
    shared: &Shared,
) -> Result<(Track, Started), ServerError> {
    let (place, opened) = first(&source).await?;
    let (tagger, started) = Tagger::start(opened.model, opened.sessions, shared)?;
    Ok((Track::new(name, source, place, tagger), started))
}

/// Serves the models of these sources; what [`run`] does once it knows how to open them.
pub(crate) async fn serve(
    listener: TcpListener,
    config: ServerConfig,
    source: Arc<dyn ModelSource>,
    canary: Option<Arc<dyn ModelSource>>,
    shutdown: impl Future<Output = ()>,
) -> Result<Stopped, ServerError> {
    let mut shutdown = pin!(shutdown);
    // Before the models are opened: until it is listened for, the signal ends the process.
    let hangup = signal(SignalKind::hangup())?;
    let shared = Shared::new(config)?;
    let config = Arc::clone(&shared.config);
    let opening = async {
        let (stable, mut started) = start("stable", source, &shared).await?;
        let canary = match canary.zip(config.canary.as_ref()) {
            None => None,
            Some((source, canary)) => {
                let (track, more) = start("canary", source, &shared).await?;
                started.extend(more);
                let percent = canary.percent;
                Some(Canary { track, percent })
            }
        };
        Ok::<_, ServerError>((stable, canary, started))
    };
    let (stable, canary, started) = tokio::select! {
        opened = opening => opened?,
        () = &mut shutdown => return Ok(Stopped::Drained),
    };
    let models = Arc::new(Models {
        shared,
        stable,
        canary,
    });
    models.show();
    let keys = Arc::new(Keys::read(&config)?);
    let tls = config.tls.as_ref().map(tls_config).transpose()?;
    let state = AppState::new(Arc::clone(&models), Arc::clone(&keys));

    let drain = Duration::from_millis(config.drain_deadline_ms);
    let address = listener.local_addr()?;
    let idle = Duration::from_millis(config.idle_timeout_ms);
    give_up_on_clients_that_do_not_read(&listener, idle)?;
    let server = HttpServer::new(move || app(state.clone()))
        .workers(config.http_threads)
        .keep_alive(KEEP_ALIVE)
        .tcp_nodelay(true)
        // A client that closes its connection withdraws its request.
        .h1_allow_half_closed(false)
        .max_connections(config.connections_per_thread())
        .client_request_timeout(Duration::from_millis(config.read_timeout_ms) + CLOCK_STEP)
        .disable_signals()
        .shutdown_timeout(drain.as_secs().saturating_add(1));
    let server = match tls {
        None => server.listen(listener)?,
        Some(tls) => server.listen_rustls_0_23(listener, tls)?,
    };
    let server = server.run();
    let handle = server.handle();
    let mut server = pin!(server);
    info!(%address, workers = config.workers(), "listening");

    tokio::select! {
        ended = &mut server => return Ok(ended.map(|()| Stopped::Late)?),
        told = until_told(started, &models, &keys, hangup, shutdown) => told?,
    }

    info!(
        delay_ms = config.drain_delay_ms,
        deadline_ms = config.drain_deadline_ms,
        "draining"
    );
    models.shared.draining.set();
    // Balancers see that readiness has fallen, and send nothing more, before the door closes.
    tokio::select! {
        ended = &mut server => return Ok(ended.map(|()| Stopped::Late)?),
        () = sleep(Duration::from_millis(config.drain_delay_ms)) => {}
    }
    let deadline = Instant::now() + drain;
    let mut stopped = Stopped::Drained;
    let mut drained = pin!(async { tokio::join!(handle.stop(true), server).1 });
    match timeout_at(deadline.into(), &mut drained).await {
        Ok(ended) => ended?,
        Err(_) => {
            warn!("requests were still running at the drain deadline; they are answered 503");
            stopped = Stopped::Late;
            models.abort();
            let _late = timeout(LAST_WORDS, drained).await;
        }
    }
    if !models.stop(deadline + LAST_WORDS).await {
        warn!("a worker was still busy at the drain deadline");
        stopped = Stopped::Late;
    }
    info!("stopped");
    Ok(stopped)
}

/// Reads the keys again when their files change; never ends.
async fn refresh(keys: &Arc<Keys>) {
    loop {
        sleep(KEYS_POLL).await;
        let keys = Arc::clone(keys);
        // One look waits for the other, on a thread that may block.
        let _looked = spawn_blocking(move || keys.refresh()).await;
    }
}

/// Ends when the server is told to stop, or with the first session that does not open.
async fn until_told(
    started: Started,
    models: &Arc<Models>,
    keys: &Arc<Keys>,
    hangup: Signal,
    shutdown: impl Future<Output = ()>,
) -> Result<(), ServerError> {
    let mut shutdown = pin!(shutdown);
    tokio::select! {
        warm = all_started(started) => warm?,
        () = &mut shutdown => return Ok(()),
    }
    for track in models.tracks() {
        track.live().health.set_warm();
    }
    info!("ready");
    let poll = models.shared.config.reload_poll_ms;
    let poll = (poll > 0).then(|| Duration::from_millis(poll));
    tokio::select! {
        () = watch(Arc::clone(models), poll, hangup) => {}
        () = refresh(keys) => {}
        () = shutdown => {}
    }
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
