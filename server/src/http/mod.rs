//! Requests in, answers out.

mod body;
mod classify;
mod error;
mod ner;
mod observe;
mod openapi;
mod operations;
mod pages;
mod request;
mod responses;
mod route;
mod stream;
mod v2;

use std::sync::Arc;

use actix_web::dev::{ServiceFactory, ServiceRequest, ServiceResponse};
use actix_web::middleware::from_fn;
use actix_web::{App, web};

use crate::bulk::BulkLimits;
use crate::config::{RequestLimits, ServerConfig};
use crate::pipeline::Tagger;

pub(crate) use body::parse;
pub(crate) use error::{ApiError, InvalidRequest};
pub use openapi::openapi_json;
pub(crate) use request::{AggregationOption, OffsetsOption, Options, source};
pub(crate) use route::Route;
pub(crate) use stream::StreamLine;

/// What every handler shares.
#[derive(Clone)]
pub(crate) struct AppState {
    tagger: Arc<Tagger>,
    limits: RequestLimits,
    bulk: BulkLimits,
    /// The answer of `/info`, which never changes.
    info: Arc<operations::Info>,
    request_ids: Arc<observe::RequestIds>,
}

impl AppState {
    /// The state of a server with this configuration.
    pub(crate) fn new(tagger: Tagger, config: &ServerConfig) -> Self {
        Self {
            limits: config.requests,
            bulk: BulkLimits::of(config),
            info: Arc::new(operations::Info::new(&tagger.model, config)),
            request_ids: Arc::default(),
            tagger: Arc::new(tagger),
        }
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
        .service(
            get(Route::OpenApi.name())
                .route(web::get().to(openapi::serve))
                .route(web::head().to(openapi::serve)),
        )
        .configure(v2::routes)
        .default_service(web::to(error::no_such_route))
        .wrap(from_fn(move |request, next| {
            observe::observe(observed.clone(), request, next)
        }))
}
