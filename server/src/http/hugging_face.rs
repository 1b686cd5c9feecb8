//! `POST /`: token classification in the format of the Hugging Face inference API.

use std::sync::Arc;

use actix_web::http::header::{ContentType, HeaderName};
use actix_web::{HttpRequest, HttpResponse, web};
use nerve_engine::{Aggregation, Classified, PipelineOptions, Tagger, optional_object, parse};
use serde::Deserialize;
use serde::de::IgnoredAny;
use utoipa::ToSchema;

use crate::http::answer::{AnswerChunks, Part, text, write_parts};
use crate::http::answer_body::send;
use crate::http::body::read_body;
use crate::http::error::{ApiError, ClassifyError};
use crate::http::responses::TaggingErrors;
use crate::http::served::ServedVersion;
use crate::http::state::AppState;

/// Bytes of a classified token or group: its fields, its text and its label.
const CLASSIFIED_BYTES: usize = 160;
/// How many entities are written at a time.
const STEP: usize = 256;

/// Present if a text was longer than the model and was truncated.
pub(crate) const TRUNCATED: HeaderName = HeaderName::from_static("x-nerve-truncated");

/// Texts to classify, as the Hugging Face inference API takes them.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"inputs": "Barack Obama met Beyoncé", "parameters": {"aggregation_strategy": "simple"}}))]
pub(crate) struct ClassifyRequest {
    /// One text, or a list of at least one.
    inputs: Inputs,
    /// How the tokens become entities.
    #[serde(default, deserialize_with = "optional_object")]
    parameters: Option<ClassifyParameters>,
    /// What the hosted API's clients tell its caches and queues (`use_cache`, `wait_for_model`); means nothing here.
    #[schema(value_type = Option<Object>)]
    #[serde(rename = "options")]
    _options: Option<ClientOptions>,
}

/// Settings of the hosted API that say nothing about the answer.
type ClientOptions = std::collections::BTreeMap<String, IgnoredAny>;

/// One text or many.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(untagged, expecting = "`inputs` must be a text or a list of texts")]
pub(crate) enum Inputs {
    /// A text, answered with its entities.
    One(String),
    /// Texts, answered with a list of entities each.
    Many(Vec<String>),
}

/// The parameters of the `transformers` pipeline.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ClassifyParameters {
    /// How tokens become entities; `simple` where absent, as the hosted API has it.
    aggregation_strategy: Option<Aggregation>,
    /// Labels that are left out, without `B-` and `I-` unless nothing is aggregated; `["O"]` where absent.
    ignore_labels: Option<Vec<String>>,
    /// Read all of a long text, in chunks that share this many tokens. Where absent, a text is truncated to the model's
    /// longest sequence, which the header `x-nerve-truncated` says.
    stride: Option<usize>,
}

/// The entities of the text, or of each text of a list in order.
#[derive(ToSchema)]
#[expect(
    dead_code,
    reason = "read by the contract's generator alone: answers are written in parts"
)]
#[serde(untagged)]
pub(crate) enum ClassifyResponse {
    /// Of one text.
    One(Vec<Classified>),
    /// Of each text of a list.
    Many(OfEachText),
}

/// The entities of each text of a list, which is never empty.
#[derive(ToSchema)]
#[expect(
    dead_code,
    reason = "read by the contract's generator alone: answers are written in parts"
)]
#[schema(min_items = 1)]
pub(crate) struct OfEachText(Vec<Vec<Classified>>);

/// A validated request to the pipeline.
#[derive(Debug, PartialEq)]
pub(super) struct PipelineRequest {
    pub(super) texts: Vec<String>,
    is_list: bool,
    pub(super) stride: Option<usize>,
    pub(super) wanted: PipelineOptions,
}

impl ClassifyRequest {
    /// Validates the request, for chunks of `room` tokens and at most `max_texts` texts.
    pub(super) fn checked(self, room: usize, max_texts: usize) -> Result<PipelineRequest, ApiError> {
        let (texts, is_list) = match self.inputs {
            Inputs::One(text) => (vec![text], false),
            Inputs::Many(texts) => (texts, true),
        };
        let parameters = self.parameters.unwrap_or_default();
        let strategy = parameters.aggregation_strategy.unwrap_or(Aggregation::Simple);
        let invalid = match parameters.stride {
            _ if texts.is_empty() => Some(ClassifyError::NoInputs),
            Some(stride) if stride >= room => Some(ClassifyError::Stride { stride, limit: room }),
            Some(_) if strategy == Aggregation::None => Some(ClassifyError::StrideWithoutAggregation),
            _ => None,
        };
        if let Some(invalid) = invalid {
            return Err(invalid.into());
        }
        if texts.len() > max_texts {
            return Err(ApiError::TooManyTexts {
                texts: texts.len(),
                limit: max_texts,
            });
        }
        Ok(PipelineRequest {
            texts,
            is_list,
            stride: parameters.stride,
            wanted: PipelineOptions {
                strategy,
                ignored: parameters.ignore_labels.unwrap_or_else(|| vec!["O".to_owned()]),
            },
        })
    }
}

