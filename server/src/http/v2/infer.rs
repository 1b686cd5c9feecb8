//! `POST /v2/models/{model}/infer`: a tensor of texts in, tensors of entities and words out.

use std::time::Instant;

use actix_web::http::header::{CONTENT_TYPE, ContentType, HeaderName};
use actix_web::{HttpRequest, HttpResponse, web};
use nerve_engine::{TextModel, parse};
use nerve_tagging::LabelSet;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::http::body::{essence, header, is_encoded, is_json, read_limited};
use crate::http::error::ApiError;
use crate::http::served::ServedVersion;
use crate::http::state::AppState;
use crate::http::v2::contract::{InferErrors, ModelParams, NotReady, NotServed, VersionParams};
use crate::http::v2::error::V2Error;
use crate::http::v2::inference::Inference;
use crate::http::v2::named::named;
use crate::http::v2::outputs::{OutputTensor, RequestedOutput, SelectedOutput, selected};
use crate::http::v2::parameters::InferParameters;
use crate::http::v2::tensor::{InputTensor, TensorError, texts};
use crate::trace;

const HEAD_LENGTH: HeaderName = HeaderName::from_static("inference-header-content-length");
const BINARY: &str = "application/octet-stream";

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
    pub(super) parameters: Option<InferParameters>,
    /// The tensor `text`.
    pub(super) inputs: Vec<InputTensor>,
    /// The tensors wanted, `entities` or `words`; both where absent.
    pub(super) outputs: Option<Vec<RequestedOutput>>,
}

/// The tensors asked for.
#[derive(Debug, Serialize, ToSchema)]
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
    let arrived = tokio::time::Instant::now();
    let model = named(&tagger, &request)?;
    check_media_type(&request)?;
    let body = read_limited(&request, payload, state.body_limits()).await?;
    let (json, binary) = split(&request, &body)?;
    let asked: InferRequest = parse(json)?;
    asked.check_names(model)?;
    let id = asked.id.clone();
    let inference = asked.checked(binary, &model.labels, state.config.max_texts_per_batch)?;
    drop(body);
    let tagged = inference.tag(&tagger, arrived).await?;
    let began = Instant::now();
    let _decoding = trace::decode().entered();
    let answers = tagged.answers(&tagger);
    let mut bytes = Vec::new();
    let outputs = tagged
        .selected
        .iter()
        .map(|selected| selected.tensor(&answers, &mut bytes));
    let json = serde_json::to_vec(&InferResponse {
        model_name: &model.name,
        model_version: &model.version,
        id,
        outputs: outputs.collect::<Result<_, _>>().map_err(V2Error::Write)?,
    })
    .map_err(V2Error::Write)?;
    let response = respond(json, bytes, &tagged.selected);
    tagger.metrics().decoded(began.elapsed());
    Ok(response)
}

/// A body is JSON, whether declared or not; bytes follow it if the header has the length of the JSON.
fn check_media_type(request: &HttpRequest) -> Result<(), ApiError> {
    let known = header(request, &CONTENT_TYPE)
        .is_none_or(|declared| is_json(declared) || essence(declared) == BINARY);
    if known && !is_encoded(request) {
        Ok(())
    } else {
        Err(ApiError::UnsupportedMediaType)
    }
}

/// The JSON of a body, and the bytes behind it.
fn split<'b>(request: &HttpRequest, body: &'b [u8]) -> Result<(&'b [u8], &'b [u8]), TensorError> {
    let Some(head) = request.headers().get(&HEAD_LENGTH) else {
        return Ok((body, &[]));
    };
    let head = String::from_utf8_lossy(head.as_bytes());
    let length = head.parse().ok();
    let parts = length.and_then(|length| body.split_at_checked(length));
    parts.ok_or_else(|| TensorError::Head {
        head: head.into_owned(),
        body: body.len(),
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

    /// The checked request; `binary` is the bytes behind the JSON.
    pub(super) fn checked(
        self,
        binary: &[u8],
        labels: &LabelSet,
        max_texts: usize,
    ) -> Result<Inference, V2Error> {
        let parameters = self.parameters.unwrap_or_default();
        let binary_by_default = parameters.binary_data_output.unwrap_or(false);
        let selected = selected(self.outputs.unwrap_or_default(), binary_by_default)?;
        Inference::new(
            texts(self.inputs, binary)?,
            &parameters,
            selected,
            labels,
            max_texts,
        )
    }
}

fn respond(mut json: Vec<u8>, mut bytes: Vec<u8>, selected: &[SelectedOutput]) -> HttpResponse {
    let mut response = HttpResponse::Ok();
    if selected.iter().any(|selected| selected.binary) {
        response.content_type(BINARY);
        response.insert_header((HEAD_LENGTH, json.len()));
        json.append(&mut bytes);
    } else {
        response.content_type(ContentType::json());
    }
    response.body(json)
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
