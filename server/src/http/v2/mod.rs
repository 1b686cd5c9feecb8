//! `/v2`: the Open Inference Protocol, as KServe and Triton clients speak it.

mod contract;
mod error;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzz;
mod infer;
mod metadata;
mod tensor;

pub(crate) use error::V2Error;

use actix_web::web::{self, ServiceConfig};
use actix_web::{HttpRequest, Resource};
use utoipa::OpenApi;

use crate::http::Route;
use crate::pipeline::{Tagger, TextModel};

/// The protocol's part of the contract.
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

/// The protocol's routes, with other methods and other paths under `/v2` answered in its shape.
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

/// The model that the path names, in the version that it names if it does.
fn named<'t>(tagger: &'t Tagger, request: &HttpRequest) -> Result<&'t TextModel, V2Error> {
    let model = tagger.model.as_ref();
    let segment = |name| request.match_info().get(name);
    if segment("model") != Some(model.name.as_str()) {
        return Err(V2Error::UnknownModel {
            known: model.name.clone(),
        });
    }
    if segment("version").is_some_and(|version| version != model.version) {
        return Err(V2Error::UnknownVersion {
            known: model.version.clone(),
        });
    }
    Ok(model)
}
