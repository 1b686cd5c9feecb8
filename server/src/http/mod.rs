//! Requests in, answers out.

mod admin;
mod body;
mod classify;
mod deadline;
mod error;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzz;
mod idle;
mod keys;
mod ner;
mod observe;
mod openapi;
mod operations;
mod pages;
mod request;
mod responses;
mod route;
mod served;
mod stream;
mod v2;

use std::sync::Arc;
use std::time::Duration;

use actix_cors::Cors;
use actix_web::dev::{ServiceFactory, ServiceRequest, ServiceResponse};
use actix_web::http::header::RETRY_AFTER;
use actix_web::middleware::{Condition, from_fn};
use actix_web::{App, web};
use tokio::sync::Semaphore;

use crate::bulk::BulkLimits;
use crate::config::{RequestLimits, ServerConfig};
use crate::models::Models;
use crate::pipeline::Tagger;

use body::BodyLimits;
pub(crate) use body::parse;
pub(crate) use error::{ApiError, InvalidRequest};
pub(crate) use idle::give_up_on_clients_that_do_not_read;
pub use keys::KeyError;
pub(crate) use keys::Keys;
pub use openapi::openapi_json;
pub(crate) use request::{AggregationOption, OffsetsOption, Options, source};
pub(crate) use route::{Named, Route};
pub(crate) use stream::StreamLine;

/// What every handler shares.
#[derive(Clone)]
pub(crate) struct AppState {
    models: Arc<Models>,
    limits: RequestLimits,
    bulk: BulkLimits,
    /// How long a stream may send nothing.
    idle: Duration,
    keys: Arc<keys::Keys>,
    /// The bytes that request bodies may take yet.
    bodies: Arc<Semaphore>,
    request_ids: Arc<observe::RequestIds>,
}

impl AppState {
    /// The state of a server of these models.
    pub(crate) fn new(models: Arc<Models>, keys: Arc<keys::Keys>) -> Self {
        let config = &models.shared.config;
        Self {
            limits: config.requests,
            bulk: BulkLimits::of(config),
            idle: Duration::from_millis(config.idle_timeout_ms),
            keys,
            bodies: Arc::new(Semaphore::new(
                config.max_inflight_bytes.min(Semaphore::MAX_PERMITS),
            )),
            request_ids: Arc::default(),
            models,
        }
    }

    /// The live version of the stable model.
    fn live(&self) -> Arc<Tagger> {
        self.models.live()
    }

    /// The percentage of requests that a canary answers.
    fn canary_percent(&self) -> u8 {
        self.models.canary.as_ref().map_or(0, |canary| canary.percent)
    }

    /// What a request's body may be.
    fn body_limits(&self) -> BodyLimits {
        BodyLimits {
            bytes: self.limits.max_body_bytes,
            time: Duration::from_millis(self.config().read_timeout_ms),
            budget: Arc::clone(&self.bodies),
        }
    }

    fn config(&self) -> &ServerConfig {
        &self.models.shared.config
    }
}

/// The application: every route, with other methods and other paths answered as errors of the API.
pub(crate) fn app(
    state: AppState,
) -> App<
    impl ServiceFactory<
        ServiceRequest,
        Config = (),
        Response = ServiceResponse<impl actix_web::body::MessageBody>,
        Error = actix_web::Error,
        InitError = (),
    >,
> {
    let observed = state.clone();
    let guarded = state.clone();
    let cors = cors(state.config());
    let post = |path: &str| web::resource(path).default_service(web::to(|| error::wrong_method("POST")));
    // HEAD too, which some load balancers check health with.
    let get = |path: &str| web::resource(path).default_service(web::to(|| error::wrong_method("GET, HEAD")));
    App::new()
        .app_data(web::Data::new(state))
        .service(post(Route::Ner.name()).route(web::post().to(ner::ner)))
        .service(post(Route::NerBatch.name()).route(web::post().to(ner::ner_batch)))
        .service(post(Route::NerStream.name()).route(web::post().to(stream::ner_stream)))
        .service(
            web::resource(Route::Page.name())
                .default_service(web::to(|| error::wrong_method("GET, HEAD, POST")))
                .route(web::get().to(pages::page))
                .route(web::head().to(pages::page))
                .route(web::post().to(classify::classify)),
        )
        .service(
            get(Route::Docs.name())
                .route(web::get().to(pages::docs))
                .route(web::head().to(pages::docs)),
        )
        .service(
            get(Route::Assets.name())
                .route(web::get().to(pages::asset))
                .route(web::head().to(pages::asset)),
        )
        .service(
            get(Route::Live.name())
                .route(web::get().to(operations::live))
                .route(web::head().to(operations::live)),
        )
        .service(
            get(Route::Ready.name())
                .route(web::get().to(operations::ready))
                .route(web::head().to(operations::ready)),
        )
        .service(
            get(Route::Metrics.name())
                .route(web::get().to(operations::metrics))
                .route(web::head().to(operations::metrics)),
        )
        .service(
            get(Route::Info.name())
                .route(web::get().to(operations::info))
                .route(web::head().to(operations::info)),
        )
        .service(post(Route::Reload.name()).route(web::post().to(admin::reload)))
        .service(post(Route::Rollback.name()).route(web::post().to(admin::rollback)))
        .service(
            get(Route::OpenApi.name())
                .route(web::get().to(openapi::serve))
                .route(web::head().to(openapi::serve)),
        )
        .configure(v2::routes)
        .default_service(web::to(error::no_such_route))
        .wrap(from_fn(move |request, next| {
            deadline::guard(guarded.clone(), request, next)
        }))
        .wrap(cors)
        .wrap(from_fn(move |request, next| {
            observe::observe(observed.clone(), request, next)
        }))
}

/// What browsers are told of pages of other origins: nothing, unless an origin is configured.
fn cors(config: &ServerConfig) -> Condition<Cors> {
    let origins = &config.cors_origins;
    let exposed = [observe::REQUEST_ID, classify::TRUNCATED, RETRY_AFTER];
    let cors = Cors::default()
        .allowed_methods(["GET", "HEAD", "POST"])
        .allow_any_header()
        .expose_headers(exposed)
        .max_age(3600);
    let cors = match origins.iter().any(|origin| origin == "*") {
        true => cors.send_wildcard().allow_any_origin(),
        false => origins
            .iter()
            .fold(cors, |cors, origin| cors.allowed_origin(origin)),
    };
    Condition::new(!origins.is_empty(), cors)
}
