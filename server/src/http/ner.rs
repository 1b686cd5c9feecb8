//! `POST /ner` and `POST /ner/batch`.

use std::sync::Arc;
use std::time::Instant;

use actix_web::http::header::ContentType;
use actix_web::{HttpRequest, HttpResponse, web};
use nerve_engine::{Answer, TagError, TaggedText, Tagger, parse};
use serde::Serialize;
use utoipa::ToSchema;

use crate::http::body::read_body;
use crate::http::error::{ApiError, ErrorBody};
use crate::http::request::{BatchRequest, NerRequest};
use crate::http::responses::TaggingErrors;
use crate::http::served::ServedVersion;
use crate::http::state::AppState;
use crate::trace;

/// The answer for one text.
#[derive(Serialize, ToSchema)]
pub(crate) struct NerResponse<'a> {
    #[serde(flatten)]
    answer: Answer<'a>,
    /// The model that answered.
    model: ModelName<'a>,
}

/// The answers for many texts.
#[derive(Serialize, ToSchema)]
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
    let (source, reading, view) = parse::<NerRequest>(&body)?.checked(&tagger.model().labels)?;
    drop(body);
    let tagged = tagger.tag(vec![source], reading).await?;
    let tagged = tagged
        .into_iter()
        .next()
        .unwrap_or(Err(TagError::InferenceFailed))?;
    let words = tagged.words.spans.len();
    respond(&tagger, words, move |tagger| {
        serde_json::to_vec(&NerResponse {
            answer: tagger.answer(&tagged, &view),
            model: model_name(tagger),
        })
    })
    .await
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
    let batch = parse::<BatchRequest>(&body)?;
    let (sources, reading, view) = batch.checked(&tagger.model().labels, state.config.max_texts_per_batch)?;
    let mut wanted = Vec::with_capacity(sources.len());
    let mut places = Vec::with_capacity(sources.len());
    for source in sources {
        places.push(source.map(|source| wanted.push(source)));
    }
    drop(body);
    let mut tagged = tagger.tag(wanted, reading).await?.into_iter();
    let results: Vec<Result<TaggedText, ApiError>> = places
        .into_iter()
        .map(|place| {
            place?;
            tagged
                .next()
                .unwrap_or(Err(TagError::InferenceFailed))
                .map_err(ApiError::Tag)
        })
        .collect();
    let words = results.iter().flatten().map(|tagged| tagged.words.spans.len());
    let metrics = Arc::clone(&state.metrics);
    respond(&tagger, words.sum(), move |tagger| {
        let results = results.iter().map(|result| match result {
            Ok(tagged) => ItemResult::Answer(tagger.answer(tagged, &view)),
            Err(error) => {
                metrics.refused(error.refusal());
                ItemResult::Error(error.body())
            }
        });
        serde_json::to_vec(&BatchResponse {
            results: results.collect(),
            model: model_name(tagger),
        })
    })
    .await
}

/// The response whose body `write` writes. If it has many words, it is written on the tokenizer threads, so that the
/// threads that serve connections are not held up.
async fn respond(
    tagger: &Arc<Tagger>,
    words: usize,
    write: impl FnOnce(&Tagger) -> serde_json::Result<Vec<u8>> + Send + 'static,
) -> Result<HttpResponse, ApiError> {
    let writer = Arc::clone(tagger);
    let span = trace::decode();
    let timed = move || {
        let _decoding = span.entered();
        let began = Instant::now();
        let written = write(&writer);
        writer.metrics().decoded(began.elapsed());
        written
    };
    let written = tagger.run_sized(words, timed).await;
    let body = written
        .map_err(|_panicked| ApiError::Unwritable)?
        .map_err(|_| ApiError::Unwritable)?;
    Ok(HttpResponse::Ok().content_type(ContentType::json()).body(body))
}

fn model_name(tagger: &Tagger) -> ModelName<'_> {
    ModelName {
        name: &tagger.model().name,
        version: &tagger.model().version,
    }
}
