//! The protocol's routes, and its part of the OpenAPI document.

use actix_web::Resource;
use actix_web::web::{self, ServiceConfig};
use utoipa::OpenApi;

use crate::http::route::Route;
use crate::http::v2::{error, infer, metadata};

/// The protocol's part of the OpenAPI document.
#[derive(OpenApi)]
#[openapi(
    components(schemas(error::V2ErrorBody)),
    paths(
        metadata::server,
        metadata::live,
        metadata::ready,
        metadata::model,
        metadata::model_version,
        metadata::model_ready,
        metadata::model_version_ready,
        infer::infer,
        infer::infer_version
    )
)]
pub(crate) struct Contract;

/// Adds the protocol's routes. Other methods and other paths under `/v2` are answered with errors in the protocol's
/// format.
pub(crate) fn routes(config: &mut ServiceConfig) {
    let other = |route: Route, allow: &'static str| -> Resource {
        web::resource(route.name()).default_service(web::to(move || error::wrong_method(allow)))
    };
    let get = |route| other(route, "GET, HEAD");
    let post = |route| other(route, "POST");
    config
        .service(
            get(Route::V2Server)
                .route(web::get().to(metadata::server))
                .route(web::head().to(metadata::server)),
        )
        .service(
            get(Route::V2Live)
                .route(web::get().to(metadata::live))
                .route(web::head().to(metadata::live)),
        )
        .service(
            get(Route::V2Ready)
                .route(web::get().to(metadata::ready))
                .route(web::head().to(metadata::ready)),
        )
        .service(
            get(Route::V2Model)
                .route(web::get().to(metadata::model))
                .route(web::head().to(metadata::model)),
        )
        .service(
            get(Route::V2ModelReady)
                .route(web::get().to(metadata::model_ready))
                .route(web::head().to(metadata::model_ready)),
        )
        .service(
            get(Route::V2Version)
                .route(web::get().to(metadata::model_version))
                .route(web::head().to(metadata::model_version)),
        )
        .service(
            get(Route::V2VersionReady)
                .route(web::get().to(metadata::model_version_ready))
                .route(web::head().to(metadata::model_version_ready)),
        )
        .service(post(Route::V2Infer).route(web::post().to(infer::infer)))
        .service(post(Route::V2VersionInfer).route(web::post().to(infer::infer_version)))
        .service(web::scope(Route::V2Server.name()).default_service(web::to(error::no_such_route)));
}
