//! The life of a server: open the engine, serve, drain.

use std::net::{SocketAddr, TcpListener};
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use actix_web::HttpServer;
use actix_web::dev::Server;
use actix_web::http::KeepAlive;
use nerve_engine::{Engine, EngineError, watch};
use nerve_export::PrepareError;
use thiserror::Error;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::task::spawn_blocking;
use tokio::time::{sleep, timeout, timeout_at};
use tracing::{info, warn};

use crate::config::{ConfigError, HttpConfig, ServerConfig};
use crate::grpc::server::GrpcServer;
use crate::http::app::app;
use crate::http::idle::give_up_on_clients_that_do_not_read;
use crate::http::keys::{KeyError, Keys};
use crate::http::request_id::RequestIds;
use crate::http::starting::starting_app;
use crate::http::state::AppState;
use crate::prepare::{is_ready, prepare};
use crate::tls::{Certificate, TlsError, tls_config};

/// Longer than the idle timeouts of common proxies, so that the proxy closes an idle connection first.
const KEEP_ALIVE: Duration = Duration::from_secs(75);
/// Time to answer 503 to the remaining requests after the drain deadline.
const LAST_WORDS: Duration = Duration::from_millis(250);

/// The granularity of the clock from which actix counts the time for a request's head.
const CLOCK_STEP: Duration = Duration::from_millis(500);
/// The interval for checking whether the files of API keys and of the TLS certificate have changed.
const FILES_POLL: Duration = Duration::from_secs(1);

