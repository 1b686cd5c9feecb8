//! The gRPC server: its threads, its services, and its end.

use std::io;
use std::net::TcpListener;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::runtime::Builder;
use tokio::sync::{Semaphore, mpsc, watch};
use tokio_rustls::TlsAcceptor;
use tonic::codec::CompressionEncoding::Gzip;
use tonic::service::Routes;
use tonic::transport::Server;
use tonic_health::pb::FILE_DESCRIPTOR_SET as HEALTH_DESCRIPTORS;
use tonic_health::pb::health_server::HealthServer;
use tracing::error;

use crate::grpc::health::HealthService;
use crate::grpc::listen::{AcceptOptions, connections};
use crate::grpc::observe::Observed;
use crate::grpc::proto::DESCRIPTORS;
use crate::grpc::proto::grpc_inference_service_server::GrpcInferenceServiceServer;
use crate::grpc::service::InferenceService;
use crate::grpc::stage::Stage;
use crate::http::state::AppState;

/// How many calls of a connection are answered at a time. Clients hold further calls back.
const MAX_STREAMS: u32 = 64;
/// Bytes of the metadata of a call, with 32 for each entry.
const MAX_METADATA: u32 = 16 << 10;
/// Bytes of a message of health checks and reflection.
const MAX_NAMES: usize = 4 << 10;
/// The interval at which a client is asked whether it is still there.
const KEEP_ALIVE: Duration = Duration::from_secs(75);
/// Time for the client's answer.
const KEEP_ALIVE_TIMEOUT: Duration = Duration::from_secs(20);

/// A running server. Dropping it ends it.
pub(crate) struct GrpcServer {
    stage: watch::Sender<Stage>,
    /// Closed when all threads have ended.
    ended: mpsc::Receiver<()>,
    threads: Vec<JoinHandle<()>>,
}

impl GrpcServer {
    /// Serves on the listener, with the HTTP server's limits and number of threads.
    pub(crate) fn start(
        listener: &TcpListener,
        state: &AppState,
        tls: Option<rustls::ServerConfig>,
    ) -> io::Result<Self> {
        let (stage, told) = watch::channel(Stage::Serving);
        let (running, ended) = mpsc::channel(1);
        let routes = routes(state, &told).map_err(io::Error::other)?;
        let config = &state.config;
        let tls = tls.map(|mut tls| {
            tls.alpn_protocols = vec![b"h2".to_vec()];
            TlsAcceptor::from(Arc::new(tls))
        });
        let options = AcceptOptions {
            tls,
            connections: Arc::new(Semaphore::new(config.max_connections.min(Semaphore::MAX_PERMITS))),
            time: Duration::from_millis(config.read_timeout_ms),
        };
        listener.set_nonblocking(true)?;
        let mut server = Self {
            stage,
            ended,
            threads: Vec::new(),
        };
        for thread in 0..config.http_threads {
            let (listener, options, told) = (listener.try_clone()?, options.clone(), told.clone());
            let service = Observed {
                state: state.clone(),
                inner: routes.clone(),
            };
            let running = running.clone();
            let serve = move || {
                if let Err(problem) = serve(listener, options, service, told) {
                    error!(%problem, "a gRPC thread ended");
                }
                drop(running);
            };
            let named = std::thread::Builder::new().name(format!("grpc-{thread}"));
            server.threads.push(named.spawn(serve)?);
        }
        Ok(server)
    }

    /// Closes the listener and waits until current calls are answered.
    pub(crate) async fn drain(&mut self) {
        let _ended = self.stage.send(Stage::Draining);
        self.ended().await;
    }

    /// Waits until all threads have ended.
    pub(crate) async fn ended(&mut self) {
        let _closed = self.ended.recv().await;
    }
}

impl Drop for GrpcServer {
    fn drop(&mut self) {
        let _ended = self.stage.send(Stage::Ended);
        for thread in self.threads.drain(..) {
            let _panicked = thread.join();
        }
    }
}

/// The services.
pub(crate) fn routes(
    state: &AppState,
    stage: &watch::Receiver<Stage>,
) -> Result<Routes, tonic_reflection::server::Error> {
    let (inference, health) = (
        InferenceService {
            state: state.clone(),
            stage: stage.clone(),
        },
        HealthService {
            state: state.clone(),
            stage: stage.clone(),
        },
    );
    let inference = GrpcInferenceServiceServer::new(inference)
        .max_decoding_message_size(state.config.max_body_bytes)
        .accept_compressed(Gzip)
        .send_compressed(Gzip);
    let reflection = tonic_reflection::server::Builder::configure()
        .register_encoded_file_descriptor_set(DESCRIPTORS)
        .register_encoded_file_descriptor_set(HEALTH_DESCRIPTORS)
        .build_v1()?
        .max_decoding_message_size(MAX_NAMES);
    let routes = Routes::new(inference)
        .add_service(HealthServer::new(health).max_decoding_message_size(MAX_NAMES))
        .add_service(reflection);
    Ok(routes.prepare())
}

/// Serves with one thread, until the server ends or is drained.
fn serve(
    listener: TcpListener,
    options: AcceptOptions,
    service: Observed<Routes>,
    mut stage: watch::Receiver<Stage>,
) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let runtime = Builder::new_current_thread().enable_all().build()?;
    // Dropping the runtime drops the calls that are left.
    runtime.block_on(async {
        let incoming = connections(tokio::net::TcpListener::from_std(listener)?, options);
        let mut drained = stage.clone();
        let server = Server::builder()
            .max_concurrent_streams(MAX_STREAMS)
            .http2_max_header_list_size(MAX_METADATA)
            .http2_keepalive_interval(Some(KEEP_ALIVE))
            .http2_keepalive_timeout(Some(KEEP_ALIVE_TIMEOUT))
            .serve_with_incoming_shutdown(service, incoming, async move {
                let _dropped = drained.wait_for(|stage| *stage != Stage::Serving).await;
            });
        tokio::select! {
            served = server => Ok(served?),
            _ = stage.wait_for(|stage| *stage == Stage::Ended) => Ok(()),
        }
    })
}
