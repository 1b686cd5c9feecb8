//! `POST /ner/stream`: JSON lines in, JSON lines out.

use std::sync::Arc;
use std::time::Duration;

use actix_web::web::Bytes;
use actix_web::{HttpRequest, HttpResponse, web};
use futures_util::stream::{self, Stream};
use futures_util::{StreamExt, TryStreamExt};
use nerve_engine::{
    Answer, AnswerOptions, BulkError, LineFormat, Readiness, Refusal, TagError, TagOptions, TaggedGroup,
    TaggedLine, Tagger, name_schema, tag_lines,
};
use serde::Serialize;
use serde_json::value::RawValue;
use thiserror::Error;
use utoipa::ToSchema;

use crate::http::answer::{AnswerChunks, WrittenAnswer, members, text, write_parts};
use crate::http::body::declares_lines;
use crate::http::coding::Coding;
use crate::http::decompress::{BodyError, BodyStream};
use crate::http::error::{ApiError, ErrorBody};
use crate::http::idle::IdleTimeout;
use crate::http::metrics::{CLIENT_LEFT, HttpMetrics};
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
    ) -> (Self, Option<Refusal>) {
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
        (status = 415, description = "The body is not declared to be JSON lines, or has an unknown content encoding", body = ErrorBody),
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
    let coding = Coding::of_body(request.headers())?;
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
    let idle = Duration::from_millis(state.config.idle_timeout_ms);
    let answers = tag_lines(
        Arc::clone(&tagger),
        BodyStream::new(IdleTimeout::new(payload, idle), coding),
        LineFormat::Ndjson,
        reading,
        state.bulk,
        state.memory.clone(),
    );
    let (metrics, view) = (Arc::clone(&state.metrics), Arc::new(view));
    let written = answers.then(move |group| {
        let (tagger, metrics, view) = (Arc::clone(&tagger), Arc::clone(&metrics), Arc::clone(&view));
        async move { write(&tagger, &metrics, group.map_err(|error| cut(&error))?, &view).await }
    });
    let chunks = written.map_ok(chunks).try_flatten();
    Ok(HttpResponse::Ok().content_type(JSON_LINES).streaming(chunks))
}

/// The answer lines of a group. They overdraw the budget of memory by what they need beyond the estimate for the group; no
/// other group of the stream does meanwhile, since the next one is written when the last byte of this one is taken.
async fn write(
    tagger: &Arc<Tagger>,
    metrics: &HttpMetrics,
    group: TaggedGroup,
    view: &Arc<AnswerOptions>,
) -> Result<WrittenAnswer, StreamCut> {
    let (mut parts, mut words, mut bytes) = (Vec::new(), 0, 0);
    for TaggedLine { number, id, outcome } in group.lines {
        let id = id.map_or_else(String::new, |id| format!("\"id\":{id},"));
        match outcome {
            Ok(tagged) => {
                words += tagged.words.spans.len();
                bytes += tagged.bytes();
                parts.push(text(format!("{{{id}\"line\":{number},")));
                parts.push(members(tagger, tagged, view));
                parts.push(text("}\n"));
            }
            Err(error) => {
                let (error, refusal) = ErrorBody::of_line(&error);
                metrics.refused(refusal);
                let error = serde_json::to_string(&error).map_err(|_| StreamCut::FAILED)?;
                let members = error.strip_prefix('{').unwrap_or_default();
                parts.push(text(format!("{{{id}\"line\":{number},{members}\n")));
            }
        }
    }
    let chunks = AnswerChunks::overdrawing(group.permit, bytes);
    let written = write_parts(tagger, words, chunks, parts).await;
    let written = written.and_then(AnswerChunks::finish);
    written.map_err(|_| StreamCut::FAILED)
}

/// The chunks of a group's answer.
fn chunks(answer: WrittenAnswer) -> impl Stream<Item = Result<Bytes, StreamCut>> {
    stream::unfold(answer, |mut answer| async {
        let chunk = answer.next_chunk()?;
        Some((Ok(chunk), answer))
    })
}

/// Why an answer ends early. Its head has been sent, so that only closing the connection can show that it is incomplete.
#[derive(Debug, Error)]
#[error("the stream was cut with status {status}")]
pub(crate) struct StreamCut {
    /// The status under which the request is counted.
    pub(crate) status: u16,
}

impl StreamCut {
    const FAILED: Self = Self { status: 500 };
}

fn cut(cut: &BulkError<BodyError>) -> StreamCut {
    match cut {
        // The client left, sent nothing for too long, or sent what cannot be decompressed.
        BulkError::Input(_) => StreamCut { status: CLIENT_LEFT },
        BulkError::Stopping => StreamCut { status: 503 },
    }
}
