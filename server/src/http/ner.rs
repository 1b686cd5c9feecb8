//! `POST /ner` and `POST /ner/batch`.

use std::slice::from_ref;
use std::sync::Arc;

use actix_web::{HttpRequest, HttpResponse, web};
use nerve_engine::{Answer, TagError, Tagger, parse};
use serde::Serialize;
use utoipa::ToSchema;

use crate::http::answer::{AnswerChunks, members, text, write_parts};
use crate::http::answer_body::send_json;
use crate::http::body::read_body;
use crate::http::error::{ApiError, ErrorBody};
use crate::http::request::{BatchRequest, NerRequest};
use crate::http::responses::TaggingErrors;
use crate::http::served::ServedVersion;
use crate::http::state::AppState;

/// The answer for one text.
#[derive(ToSchema)]
#[expect(
    dead_code,
    reason = "read by the contract's generator alone: answers are written in parts"
)]
pub(crate) struct NerResponse<'a> {
    #[serde(flatten)]
    answer: Answer<'a>,
    /// The model that answered.
    model: ModelName<'a>,
}

/// The answers for many texts.
#[derive(ToSchema)]
#[expect(
    dead_code,
    reason = "read by the contract's generator alone: answers are written in parts"
)]
pub(crate) struct BatchResponse<'a> {
    /// One result a text, in the order of the request.
    results: Vec<ItemResult<'a>>,
    /// The model that answered.
    model: ModelName<'a>,
}

/// The answer for one text of a batch, or why there is none.
#[derive(Serialize, ToSchema)]
#[serde(untagged)]
pub(crate) enum ItemResult<'a> {
    /// The answer.
    #[expect(
        dead_code,
        reason = "read by the contract's generator alone: answers are written in parts"
    )]
    Answer(Answer<'a>),
    /// Why there is none.
    Error(ErrorBody),
}

/// A model and its version.
#[derive(Clone, Copy, Serialize, ToSchema)]
pub(crate) struct ModelName<'a> {
    /// The model's name.
    name: &'a str,
    /// The version, which changes with the model's content.
    version: &'a str,
}

/// Tag one text or one pre-split sentence.
#[utoipa::path(
    post,
    path = "/ner",
    tag = "tagging",
    request_body = NerRequest,
    responses(
        (status = 200, description = "The entities of the text", body = NerResponse),
        TaggingErrors,
    )
)]
pub(crate) async fn ner(
    state: web::Data<AppState>,
    ServedVersion(tagger): ServedVersion,
    request: HttpRequest,
    payload: web::Payload,
) -> Result<HttpResponse, ApiError> {
    let body = read_body(&request, payload, state.body_limits()).await?;
    let read = |json: &[u8], tagger: &Tagger| {
        let (source, reading, view) = parse::<NerRequest>(json)?.checked(&tagger.model().labels)?;
        Ok::<_, ApiError>((
            tagger.bytes_to_tag(from_ref(&source), reading),
            source,
            reading,
            view,
        ))
    };
    let ((needed, source, reading, view), mut permit) = body.parsed(&tagger, read).await?;
    permit.resize(needed)?;
    let tagged = tagger.tag(vec![source], reading).await?;
    let tagged = tagged
        .into_iter()
        .next()
        .unwrap_or(Err(TagError::InferenceFailed))?;
    permit.resize(tagged.bytes())?;
    let words = tagged.words.spans.len();
    let parts = vec![
        text("{"),
        members(&tagger, tagged, &Arc::new(view)),
        text(model_member(&tagger)?),
    ];
    let chunks = write_parts(&tagger, words, AnswerChunks::new(permit), parts).await?;
    Ok(send_json(chunks.finish()?))
}

/// Tag many texts or pre-split sentences; one that fails does not fail the others.
#[utoipa::path(
    post,
    path = "/ner/batch",
    tag = "tagging",
    request_body = BatchRequest,
    responses(
        (status = 200, description = "One result a text, in order", body = BatchResponse),
        TaggingErrors,
    )
)]
pub(crate) async fn ner_batch(
    state: web::Data<AppState>,
    ServedVersion(tagger): ServedVersion,
    request: HttpRequest,
    payload: web::Payload,
) -> Result<HttpResponse, ApiError> {
    let body = read_body(&request, payload, state.body_limits()).await?;
    let max_texts = state.config.max_texts_per_batch;
    let read = move |json: &[u8], tagger: &Tagger| {
        let batch = parse::<BatchRequest>(json)?;
        let (sources, reading, view) = batch.checked(&tagger.model().labels, max_texts)?;
        let mut wanted = Vec::with_capacity(sources.len());
        let mut places = Vec::with_capacity(sources.len());
        for source in sources {
            places.push(source.map(|source| wanted.push(source)));
        }
        Ok::<_, ApiError>((
            tagger.bytes_to_tag(&wanted, reading),
            wanted,
            places,
            reading,
            view,
        ))
    };
    let ((needed, wanted, places, reading, view), mut permit) = body.parsed(&tagger, read).await?;
    permit.resize(needed)?;
    let mut tagged = tagger.tag(wanted, reading).await?.into_iter();
    let (mut bytes, mut words) = (0, 0);
    let view = Arc::new(view);
    let mut parts = vec![text("{\"results\":[")];
    for (index, place) in places.into_iter().enumerate() {
        let comma = if index > 0 { "," } else { "" };
        let tagged = place.and_then(|()| Ok(tagged.next().unwrap_or(Err(TagError::InferenceFailed))?));
        match tagged {
            Ok(tagged) => {
                bytes += tagged.bytes();
                words += tagged.words.spans.len();
                parts.push(text(format!("{comma}{{")));
                parts.push(members(&tagger, tagged, &view));
                parts.push(text("}"));
            }
            Err(error) => {
                state.metrics.refused(error.refusal());
                parts.push(text(format!(
                    "{comma}{}",
                    json(&ItemResult::Error(error.body()))?
                )));
            }
        }
    }
    parts.push(text(format!("]{}", model_member(&tagger)?)));
    permit.resize(bytes)?;
    let chunks = write_parts(&tagger, words, AnswerChunks::new(permit), parts).await?;
    Ok(send_json(chunks.finish()?))
}

/// The last member of an answer, and its end.
fn model_member(tagger: &Tagger) -> Result<String, ApiError> {
    let model = ModelName {
        name: &tagger.model().name,
        version: &tagger.model().version,
    };
    Ok(format!(",\"model\":{}}}", json(&model)?))
}

fn json(value: &impl Serialize) -> Result<String, ApiError> {
    serde_json::to_string(value).map_err(|_| ApiError::Unwritable)
}
