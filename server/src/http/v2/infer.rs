//! `POST /v2/models/{model}/infer`: a tensor of texts in, tensors of entities and words out.

use std::sync::Arc;

use actix_web::http::header::CONTENT_TYPE;
use actix_web::{HttpRequest, HttpResponse, web};
use nerve_engine::{
    Aggregation, AnswerOptions, DecodingOptions, OffsetsOption, TagInput, TagOptions, TaggedText, Tagger,
    TextModel, parse,
};
use serde::Deserialize;
use utoipa::ToSchema;

use crate::http::body::{essence, header, is_json, read_limited};
use crate::http::error::ApiError;
use crate::http::served::ServedVersion;
use crate::http::state::AppState;
use crate::http::v2::answer::{BINARY, HEAD_LENGTH, TensorsAnswer};
use crate::http::v2::contract::{InferErrors, ModelParams, NotReady, NotServed, VersionParams};
use crate::http::v2::error::V2Error;
use crate::http::v2::named::named;
use crate::http::v2::tensor::{InputTensor, OutputName, OutputTensor, SelectedOutput, TensorError, texts};

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
    named(&tagger, &request)?;
    check_media_type(&request)?;
    let body = read_limited(&request, payload, state.body_limits()).await?;
    let json_length = json_length(&request, body.bytes.len())?;
    let max_texts = state.config.max_texts_per_batch;
    let read = move |body: &[u8], tagger: &Tagger| {
        let (json, binary) = body.split_at_checked(json_length).unwrap_or((body, &[]));
        InferInput::new(json, binary, tagger.model(), max_texts)
            .map(|input| (tagger.bytes_to_tag(&input.sources, input.reading), input))
    };
    let ((needed, input), mut permit) = body.parsed(&tagger, read).await?;
    permit.resize(needed).map_err(ApiError::Memory)?;
    let tagged = tagger.tag(input.sources, input.reading).await?;
    let tagged = tagged
        .into_iter()
        .enumerate()
        .map(|(index, tagged)| {
            tagged.map_err(|error| V2Error::Text {
                index,
                error: ApiError::Tag(error),
            })
        })
        .collect::<Result<Vec<Arc<TaggedText>>, _>>()?;
    permit
        .resize(tagged.iter().map(|tagged| tagged.bytes()).sum())
        .map_err(ApiError::Memory)?;
    let answer = TensorsAnswer {
        id: input.id,
        tagged,
        selected: input.selected,
        view: Arc::new(input.view),
    };
    Ok(answer.write(&tagger, permit).await?)
}

/// A validated request.
pub(super) struct InferInput {
    id: Option<String>,
    pub(super) sources: Vec<TagInput>,
    pub(super) reading: DecodingOptions,
    pub(super) view: AnswerOptions,
    pub(super) selected: Vec<SelectedOutput>,
}

impl InferInput {
    /// Parses and validates a request; `binary` is the bytes behind its JSON.
    pub(super) fn new(
        json: &[u8],
        binary: &[u8],
        model: &TextModel,
        max_texts: usize,
    ) -> Result<Self, V2Error> {
        let asked: InferRequest = parse(json)?;
        let parameters = asked.parameters.unwrap_or_default();
        let selected = selected(asked.outputs, parameters.binary_data_output.unwrap_or(false))?;
        let options = parameters.options(&selected);
        let reading = options.reading();
        let view = options.view(&model.labels).map_err(V2Error::Parameter)?;
        let texts = texts(asked.inputs, binary)?;
        if texts.len() > max_texts {
            let (texts, limit) = (texts.len(), max_texts);
            return Err(ApiError::TooManyTexts { texts, limit }.into());
        }
        Ok(Self {
            id: asked.id,
            sources: texts.into_iter().map(TagInput::Text).collect(),
            reading,
            view,
            selected,
        })
    }
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
