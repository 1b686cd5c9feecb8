//! `POST /ner/stream`: JSON lines in, JSON lines out.

use std::sync::Arc;
use std::time::{Duration, Instant};

use actix_web::error::{ErrorServiceUnavailable, PayloadError};
use actix_web::web::Bytes;
use actix_web::{Error, HttpRequest, HttpResponse, web};
use futures_util::StreamExt;
use nerve_engine::{
    Answer, AnswerOptions, BulkError, LineFormat, Readiness, TagError, TagOptions, TaggedLine, Tagger,
    name_schema, tag_lines,
};
use serde::Serialize;
use serde_json::value::RawValue;
use utoipa::ToSchema;

use crate::http::body::declares_lines;
use crate::http::error::{ApiError, ErrorBody};
use crate::http::idle::IdleTimeout;
use crate::http::metrics::HttpMetrics;
use crate::http::request::options_of_query;
use crate::http::served::ServedVersion;
use crate::http::state::AppState;

const JSON_LINES: &str = "application/x-ndjson";

/// One line of the answer: what was found in a line of the request, or why it was not tagged.
#[derive(Serialize, ToSchema)]
#[serde(untagged)]
pub(crate) enum StreamLine<'a> {
    Answer(StreamAnswer<'a>),
    Error(StreamError<'a>),
}

/// The answer to a line.
#[derive(Serialize, ToSchema)]
pub(crate) struct StreamAnswer<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(schema_with = name_schema)]
    id: Option<&'a RawValue>,
    /// The line of the request, counted from 1, blank ones included.
    line: u64,
    #[serde(flatten)]
    answer: Answer<'a>,
}

/// Why a line has no answer.
#[derive(Serialize, ToSchema)]
pub(crate) struct StreamError<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(schema_with = name_schema)]
    id: Option<&'a RawValue>,
    /// The line of the request, counted from 1, blank ones included.
    line: u64,
    #[serde(flatten)]
    error: ErrorBody,
}

impl<'a> StreamLine<'a> {
    /// The answer line for a line, and the reason if the line was refused. Counts the entities found.
    pub(crate) fn new(
        tagger: &'a Tagger,
        answered: &'a TaggedLine,
        view: &AnswerOptions,
    ) -> (Self, Option<&'static str>) {
        let (id, line) = (answered.id.as_deref(), answered.number);
        match &answered.outcome {
            Ok(tagged) => {
                let answer = tagger.answer(tagged, view);
                (Self::Answer(StreamAnswer { id, line, answer }), None)
            }
            Err(error) => {
                let (error, refusal) = ErrorBody::of_line(error);
                (Self::Error(StreamError { id, line, error }), refusal)
            }
        }
    }
}

/// Tag a stream of any length, one JSON object a line (`StreamItem`), with one line of answer (`StreamLine`) for each.
///
/// The answers come in order while the request is still being sent, and the request is read only as they are: a client must
/// read while it writes. A line that cannot be tagged is answered with its error, and the next one follows; blank lines
/// are skipped. Work waits where other routes would refuse it. A stream that is cut short was ended by the
/// server's stopping, or by a client that sent or read nothing for too long.
#[utoipa::path(
    post,
    path = "/ner/stream",
    tag = "tagging",
    params(TagOptions),
    request_body(
        content = String,
        content_type = "application/x-ndjson",
        description = "One `StreamItem` a line",
        example = "{\"id\": 1, \"text\": \"Barack Obama met Beyoncé\"}\n{\"id\": \"b\", \"words\": [\"in\", \"New\", \"York\"]}\n"
    ),
    responses(
        (status = 200, description = "One `StreamLine` a line", body = String, content_type = "application/x-ndjson"),
        (status = 401, description = "A key is needed", body = ErrorBody),
        (status = 415, description = "The body is not declared to be JSON lines", body = ErrorBody),
        (status = 422, description = "The options are wrong", body = ErrorBody),
        (status = 503, description = "Not ready, or stopping", body = ErrorBody),
    )
)]
pub(crate) async fn ner_stream(
    state: web::Data<AppState>,
    ServedVersion(tagger): ServedVersion,
    request: HttpRequest,
    payload: web::Payload,
) -> Result<HttpResponse, ApiError> {
    if !declares_lines(&request) {
        return Err(ApiError::NotJsonLines);
    }
    let options = options_of_query(request.query_string())?;
    let reading = options.reading();
    let view = options.view(&tagger.model().labels)?;
    match tagger.readiness() {
        Readiness::Ready => {}
        not_ready @ (Readiness::Starting
        | Readiness::NoWorker
        | Readiness::TextThreadsStuck
        | Readiness::Draining) => {
            return Err(ApiError::Tag(TagError::NotReady(not_ready)));
        }
    }
    let answers = tag_lines(
        Arc::clone(&tagger),
        IdleTimeout::new(payload, Duration::from_millis(state.config.idle_timeout_ms)),
        LineFormat::Ndjson,
        reading,
        state.bulk,
    );
    let metrics = Arc::clone(&state.metrics);
    let written = answers.map(move |group| write(&tagger, &metrics, &group.map_err(cut)?, &view));
    Ok(HttpResponse::Ok().content_type(JSON_LINES).streaming(written))
}

/// The answer lines of a group.
fn write(
    tagger: &Tagger,
    metrics: &HttpMetrics,
    group: &[TaggedLine],
    view: &AnswerOptions,
) -> Result<Bytes, Error> {
    let began = Instant::now();
    let mut lines = Vec::new();
    for answered in group {
        let (line, refusal) = StreamLine::new(tagger, answered, view);
        metrics.refused(refusal);
        serde_json::to_writer(&mut lines, &line)?;
        lines.push(b'\n');
    }
    tagger.metrics().decoded(began.elapsed());
    Ok(lines.into())
}

/// The response's head has been sent, so that only closing the connection can show that the answer is incomplete.
fn cut(cut: BulkError<PayloadError>) -> Error {
    match cut {
        BulkError::Input(error) => error.into(),
        BulkError::Stopping => ErrorServiceUnavailable("the server is stopping"),
    }
}