/// Classify the tokens of a text or of many, as the `transformers` pipeline does.
///
/// For existing clients of the Hugging Face inference API. Its answers are the pipeline's, guesses included; `/ner` gives
/// words and offsets that are right.
#[utoipa::path(
    post,
    path = "/",
    tag = "tagging",
    operation_id = "classify",
    request_body = ClassifyRequest,
    responses(
        (
            status = 200,
            description = "The entities of the text, or a list of them for each text of a list",
            body = ClassifyResponse,
            headers(("x-nerve-truncated" = String, description = "`true` where a text was longer than the model and \
                its rest was not read; else absent"))
        ),
        TaggingErrors,
    )
)]
pub(crate) async fn hugging_face(
    state: web::Data<AppState>,
    ServedVersion(tagger): ServedVersion,
    request: HttpRequest,
    payload: web::Payload,
) -> Result<HttpResponse, ApiError> {
    let body = read_body(&request, payload, state.body_limits()).await?;
    let max_texts = state.config.max_texts_per_batch;
    let read = move |json: &[u8], tagger: &Tagger| {
        let room = tagger.model().pipeline.room();
        let asked = parse::<ClassifyRequest>(json)?.checked(room, max_texts)?;
        Ok::<_, ApiError>((tagger.bytes_to_classify(&asked.texts, asked.stride), asked))
    };
    let ((needed, asked), mut permit) = body.parsed(&tagger, read).await?;
    permit.resize(needed)?;
    let classified = tagger.classify(asked.texts, asked.stride, asked.wanted).await?;
    let mut response = HttpResponse::Ok();
    response.content_type(ContentType::json());
    if classified.iter().any(|text| text.truncated) {
        response.insert_header((TRUNCATED, "true"));
    }
    let count: usize = classified.iter().map(|text| text.entities.len()).sum();
    permit.resize(count * CLASSIFIED_BYTES)?;
    let mut parts = Vec::new();
    for (index, classification) in classified.into_iter().enumerate() {
        if asked.is_list {
            parts.push(text(if index > 0 { "," } else { "[" }));
        }
        parts.push(entities(&tagger, classification.entities));
    }
    if asked.is_list {
        parts.push(text("]"));
    }
    let chunks = write_parts(&tagger, count, AnswerChunks::new(permit), parts).await?;
    Ok(send(response, chunks.finish()?))
}

/// The array of a text's entities. Counts them by type.
fn entities(tagger: &Arc<Tagger>, entities: Vec<Classified>) -> Part {
    let tagger = Arc::clone(tagger);
    let mut written = 0;
    let mut step = move |json: &mut Vec<u8>| {
        if written == 0 {
            json.push(b'[');
        }
        for entity in entities.iter().skip(written).take(STEP) {
            let group = entity
                .group()
                .and_then(|group| tagger.model().labels.parse_type(group));
            if let Some(entity_type) = group {
                tagger.counters().entity_found(entity_type);
            }
            if written > 0 {
                json.push(b',');
            }
            serde_json::to_writer(&mut *json, entity)?;
            written += 1;
        }
        let done = written == entities.len();
        if done {
            json.push(b']');
        }
        Ok(done)
    };
    Box::new(move |out| out.append(&mut step))
}

#[cfg(test)]
mod tests {
    use super::*;
    use nerve_engine::RequestError;

    fn asked(json: &str) -> Result<PipelineRequest, ApiError> {
        parse::<ClassifyRequest>(json.as_bytes())?.checked(6, 3)
    }

    #[test]
    fn the_hosted_apis_defaults_hold() {
        let expected = PipelineRequest {
            texts: vec!["a".to_owned()],
            is_list: false,
            stride: None,
            wanted: PipelineOptions {
                strategy: Aggregation::Simple,
                ignored: vec!["O".to_owned()],
            },
        };
        for json in [
            r#"{"inputs": "a"}"#,
            r#"{"inputs": "a", "parameters": {}, "options": {"wait_for_model": true, "use_cache": false}}"#,
            r#"{"inputs": "a", "parameters": {"stride": null, "ignore_labels": null}, "options": null}"#,
        ] {
            assert_eq!(asked(json).unwrap(), expected, "{json}");
        }
        let list = asked(
            r#"{"inputs": ["a"], "parameters": {"aggregation_strategy": "none", "ignore_labels": []}}"#,
        )
        .unwrap();
        assert!(list.is_list && list.wanted.ignored.is_empty());
        assert_eq!(list.wanted.strategy, Aggregation::None);
    }

    #[test]
    fn each_mistake_has_its_error() {
        let invalid = |json: &str| match asked(json) {
            Err(ApiError::Classify(invalid)) => invalid,
            other => panic!("{json}: {other:?}"),
        };
        assert!(matches!(invalid(r#"{"inputs": []}"#), ClassifyError::NoInputs));
        assert!(matches!(
            invalid(r#"{"inputs": "a", "parameters": {"stride": 6}}"#),
            ClassifyError::Stride { stride: 6, limit: 6 }
        ));
        assert!(matches!(
            invalid(r#"{"inputs": "a", "parameters": {"stride": 1, "aggregation_strategy": "none"}}"#),
            ClassifyError::StrideWithoutAggregation
        ));
        for shape in [
            "{}",
            r#"{"inputs": 5}"#,
            r#"{"inputs": ["a", 5]}"#,
            r#"{"inputs": "a", "parameters": {"stride": -1}}"#,
            r#"{"inputs": "a", "parameters": {"aggregation_strategy": "last"}}"#,
            r#"{"inputs": "a", "parameters": {"top_k": 1}}"#,
            r#"{"inputs": "a", "options": []}"#,
            r#"{"inputs": "a", "text": "a"}"#,
        ] {
            assert!(
                matches!(asked(shape), Err(ApiError::Request(RequestError::Shape { .. }))),
                "{shape}"
            );
        }
        assert!(matches!(
            asked(r#"{"inputs": ["a", "b", "c", "d"]}"#),
            Err(ApiError::TooManyTexts { texts: 4, limit: 3 })
        ));
    }
}