/// Why a server cannot start or continue.
#[derive(Debug, Error)]
pub enum ServerError {
    /// The configuration is invalid.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// A model cannot be fetched or exported.
    #[error(transparent)]
    Prepare(#[from] PrepareError),
    /// The engine cannot start.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// The metrics cannot be registered.
    #[error("cannot register the metrics: {0}")]
    Metrics(#[from] prometheus::Error),
    /// The API keys cannot be read.
    #[error("cannot read the API keys: {0}")]
    Keys(#[from] KeyError),
    /// HTTPS cannot be served with the given files.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// Threads or sockets fail.
    #[error("threads or sockets failed: {0}")]
    Io(#[from] std::io::Error),
}

/// How a server ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stopped {
    /// Every request in flight was answered.
    Drained,
    /// A request in flight was not answered, or a worker was busy, at the drain deadline.
    Late,
}

/// The sockets that a server listens on.
#[derive(Debug)]
pub struct Listeners {
    /// For HTTP or HTTPS.
    pub http: TcpListener,
    /// For gRPC, if it is served.
    pub grpc: Option<TcpListener>,
}

/// Serves on the listeners until `shutdown` completes, then drains.
///
/// Must run on a Tokio or actix runtime. The listeners accept connections at once; `/health/ready` and the `/ner`
/// routes answer 503 until every worker's session has been warmed up. After `shutdown`, readiness fails at once and
/// the listeners close `drain_delay_ms` later. Requests in flight then have `drain_deadline_ms` to complete; the
/// remaining ones are answered 503.
pub async fn run(
    listeners: Listeners,
    config: ServerConfig,
    shutdown: impl Future<Output = ()>,
) -> Result<Stopped, ServerError> {
    config.validate()?;
    let mut shutdown = pin!(shutdown);
    // Everything that can be wrong besides the models is checked before they are fetched, exported and opened.
    let entrance = Entrance::new(listeners, &config)?;
    let preparing = prepare(config.engine.clone(), &config.checkpoint, &mut shutdown);
    let prepared = match is_ready(&config.engine) {
        true => preparing.await,
        // The process is alive during a download or an export, which may take minutes.
        false => {
            let server = starting_server(&entrance, &config.http)?;
            let handle = server.handle();
            let mut server = pin!(server);
            info!(listen = %entrance.address, "alive, and not ready while the models are prepared");
            let prepared = tokio::select! {
                prepared = preparing => prepared,
                ended = &mut server => return Ok(ended.map(|()| Stopped::Late)?),
            };
            tokio::join!(handle.stop(true), server).1?;
            prepared
        }
    };
    let Some(engine) = prepared? else {
        info!("stopped before the models were prepared");
        return Ok(Stopped::Drained);
    };
    serve(entrance, config, Engine::open(engine), shutdown).await
}

/// Serves an engine that is being opened.
pub(crate) async fn serve(
    entrance: Entrance,
    config: ServerConfig,
    engine: impl Future<Output = Result<Engine, EngineError>>,
    shutdown: impl Future<Output = ()>,
) -> Result<Stopped, ServerError> {
    let mut shutdown = pin!(shutdown);
    let mut opening = pin!(engine);
    let engine = tokio::select! {
        opened = &mut opening => Arc::new(opened?),
        () = &mut shutdown => {
            // ONNX Runtime may be opening a session, during which the process must not exit.
            let limit = Duration::from_millis(config.http.drain_deadline_ms);
            if let Ok(Ok(engine)) = timeout(limit, opening).await {
                engine.close().await;
            }
            return Ok(Stopped::Drained);
        }
    };
    let served = serve_engine(entrance, &config, &engine, shutdown).await;
    if served.is_err() {
        engine.close().await;
    }
    served
}

/// Serves an open engine. After an error, the caller closes the engine.
async fn serve_engine(
    mut entrance: Entrance,
    config: &ServerConfig,
    engine: &Arc<Engine>,
    shutdown: impl Future<Output = ()>,
) -> Result<Stopped, ServerError> {
    let files = ReloadedFiles {
        keys: Arc::clone(&entrance.keys),
        certificate: entrance.certificate.clone(),
    };
    let keys = Arc::clone(&entrance.keys);
    let state = AppState::new(Arc::clone(engine), keys, config.http.clone())?;
    let mut grpc = GrpcSide::start(&mut entrance, &state)?;
    let (address, grpc_address) = (entrance.address, grpc.address);
    let (server, hangup) = http_server(entrance, state, &config.http)?;
    let handle = server.handle();
    let mut server = pin!(server);
    let workers = engine.config().model.workers();
    match grpc_address {
        None => info!(%address, workers, "listening"),
        Some(grpc) => info!(%address, %grpc, workers, "listening"),
    }

    tokio::select! {
        ended = &mut server => return ended_early(ended, engine).await,
        ended = grpc.ended() => return ended_early(ended, engine).await,
        told = until_told(engine, &files, hangup, shutdown) => told?,
    }

    let http = &config.http;
    info!(
        delay_ms = http.drain_delay_ms,
        deadline_ms = http.drain_deadline_ms,
        "draining"
    );
    engine.drain();
    // Load balancers see that readiness fails, and send no more requests, before the listener closes.
    tokio::select! {
        ended = &mut server => return ended_early(ended, engine).await,
        () = sleep(Duration::from_millis(http.drain_delay_ms)) => {}
    }
    let deadline = Instant::now() + Duration::from_millis(http.drain_deadline_ms);
    let mut stopped = Stopped::Drained;
    let mut drained = pin!(async { tokio::join!(handle.stop(true), server, grpc.drain()).1 });
    match timeout_at(deadline.into(), &mut drained).await {
        Ok(ended) => ended?,
        Err(_) => {
            warn!("requests were still running at the drain deadline; they are answered 503");
            stopped = Stopped::Late;
            engine.abort();
            let _late = timeout(LAST_WORDS, drained).await;
        }
    }
    if !engine.stop(deadline + LAST_WORDS).await {
        warn!("a worker was still busy at the drain deadline");
        stopped = Stopped::Late;
    }
    info!("stopped");
    Ok(stopped)
}

/// The result of a server that was not told to end.
async fn ended_early(ended: std::io::Result<()>, engine: &Engine) -> Result<Stopped, ServerError> {
    engine.close().await;
    Ok(ended.map(|()| Stopped::Late)?)
}

/// The gRPC server, where there is one.
struct GrpcSide {
    server: Option<GrpcServer>,
    address: Option<SocketAddr>,
}

impl GrpcSide {
    /// Serves on the listener for gRPC, if there is one.
    fn start(entrance: &mut Entrance, state: &AppState) -> Result<Self, ServerError> {
        let listener = entrance.grpc.take();
        let address = listener.as_ref().map(TcpListener::local_addr).transpose()?;
        let tls = entrance.certificate.clone().map(tls_config).transpose()?;
        let server = listener.map(|listener| GrpcServer::start(&listener, state, tls));
        Ok(Self {
            server: server.transpose()?,
            address,
        })
    }

    /// Completes if the server ends by itself.
    async fn ended(&mut self) -> std::io::Result<()> {
        match &mut self.server {
            None => std::future::pending().await,
            Some(server) => {
                server.ended().await;
                Err(std::io::Error::other("the threads of gRPC have ended"))
            }
        }
    }

    /// Closes the listener and waits until current calls are answered.
    async fn drain(&mut self) {
        if let Some(server) = &mut self.server {
            server.drain().await;
        }
    }
}

/// What connections go through before they reach the engine, and the signal to load another version.
pub(crate) struct Entrance {
    listener: TcpListener,
    grpc: Option<TcpListener>,
    address: SocketAddr,
    certificate: Option<Arc<Certificate>>,
    keys: Arc<Keys>,
    /// Registered before the models are opened: without a handler, the signal ends the process.
    hangup: Signal,
}

/// What is read again when its files change.
#[derive(Clone)]
struct ReloadedFiles {
    keys: Arc<Keys>,
    certificate: Option<Arc<Certificate>>,
}

impl ReloadedFiles {
    /// Reads changed files again. Blocks.
    fn refresh(&self) {
        self.keys.refresh();
        if let Some(certificate) = &self.certificate {
            certificate.refresh();
        }
    }
}

impl Entrance {
    /// Reads the keys and the TLS files, and sets the options of the listeners.
    pub(crate) fn new(listeners: Listeners, config: &ServerConfig) -> Result<Self, ServerError> {
        let Listeners { http: listener, grpc } = listeners;
        let http = &config.http;
        for listener in std::iter::once(&listener).chain(&grpc) {
            give_up_on_clients_that_do_not_read(listener, Duration::from_millis(http.idle_timeout_ms))?;
        }
        Ok(Self {
            address: listener.local_addr()?,
            listener,
            grpc,
            certificate: http
                .tls
                .as_ref()
                .map(Certificate::read)
                .transpose()?
                .map(Arc::new),
            keys: Arc::new(Keys::read(config)?),
            hangup: signal(SignalKind::hangup())?,
        })
    }
}

/// The HTTP or HTTPS server of an engine.
fn http_server(
    entrance: Entrance,
    state: AppState,
    http: &HttpConfig,
) -> Result<(Server, Signal), ServerError> {
    let drain = Duration::from_millis(http.drain_deadline_ms);
    let server = HttpServer::new(move || app(state.clone()))
        .workers(http.http_threads)
        .keep_alive(KEEP_ALIVE)
        .tcp_nodelay(true)
        // A client that closes its connection withdraws its request.
        .h1_allow_half_closed(false)
        .max_connections(http.connections_per_thread())
        .client_request_timeout(Duration::from_millis(http.read_timeout_ms) + CLOCK_STEP)
        .disable_signals()
        .shutdown_timeout(drain.as_secs().saturating_add(1));
    let server = match entrance.certificate {
        None => server.listen(entrance.listener)?,
        Some(certificate) => server.listen_rustls_0_23(entrance.listener, tls_config(certificate)?)?,
    };
    Ok((server.run(), entrance.hangup))
}

/// A server that answers that the process is alive and not ready. It leaves the listener open for the one that follows.
fn starting_server(entrance: &Entrance, http: &HttpConfig) -> Result<Server, ServerError> {
    let ids = Arc::new(RequestIds::default());
    let listener = entrance.listener.try_clone()?;
    let server = HttpServer::new(move || starting_app(Arc::clone(&ids)))
        .workers(1)
        .keep_alive(KeepAlive::Disabled)
        .client_request_timeout(Duration::from_millis(http.read_timeout_ms) + CLOCK_STEP)
        .disable_signals()
        .shutdown_timeout(1);
    let server = match entrance.certificate.clone() {
        None => server.listen(listener)?,
        Some(certificate) => server.listen_rustls_0_23(listener, tls_config(certificate)?)?,
    };
    Ok(server.run())
}

/// Reads keys and certificates again when their files change; never returns.
async fn refresh(files: &ReloadedFiles) {
    loop {
        sleep(FILES_POLL).await;
        let files = files.clone();
        // One refresh at a time, on a thread that may block.
        let _looked = spawn_blocking(move || files.refresh()).await;
    }
}

/// Completes when the server is told to stop; fails with the first session that does not open.
async fn until_told(
    engine: &Arc<Engine>,
    files: &ReloadedFiles,
    hangup: Signal,
    shutdown: impl Future<Output = ()>,
) -> Result<(), ServerError> {
    let mut shutdown = pin!(shutdown);
    tokio::select! {
        warm = engine.ready() => warm?,
        () = &mut shutdown => return Ok(()),
    }
    info!("ready");
    let poll = engine.config().versions.reload_poll_ms;
    let poll = (poll > 0).then(|| Duration::from_millis(poll));
    tokio::select! {
        () = watch(Arc::clone(engine), poll, hangup) => {}
        () = refresh(files) => {}
        () = shutdown => {}
    }
    Ok(())
}
