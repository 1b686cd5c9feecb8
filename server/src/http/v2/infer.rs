//! `POST /v2/models/{model}/infer`: a tensor of texts in, tensors of entities and words out.

use actix_web::http::header::CONTENT_TYPE;
use actix_web::{HttpRequest, HttpResponse, web};
use nerve_engine::{Tagger, TextModel, objects, optional_object, optional_objects, parse};
use serde::Deserialize;
use tokio::time::Instant;
use utoipa::ToSchema;

use crate::http::body::{essence, header, is_json, read_limited};
use crate::http::error::ApiError;
use crate::http::served::ServedVersion;
use crate::http::state::AppState;
use crate::http::v2::answer::{BINARY, HEAD_LENGTH, TensorsAnswer};
use crate::http::v2::contract::{InferErrors, ModelParams, NotReady, NotServed, VersionParams};
use crate::http::v2::error::V2Error;
use crate::http::v2::inference::Inference;
use crate::http::v2::named::named;
use crate::http::v2::outputs::{OutputTensor, RequestedOutput, selected};
use crate::http::v2::parameters::InferParameters;
use crate::http::v2::tensor::{InputTensor, TensorError, texts};

/// A tensor of texts. Fields that the protocol does not have are ignored.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(example = json!({
    "id": "1",
    "inputs": [{"name": "text", "shape": [1], "datatype": "BYTES", "data": ["Barack Obama met Beyoncé"]}],
    "outputs": [{"name": "entities"}]
}))]
pub(crate) struct InferRequest {
    /// The request's own name; the answer has it too.
    id: Option<String>,
    /// The model, if it is named here too. It must be the path's.
    model_name: Option<String>,
    /// The version, if it is named here too. It must be the one that answers; empty is none.
    model_version: Option<String>,
    #[serde(default, deserialize_with = "optional_object")]
    pub(super) parameters: Option<InferParameters>,
    /// The tensor `text`.
    #[serde(deserialize_with = "objects")]
    pub(super) inputs: Vec<InputTensor>,
    /// The tensors wanted, `entities` or `words`; both where absent.
    #[serde(default, deserialize_with = "optional_objects")]
    pub(super) outputs: Option<Vec<RequestedOutput>>,
}

/// The tensors asked for.
#[derive(ToSchema)]
#[expect(
    dead_code,
    reason = "read by the contract's generator alone: answers are written in parts"
)]
pub(crate) struct InferResponse<'a> {
    /// The model that answered.
    model_name: &'a str,
    /// Its version.
    model_version: &'a str,
    /// The request's own name; absent where it has none.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    id: Option<String>,
    outputs: Vec<OutputTensor>,
}

/// Tag a tensor of texts.
///
/// Tensors may be sent and asked for as bytes behind the JSON (the protocol's binary extension), with the length of the JSON in
/// `inference-header-content-length`. One text that cannot be tagged fails the request.
#[utoipa::path(
    post,
    path = "/v2/models/{model}/infer",
    tag = "open inference protocol",
    operation_id = "v2_infer",
    params(ModelParams),
    request_body = InferRequest,
    responses(
        (status = 200, description = "The tensors asked for", content(
            (InferResponse = "application/json"),
            (String = "application/octet-stream")
        )),
        InferErrors,
        NotServed,
        NotReady,
    )
)]
pub(crate) async fn infer(
    state: web::Data<AppState>,
    ServedVersion(tagger): ServedVersion,
    request: HttpRequest,
    payload: web::Payload,
) -> Result<HttpResponse, V2Error> {
    let began = Instant::now();
    named(&tagger, &request)?;
    check_media_type(&request)?;
    let body = read_limited(&request, payload, state.body_limits()).await?;
    let json_length = json_length(&request, body.bytes.len())?;
    let max_texts = state.config.max_texts_per_batch;
    let read = move |body: &[u8], tagger: &Tagger| {
        let (json, binary) = body.split_at_checked(json_length).unwrap_or((body, &[]));
        let (id, inference) = inference_of(json, binary, tagger.model(), max_texts)?;
        V2Result::Ok((id, inference.bytes_to_tag(tagger), inference))
    };
    let ((id, needed, inference), mut permit) = body.parsed(&tagger, read).await?;
    permit.resize(needed).map_err(ApiError::Memory)?;
    let texts = inference.tag(&tagger, &mut permit, began).await?;
    Ok(TensorsAnswer { id, texts }.write(&tagger, permit).await?)
}

type V2Result<T> = Result<T, V2Error>;

/// The id of a request and what it asks for; `binary` is the bytes behind its JSON.
pub(super) fn inference_of(
    json: &[u8],
    binary: &[u8],
    model: &TextModel,
    max_texts: usize,
) -> V2Result<(Option<String>, Inference)> {
    let asked: InferRequest = parse(json)?;
    asked.check_names(model)?;
    let parameters = asked.parameters.unwrap_or_default();
    let binary_by_default = parameters.binary_data_output.unwrap_or(false);
    let selected = selected(asked.outputs.unwrap_or_default(), binary_by_default)?;
    let texts = texts(asked.inputs, binary)?;
    let inference = Inference::new(texts, &parameters, selected, &model.labels, max_texts)?;
    Ok((asked.id, inference))
}

/// A body is JSON, whether declared or not; bytes follow it if the header has the length of the JSON.
fn check_media_type(request: &HttpRequest) -> Result<(), ApiError> {
    let known = header(request, &CONTENT_TYPE)
        .is_none_or(|declared| is_json(declared) || essence(declared) == BINARY);
    if known {
        Ok(())
    } else {
        Err(ApiError::UnsupportedMediaType)
    }
}

/// The length of the JSON of a body of so many bytes, decompressed; the other bytes are the tensor.
fn json_length(request: &HttpRequest, body: usize) -> Result<usize, TensorError> {
    let Some(head) = request.headers().get(&HEAD_LENGTH) else {
        return Ok(body);
    };
    let head = String::from_utf8_lossy(head.as_bytes());
    let length = head.parse().ok().filter(|&length: &usize| length <= body);
    length.ok_or_else(|| TensorError::Head {
        head: head.into_owned(),
        body,
    })
}

impl InferRequest {
    /// Checks that the body names no other model or version than the one that answers.
    fn check_names(&self, model: &TextModel) -> Result<(), V2Error> {
        let differs = |given: &Option<String>, answers: &str| {
            let given = given
                .as_deref()
                .filter(|given| !given.is_empty() && *given != answers);
            given.map(str::to_owned)
        };
        let field = |field, given: Option<String>, answers: &str| match given {
            None => Ok(()),
            Some(given) => Err(V2Error::OtherModel {
                field,
                given,
                answers: answers.to_owned(),
            }),
        };
        field("model_name", differs(&self.model_name, &model.name), &model.name)?;
        field(
            "model_version",
            differs(&self.model_version, &model.version),
            &model.version,
        )
    }
}

/// Tag a tensor of texts with a version of the model.
#[utoipa::path(
    post,
    path = "/v2/models/{model}/versions/{version}/infer",
    tag = "open inference protocol",
    operation_id = "v2_infer_version",
    params(VersionParams),
    request_body = InferRequest,
    responses(
        (status = 200, description = "The tensors asked for", content(
            (InferResponse = "application/json"),
            (String = "application/octet-stream")
        )),
        InferErrors,
        NotServed,
        NotReady,
    )
)]
pub(crate) async fn infer_version(
    state: web::Data<AppState>,
    served: ServedVersion,
    request: HttpRequest,
    payload: web::Payload,
) -> Result<HttpResponse, V2Error> {
    infer(state, served, request, payload).await
}
