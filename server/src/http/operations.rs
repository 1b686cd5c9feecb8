//! Health, metrics and information for operators and load balancers.

use actix_web::{HttpResponse, web};
use nerve_engine::{Readiness, TagError, Track};
use serde::Serialize;
use tracing::error;
use utoipa::ToSchema;

use crate::http::error::{ApiError, ErrorBody};
use crate::http::state::AppState;

/// Whether the server lives or is ready.
#[derive(Serialize, ToSchema)]
pub(crate) struct HealthStatus {
    /// `alive` or `ready`.
    #[schema(example = "ready")]
    status: &'static str,
}

/// What is served, where and within which limits.
#[derive(Serialize, ToSchema)]
pub(crate) struct Info {
    /// The model as its manifest describes it.
    #[schema(value_type = Object)]
    model: serde_json::Value,
    /// The entity types the model tells apart, as `labels` takes them.
    #[schema(example = json!(["person", "location"]))]
    entity_types: Vec<String>,
    /// The models that are followed: the stable one above, and a canary where there is one.
    tracks: Vec<InfoTrack>,
    /// Where the model runs.
    #[schema(example = "cpu")]
    device: String,
    limits: InfoLimits,
    server: InfoServer,
}

/// A followed model.
#[derive(Serialize, ToSchema)]
pub(crate) struct InfoTrack {
    /// `stable` or `canary`.
    #[schema(example = "stable")]
    track: &'static str,
    /// The version that answers.
    version: String,
    /// The percentage of requests it may answer.
    #[schema(example = 100)]
    percent: u8,
    /// Why the version that should answer does not, or is not known because the store cannot be read; absent where it does.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    problem: Option<String>,
}

impl InfoTrack {
    fn of(track: &Track, percent: u8) -> Self {
        Self {
            track: track.name(),
            version: track.live().model().version.clone(),
            percent,
            problem: track.problem(),
        }
    }
}

/// What is taken.
#[derive(Serialize, ToSchema)]
pub(crate) struct InfoLimits {
    /// Bytes of a request body.
    max_body_bytes: usize,
    /// Bytes of one line of a stream.
    max_line_bytes: usize,
    /// Texts of a batch request.
    max_texts_per_batch: usize,
    /// UTF-8 bytes of one text.
    max_text_bytes: usize,
    /// Words of one text.
    max_words: usize,
    /// Milliseconds of one request.
    request_timeout_ms: u64,
    /// Windows of one text.
    max_windows: usize,
    /// Subwords of one window, without special tokens.
    max_window_tokens: usize,
    /// Windows that may wait.
    queue_windows: usize,
    /// Tokens that may wait.
    queue_tokens: usize,
    /// Positions of one batch, padding included.
    batch_tokens: usize,
    /// Windows of one batch.
    max_batch: usize,
    /// The share of a batch's positions that may be padding, in percent.
    max_padding_percent: usize,
}

/// The program that serves.
#[derive(Serialize, ToSchema)]
pub(crate) struct InfoServer {
    /// The program's version.
    version: &'static str,
    /// Inference threads.
    workers: usize,
}

impl Info {
    /// The information about the server as it is now.
    fn of(state: &AppState) -> Self {
        let (http, engine, live) = (&state.config, state.engine.config(), state.live());
        let model = live.model();
        let batching = live.batch_limits();
        let tracks = state.engine.tracks().zip([100, state.engine.canary_percent()]);
        Self {
            tracks: tracks
                .map(|(track, percent)| InfoTrack::of(track, percent))
                .collect(),
            model: model.description.clone(),
            entity_types: model.labels.types().to_vec(),
            device: state.engine.device().to_string(),
            limits: InfoLimits {
                max_body_bytes: http.max_body_bytes,
                max_line_bytes: engine.texts.max_line_bytes,
                max_texts_per_batch: http.max_texts_per_batch,
                max_text_bytes: engine.texts.max_text_bytes,
                max_words: engine.texts.max_words,
                request_timeout_ms: http.request_timeout_ms,
                max_windows: engine.texts.max_windows,
                max_window_tokens: model.limits.max_tokens(),
                queue_windows: engine.queue.windows,
                queue_tokens: engine.queue.tokens,
                batch_tokens: batching.batch_tokens,
                max_batch: batching.max_batch,
                max_padding_percent: batching.max_padding_percent,
            },
            server: InfoServer {
                version: env!("CARGO_PKG_VERSION"),
                workers: engine.model.workers(),
            },
        }
    }
}

/// Whether the process answers at all.
#[utoipa::path(
    get,
    path = "/health/live",
    tag = "operations",
    responses((status = 200, description = "Alive", body = HealthStatus))
)]
pub(crate) async fn live() -> HttpResponse {
    HttpResponse::Ok().json(HealthStatus { status: "alive" })
}

/// Whether texts are answered: the model is warm, a worker lives, the threads that tokenize advance, and the
/// server is not stopping.
#[utoipa::path(
    get,
    path = "/health/ready",
    tag = "operations",
    responses(
        (status = 200, description = "Ready", body = HealthStatus),
        (status = 503, description = "Starting, without a worker, unable to tokenize, or stopping", body = ErrorBody),
    )
)]
pub(crate) async fn ready(state: web::Data<AppState>) -> Result<HttpResponse, ApiError> {
    match state.live().readiness() {
        Readiness::Ready => Ok(HttpResponse::Ok().json(HealthStatus { status: "ready" })),
        not_ready @ (Readiness::Starting
        | Readiness::NoWorker
        | Readiness::TextThreadsStuck
        | Readiness::Draining) => Err(ApiError::Tag(TagError::NotReady(not_ready))),
    }
}

/// Prometheus metrics.
#[utoipa::path(
    get,
    path = "/metrics",
    tag = "operations",
    responses(
        (status = 200, description = "The text exposition format", body = String, content_type = "text/plain"),
        (status = 500, description = "The metrics cannot be written", body = ErrorBody),
    )
)]
pub(crate) async fn metrics(state: web::Data<AppState>) -> Result<HttpResponse, ApiError> {
    state.metrics.set_inflight_bytes(state.memory.used());
    let text = state.metrics.read(|| state.engine.metrics().exposition());
    let text = text.map_err(|error| {
        error!(%error, "the metrics cannot be written");
        ApiError::Metrics
    })?;
    Ok(HttpResponse::Ok()
        .content_type(prometheus::TEXT_FORMAT)
        .body(text))
}

/// The model, the limits and the program's version.
#[utoipa::path(
    get,
    path = "/info",
    tag = "operations",
    responses((status = 200, description = "What is served", body = Info))
)]
pub(crate) async fn info(state: web::Data<AppState>) -> HttpResponse {
    HttpResponse::Ok().json(Info::of(&state))
}
