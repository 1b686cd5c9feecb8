//! The application: its routes and middleware.

use actix_cors::Cors;
use actix_web::dev::{ServiceFactory, ServiceRequest, ServiceResponse};
use actix_web::http::header::RETRY_AFTER;
use actix_web::middleware::{Condition, from_fn};
use actix_web::{App, web};

use crate::http::request_id::REQUEST_ID;
use crate::http::route::Route;
use crate::http::state::AppState;
use crate::http::{
    admin, compress, deadline, error, framework, hugging_face, ner, observe, openapi, operations, pages,
    query, stream, v2,
};

/// The application with every route. Other methods and other paths are answered with errors of the API.
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
    let memory = state.memory.clone();
    let observed = state.clone();
    let guarded = state.clone();
    let cors = cors(&state.config.cors_origins);
    let post = |path: &str| web::resource(path).default_service(web::to(|| error::wrong_method("POST")));
    // HEAD too, which some load balancers use for health checks.
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
                .route(web::post().to(hugging_face::hugging_face)),
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
        .configure(v2::routes::routes)
        .default_service(web::to(error::no_such_route))
        .wrap(from_fn(query::check))
        .wrap(from_fn(move |request, next| {
            deadline::guard(guarded.clone(), request, next)
        }))
        .wrap(from_fn(move |request, next| {
            compress::compress(memory.clone(), request, next)
        }))
        .wrap(cors)
        .wrap(from_fn(framework::replace_errors))
        .wrap(from_fn(move |request, next| {
            observe::observe(observed.clone(), request, next)
        }))
}

/// The CORS headers: none, unless an origin is configured.
fn cors(origins: &[String]) -> Condition<Cors> {
    let exposed = [REQUEST_ID, hugging_face::TRUNCATED, RETRY_AFTER];
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
