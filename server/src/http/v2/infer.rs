//! `POST /v2/models/{model}/infer`: a tensor of texts in, tensors of entities and words out.

use std::time::Instant;

use actix_web::http::header::{CONTENT_TYPE, ContentType, HeaderName};
use actix_web::{HttpRequest, HttpResponse, web};
use nerve_engine::{Aggregation, Answer, OffsetsOption, TagInput, TagOptions, TaggedText, parse};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::http::body::{essence, header, is_encoded, is_json, read_limited};
use crate::http::error::ApiError;
use crate::http::served::ServedVersion;
use crate::http::state::AppState;
use crate::http::v2::contract::{InferErrors, ModelParams, NotReady, NotServed, VersionParams};
use crate::http::v2::error::V2Error;
use crate::http::v2::named::named;
use crate::http::v2::tensor::{
    BYTES, InputTensor, OutputName, OutputTensor, OutputTensorParameters, TensorError, encode, texts,
};
use crate::trace;

const HEAD_LENGTH: HeaderName = HeaderName::from_static("inference-header-content-length");
const BINARY: &str = "application/octet-stream";

/// A tensor of texts.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({
    "id": "1",
    "inputs": [{"name": "text", "shape": [1], "datatype": "BYTES", "data": ["Barack Obama met Beyoncé"]}],
    "outputs": [{"name": "entities"}]
}))]
pub(crate) struct InferRequest {
    /// The request's own name; the answer has it too.
    id: Option<String>,
    pub(super) parameters: Option<InferParameters>,
    /// The tensor `text`.
    pub(super) inputs: Vec<InputTensor>,
    /// The tensors wanted, `entities` or `words`; both where absent.
    pub(super) outputs: Option<Vec<RequestedOutput>>,
}

/// How the texts are to be answered.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct InferParameters {
    /// The unit in which `start` and `end` are counted; code points where absent.
    offsets: Option<OffsetsOption>,
    /// Entities with a lower score are left out.
    #[schema(minimum = 0, maximum = 1)]
    threshold: Option<f64>,
    /// The entity types to answer with, separated by commas; all where absent.
    labels: Option<String>,
    /// What is labeled and by which tokens; `first` where absent.
    aggregation: Option<Aggregation>,
    /// Whether the labels must make a valid sequence, no `I-X` without its `B-X`; yes where absent.
    constrained: Option<bool>,
    /// Whether outputs that do not say are sent as bytes behind the JSON; no where absent.
    pub(super) binary_data_output: Option<bool>,
}

/// An output that is wanted.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RequestedOutput {
    /// `entities` or `words`.
    #[schema(example = "entities")]
    name: String,
    parameters: Option<RequestedOutputParameters>,
}

/// How an output is to be sent.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RequestedOutputParameters {
    /// Whether it is sent as bytes behind the JSON.
    binary_data: Option<bool>,
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

/// An output of the answer, and whether it is sent as bytes.
#[derive(Clone, Copy)]
pub(super) struct SelectedOutput {
    output: OutputName,
    binary: bool,
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
    let model = named(&tagger, &request)?;
    check_media_type(&request)?;
    let body = read_limited(&request, payload, state.body_limits()).await?;
    let (json, binary) = split(&request, &body)?;
    let asked: InferRequest = parse(json)?;
    let parameters = asked.parameters.unwrap_or_default();
    let selected = selected(asked.outputs, parameters.binary_data_output.unwrap_or(false))?;
    let options = parameters.options(&selected);
    let reading = options.reading();
    let view = options.view(&model.labels).map_err(V2Error::Parameter)?;
    let texts = texts(asked.inputs, binary)?;
    let (count, limit) = (texts.len(), state.config.max_texts_per_batch);
    if count > limit {
        return Err(ApiError::TooManyTexts { texts: count, limit }.into());
    }
    drop(body);
    let tagged = tagger
        .tag(texts.into_iter().map(TagInput::Text).collect(), reading)
        .await?;
    let tagged = tagged
        .into_iter()
        .enumerate()
        .map(|(index, tagged)| {
            tagged.map_err(|error| V2Error::Text {
                index,
                error: ApiError::Tag(error),
            })
        })
        .collect::<Result<Vec<TaggedText>, _>>()?;
    let began = Instant::now();
    let _decoding = trace::decode().entered();
    let answers: Vec<Answer> = tagged.iter().map(|tagged| tagger.answer(tagged, &view)).collect();
    let mut bytes = Vec::new();
    let outputs = selected
        .iter()
        .map(|selected| selected.tensor(&answers, &mut bytes));
    let json = serde_json::to_vec(&InferResponse {
        model_name: &model.name,
        model_version: &model.version,
        id: asked.id,
        outputs: outputs.collect::<Result<_, _>>().map_err(V2Error::Write)?,
    })
    .map_err(V2Error::Write)?;
    let response = respond(json, bytes, &selected);
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

/// The requested outputs, in order; all outputs if none is requested.
pub(super) fn selected(
    asked: Option<Vec<RequestedOutput>>,
    binary_by_default: bool,
) -> Result<Vec<SelectedOutput>, TensorError> {
    let all = || {
        let selected = OutputName::ALL.map(|output| SelectedOutput {
            output,
            binary: binary_by_default,
        });
        selected.to_vec()
    };
    let mut selected: Vec<SelectedOutput> = Vec::new();
    for RequestedOutput { name, parameters } in asked.unwrap_or_default() {
        let Some(output) = OutputName::ALL.into_iter().find(|output| output.name() == name) else {
            return Err(TensorError::UnknownOutput { name });
        };
        if selected.iter().any(|selected| selected.output == output) {
            return Err(TensorError::OutputTwice { name });
        }
        let binary = parameters.and_then(|parameters| parameters.binary_data);
        selected.push(SelectedOutput {
            output,
            binary: binary.unwrap_or(binary_by_default),
        });
    }
    Ok(if selected.is_empty() { all() } else { selected })
}

impl InferParameters {
    pub(super) fn options(self, selected: &[SelectedOutput]) -> TagOptions {
        let labels = |names: String| names.split(',').map(|name| name.trim().to_owned()).collect();
        TagOptions {
            offsets: self.offsets,
            threshold: self.threshold,
            labels: self.labels.map(labels),
            aggregation: self.aggregation,
            constrained: self.constrained,
            include_words: Some(
                selected
                    .iter()
                    .any(|selected| selected.output == OutputName::Words),
            ),
        }
    }
}

impl SelectedOutput {
    /// The tensor. If it is sent as bytes, they are appended to `bytes`.
    pub(super) fn tensor(self, answers: &[Answer], bytes: &mut Vec<u8>) -> serde_json::Result<OutputTensor> {
        let element = |answer: &Answer| match self.output {
            OutputName::Entities => serde_json::to_string(&answer.entities),
            OutputName::Words => serde_json::to_string(answer.words.as_deref().unwrap_or_default()),
        };
        let data = answers
            .iter()
            .map(element)
            .collect::<serde_json::Result<Vec<_>>>()?;
        let mut tensor = OutputTensor {
            name: self.output.name(),
            datatype: BYTES,
            shape: [data.len()],
            parameters: None,
            data: None,
        };
        if self.binary {
            let binary_data_size = encode(&data, bytes);
            tensor.parameters = Some(OutputTensorParameters { binary_data_size });
        } else {
            tensor.data = Some(data);
        }
        Ok(tensor)
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
