//! Metadata and health of the server and its model, in the protocol's format.

use actix_web::{HttpRequest, HttpResponse, web};
use nerve_engine::{Readiness, TagError, Tagger};
use serde::Serialize;
use utoipa::ToSchema;

use crate::http::error::ApiError;
use crate::http::served::ServedVersion;
use crate::http::state::AppState;
use crate::http::v2::contract::{ModelParams, NotReady, NotServed, VersionParams};
use crate::http::v2::error::V2Error;
use crate::http::v2::named::named;
use crate::http::v2::tensor::{INPUT, OutputName};

/// The protocol's extension for tensors as bytes behind the JSON.
const BINARY_TENSORS: &str = "binary_tensor_data";
/// The model takes texts and gives entities, not the tensors of its graph.
pub(crate) const PLATFORM: &str = "nerve";
/// The server's name.
pub(crate) const SERVER: &str = "nerve";

/// The server's name and what it can do.
#[derive(Serialize, ToSchema)]
pub(crate) struct ServerMetadata {
    #[schema(example = "nerve")]
    name: &'static str,
    /// The program's version.
    version: &'static str,
    /// Extensions of the protocol.
    extensions: [&'static str; 1],
}

/// The model's name, versions and tensors.
#[derive(Serialize, ToSchema)]
pub(crate) struct ModelMetadata<'a> {
    /// The model's name.
    name: &'a str,
    /// The one version that is served.
    versions: [&'a str; 1],
    #[schema(example = "nerve")]
    platform: &'static str,
    inputs: [TensorMetadata; 1],
    outputs: [TensorMetadata; 2],
}

/// A tensor's name, type and shape.
#[derive(Serialize, ToSchema)]
pub(crate) struct TensorMetadata {
    #[schema(example = "text")]
    name: &'static str,
    #[schema(example = "BYTES")]
    datatype: &'static str,
    /// -1 is any number of texts.
    shape: [i64; 1],
}

/// Whether the server lives.
#[derive(Serialize, ToSchema)]
pub(crate) struct V2Live {
    live: bool,
}

/// Whether the server is ready.
#[derive(Serialize, ToSchema)]
pub(crate) struct V2Ready {
    ready: bool,
}

/// Whether the model is ready.
#[derive(Serialize, ToSchema)]
pub(crate) struct V2ModelReady<'a> {
    /// The model's name.
    name: &'a str,
    ready: bool,
}

fn texts(name: &'static str) -> TensorMetadata {
    TensorMetadata {
        name,
        datatype: "BYTES",
        shape: [-1],
    }
}

fn check_ready(tagger: &Tagger) -> Result<(), V2Error> {
    match tagger.readiness() {
        Readiness::Ready => Ok(()),
        not_ready @ (Readiness::Starting
        | Readiness::NoWorker
        | Readiness::TextThreadsStuck
        | Readiness::Draining) => Err(ApiError::Tag(TagError::NotReady(not_ready)).into()),
    }
}

/// The server's name, version and extensions.
#[utoipa::path(
    get,
    path = "/v2",
    tag = "open inference protocol",
    operation_id = "v2_server",
    responses((status = 200, description = "The server", body = ServerMetadata))
)]
pub(crate) async fn server() -> HttpResponse {
    HttpResponse::Ok().json(ServerMetadata {
        name: SERVER,
        version: env!("CARGO_PKG_VERSION"),
        extensions: [BINARY_TENSORS],
    })
}

/// Whether the process answers at all.
#[utoipa::path(
    get,
    path = "/v2/health/live",
    tag = "open inference protocol",
    operation_id = "v2_live",
    responses((status = 200, description = "Alive", body = V2Live))
)]
pub(crate) async fn live() -> HttpResponse {
    HttpResponse::Ok().json(V2Live { live: true })
}

/// Whether texts are answered.
#[utoipa::path(
    get,
    path = "/v2/health/ready",
    tag = "open inference protocol",
    operation_id = "v2_ready",
    responses(
        (status = 200, description = "Ready", body = V2Ready),
        NotReady,
    )
)]
pub(crate) async fn ready(state: web::Data<AppState>) -> Result<HttpResponse, V2Error> {
    check_ready(&state.live())?;
    Ok(HttpResponse::Ok().json(V2Ready { ready: true }))
}

/// The model's tensors.
#[utoipa::path(
    get,
    path = "/v2/models/{model}",
    tag = "open inference protocol",
    operation_id = "v2_model",
    params(ModelParams),
    responses(
        (status = 200, description = "The model", body = ModelMetadata),
        NotServed,
    )
)]
pub(crate) async fn model(
    ServedVersion(tagger): ServedVersion,
    request: HttpRequest,
) -> Result<HttpResponse, V2Error> {
    let model = named(&tagger, &request)?;
    Ok(HttpResponse::Ok().json(ModelMetadata {
        name: &model.name,
        versions: [&model.version],
        platform: PLATFORM,
        inputs: [texts(INPUT)],
        outputs: OutputName::ALL.map(|output| texts(output.name())),
    }))
}

/// The model's tensors, in a version.
#[utoipa::path(
    get,
    path = "/v2/models/{model}/versions/{version}",
    tag = "open inference protocol",
    operation_id = "v2_model_version",
    params(VersionParams),
    responses(
        (status = 200, description = "The model", body = ModelMetadata),
        NotServed,
    )
)]
pub(crate) async fn model_version(
    ServedVersion(tagger): ServedVersion,
    request: HttpRequest,
) -> Result<HttpResponse, V2Error> {
    model(ServedVersion(tagger), request).await
}

/// Whether the model answers.
#[utoipa::path(
    get,
    path = "/v2/models/{model}/ready",
    tag = "open inference protocol",
    operation_id = "v2_model_ready",
    params(ModelParams),
    responses(
        (status = 200, description = "Ready", body = V2ModelReady),
        NotServed,
        NotReady,
    )
)]
pub(crate) async fn model_ready(
    ServedVersion(tagger): ServedVersion,
    request: HttpRequest,
) -> Result<HttpResponse, V2Error> {
    let name = named(&tagger, &request)?.name.as_str();
    check_ready(&tagger)?;
    Ok(HttpResponse::Ok().json(V2ModelReady { name, ready: true }))
}

/// Whether a version of the model answers.
#[utoipa::path(
    get,
    path = "/v2/models/{model}/versions/{version}/ready",
    tag = "open inference protocol",
    operation_id = "v2_model_version_ready",
    params(VersionParams),
    responses(
        (status = 200, description = "Ready", body = V2ModelReady),
        NotServed,
        NotReady,
    )
)]
pub(crate) async fn model_version_ready(
    ServedVersion(tagger): ServedVersion,
    request: HttpRequest,
) -> Result<HttpResponse, V2Error> {
    model_ready(ServedVersion(tagger), request).await
}
