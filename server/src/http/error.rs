//! Everything that can go wrong with a request, as a status, a code and a message.

use std::time::Duration;

use actix_web::http::StatusCode;
use actix_web::http::header::{ALLOW, RETRY_AFTER, WWW_AUTHENTICATE};
use actix_web::{HttpResponse, ResponseError};
use serde::Serialize;
use thiserror::Error;
use utoipa::ToSchema;

use crate::health::Readiness;
use crate::pipeline::{PrepareError, TagError};
use crate::scheduler::SubmitError;

/// Seconds after which a client may try again that was refused for something that no rate tells the end of.
const RETRY_AFTER_SECONDS: u32 = 1;
/// How much of a parser's message, which may quote the request, is repeated.
const SHOWN_CHARS: usize = 300;

/// Why a request, or one text of a batch, is not answered.
#[derive(Debug)]
pub(crate) enum ApiError {
    /// No such path.
    NotFound,
    /// Another method is needed.
    MethodNotAllowed {
        /// The methods the path takes.
        allow: &'static str,
    },
    /// The body is not declared to be JSON.
    UnsupportedMediaType,
    /// The body is not declared to be JSON lines.
    NotJsonLines,
    /// The body ended early or its framing is broken.
    BodyUnreadable,
    /// The body is longer than is taken.
    BodyTooLarge {
        /// The limit in bytes.
        limit: usize,
    },
    /// The body did not arrive in time.
    BodyTooSlow {
        /// The limit.
        limit: Duration,
    },
    /// The bodies of other requests take all the memory there is for them.
    BodiesFull,
    /// There is no answer in time.
    DeadlineExceeded {
        /// How long the client, or the server, was ready to wait.
        limit: Duration,
    },
    /// The time the client is ready to wait is none.
    TimeoutHeader,
    /// A key is needed, and the request has none or another.
    Unauthorized,
    /// An admin key is needed, and none is configured.
    NoAdminKeys,
    /// Another version was asked for and is not served.
    NotReloaded {
        /// Why not.
        problem: String,
    },
    /// A line is longer than is taken.
    LineTooLong {
        /// The limit in bytes.
        limit: usize,
    },
    /// A line is not UTF-8.
    NotUtf8 {
        /// How many bytes are.
        at: usize,
    },
    /// The body is not JSON.
    MalformedJson {
        /// What the parser said.
        problem: String,
    },
    /// A batch has more texts than are taken.
    TooManyTexts {
        /// How many it has.
        texts: usize,
        /// The limit.
        limit: usize,
    },
    /// The body is JSON but no request.
    Invalid(InvalidRequest),
    /// The pipeline did not tag the text.
    Tag(TagError),
    /// The metrics cannot be written.
    Metrics,
    /// The answer cannot be written.
    Unwritable,
}

/// JSON that is no request.
#[derive(Debug, Error)]
pub(crate) enum InvalidRequest {
    /// A field is missing, unknown or of the wrong type.
    #[error("{problem}")]
    Shape {
        /// What the parser said.
        problem: String,
    },
    /// A line's name is neither text nor number.
    #[error("`id` must be a string or a number")]
    Id,
    /// There is nothing to tag.
    #[error("give either `text` or `words`")]
    NoText,
    /// It is unclear what to tag.
    #[error("give either `text` or `words`, not both")]
    TextAndWords,
    /// The threshold is no probability.
    #[error("`threshold` is {threshold}; it must be between 0 and 1")]
    Threshold {
        /// As given.
        threshold: f64,
    },
    /// There is no text to classify.
    #[error("`inputs` is an empty list; give at least one text")]
    NoInputs,
    /// The chunks of a text would not move on.
    #[error(
        "`stride` is {stride}; it must be less than {limit}, the model's longest sequence less its special tokens"
    )]
    Stride {
        /// As given.
        stride: usize,
        /// Tokens of a chunk.
        limit: usize,
    },
    /// Overlapping chunks of tokens are not put together.
    #[error("`stride` needs an `aggregation_strategy` other than `none`")]
    StrideWithoutAggregation,
    /// An entity type the model does not know.
    #[error("`labels` has `{label}`; the model knows {}", known.join(", "))]
    UnknownLabel {
        /// As given.
        label: String,
        /// The model's entity types.
        known: Vec<String>,
    },
}

/// The body of every error.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ErrorBody {
    error: ErrorDetail,
}

/// What went wrong.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ErrorDetail {
    /// For programs; never changes.
    #[schema(example = "invalid_request")]
    code: &'static str,
    /// For people.
    message: String,
}

struct Meaning {
    status: StatusCode,
    code: &'static str,
    message: String,
    /// The reason under which it is counted, if it is a refusal because of load or limits.
    refusal: Option<&'static str>,
}

impl ApiError {
    /// The reasons of refusals.
    pub(crate) const REFUSALS: [&str; 15] = [
        "key",
        "body_bytes",
        "body_slow",
        "line_bytes",
        "texts",
        "text_bytes",
        "words",
        "windows",
        "queue_windows",
        "queue_tokens",
        "queue_never",
        "tokenizer",
        "starting",
        "no_worker",
        "draining",
    ];

    /// The reason of the refusal, one of [`Self::REFUSALS`], where the error is one.
    pub(crate) fn refusal(&self) -> Option<&'static str> {
        self.meaning().refusal
    }

    /// Seconds after which the client may try again; absent where it would fare no better.
    pub(crate) fn retry_after(&self) -> Option<u32> {
        match self {
            Self::Tag(TagError::Queue(
                SubmitError::WindowsFull { retry_after } | SubmitError::TokensFull { retry_after },
            )) => Some(*retry_after),
            _ => match self.status_code() {
                StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE => Some(RETRY_AFTER_SECONDS),
                _ => None,
            },
        }
    }

    /// The error as a client reads it.
    pub(crate) fn body(&self) -> ErrorBody {
        let Meaning { code, message, .. } = self.meaning();
        ErrorBody {
            error: ErrorDetail { code, message },
        }
    }

    fn meaning(&self) -> Meaning {
        let meaning = |status, code, message: String| Meaning {
            status,
            code,
            message,
            refusal: None,
        };
        let refused = |status, code, reason, message: String| Meaning {
            status,
            code,
            message,
            refusal: Some(reason),
        };
        let not_ready = |readiness: Readiness| match readiness {
            Readiness::Starting => ("starting", "the model is not ready yet"),
            Readiness::NoWorker | Readiness::Ready => {
                ("no_worker", "no worker can run the model; they are restarting")
            }
            Readiness::Draining => ("draining", "the server is stopping"),
        };
        let unavailable = |readiness| {
            let (reason, message) = not_ready(readiness);
            refused(
                StatusCode::SERVICE_UNAVAILABLE,
                reason,
                reason,
                message.to_owned(),
            )
        };
        match self {
            Self::NotFound => meaning(StatusCode::NOT_FOUND, "not_found", "no such path".to_owned()),
            Self::MethodNotAllowed { allow } => meaning(
                StatusCode::METHOD_NOT_ALLOWED,
                "method_not_allowed",
                format!("the path takes {allow}"),
            ),
            Self::UnsupportedMediaType => meaning(
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                "unsupported_media_type",
                "the body must be unencoded JSON, declared with `content-type: application/json`".to_owned(),
            ),
            Self::NotJsonLines => meaning(
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                "unsupported_media_type",
                "the body must be unencoded JSON lines, declared with `content-type: application/x-ndjson`"
                    .to_owned(),
            ),
            Self::BodyUnreadable => meaning(
                StatusCode::BAD_REQUEST,
                "unreadable_body",
                "the body could not be read to its end".to_owned(),
            ),
            Self::BodyTooLarge { limit } => refused(
                StatusCode::PAYLOAD_TOO_LARGE,
                "body_too_large",
                "body_bytes",
                format!("the body has more than {limit} bytes (--max-body-bytes)"),
            ),
            Self::BodyTooSlow { limit } => refused(
                StatusCode::REQUEST_TIMEOUT,
                "body_too_slow",
                "body_slow",
                format!(
                    "the body did not arrive within {} ms (--read-timeout-ms)",
                    limit.as_millis()
                ),
            ),
            Self::BodiesFull => refused(
                StatusCode::TOO_MANY_REQUESTS,
                "overloaded",
                "body_memory",
                "the requests that are being answered are too large for another (--max-inflight-bytes)"
                    .to_owned(),
            ),
            Self::DeadlineExceeded { limit } => meaning(
                StatusCode::GATEWAY_TIMEOUT,
                "deadline_exceeded",
                format!(
                    "no answer within {} ms (x-request-timeout-ms, at most --request-timeout-ms)",
                    limit.as_millis()
                ),
            ),
            Self::TimeoutHeader => meaning(
                StatusCode::BAD_REQUEST,
                "invalid_timeout",
                "`x-request-timeout-ms` must be a whole number of milliseconds, at least 1".to_owned(),
            ),
            Self::Unauthorized => refused(
                StatusCode::UNAUTHORIZED,
                "unauthorized",
                "key",
                "a valid key is needed, as `authorization: Bearer KEY` or `x-api-key: KEY`".to_owned(),
            ),
            Self::NoAdminKeys => refused(
                StatusCode::UNAUTHORIZED,
                "unauthorized",
                "key",
                "no orders are taken: no admin key is configured (--admin-keys-file)".to_owned(),
            ),
            Self::NotReloaded { problem } => meaning(
                StatusCode::CONFLICT,
                "not_reloaded",
                format!("no other version is served: {problem}"),
            ),
            Self::LineTooLong { limit } => refused(
                StatusCode::PAYLOAD_TOO_LARGE,
                "line_too_large",
                "line_bytes",
                format!("the line has more than {limit} bytes (--max-line-bytes)"),
            ),
            Self::NotUtf8 { at } => meaning(
                StatusCode::BAD_REQUEST,
                "invalid_utf8",
                format!("not UTF-8 after {at} bytes"),
            ),
            Self::MalformedJson { problem } => meaning(
                StatusCode::BAD_REQUEST,
                "malformed_json",
                format!("not JSON: {}", shown(problem)),
            ),
            Self::TooManyTexts { texts, limit } => refused(
                StatusCode::PAYLOAD_TOO_LARGE,
                "too_many_texts",
                "texts",
                format!("the batch has {texts} texts; at most {limit} are taken (--max-texts-per-batch)"),
            ),
            Self::Invalid(invalid) => meaning(
                StatusCode::UNPROCESSABLE_ENTITY,
                "invalid_request",
                shown(&invalid.to_string()),
            ),
            Self::Tag(TagError::NotReady(readiness)) => unavailable(*readiness),
            Self::Tag(TagError::TextThreadsFull) => refused(
                StatusCode::TOO_MANY_REQUESTS,
                "overloaded",
                "tokenizer",
                "too many requests wait to be tokenised".to_owned(),
            ),
            Self::Tag(TagError::Queue(reason)) => match reason {
                SubmitError::WindowsFull { .. } => refused(
                    StatusCode::TOO_MANY_REQUESTS,
                    "overloaded",
                    "queue_windows",
                    "too many texts wait for the model".to_owned(),
                ),
                SubmitError::TokensFull { .. } => refused(
                    StatusCode::TOO_MANY_REQUESTS,
                    "overloaded",
                    "queue_tokens",
                    "too many tokens wait for the model".to_owned(),
                ),
                SubmitError::NeverFits => refused(
                    StatusCode::PAYLOAD_TOO_LARGE,
                    "request_too_large",
                    "queue_never",
                    "a window of the encoder has more tokens than can wait (--queue-tokens)".to_owned(),
                ),
                SubmitError::NoWorker => unavailable(Readiness::NoWorker),
                SubmitError::Closed => unavailable(Readiness::Draining),
            },
            Self::Tag(TagError::Text(error)) => match error {
                PrepareError::TextTooLong { .. } => refused(
                    StatusCode::PAYLOAD_TOO_LARGE,
                    "text_too_large",
                    "text_bytes",
                    error.to_string(),
                ),
                PrepareError::TooManyWords { .. } => refused(
                    StatusCode::PAYLOAD_TOO_LARGE,
                    "too_many_words",
                    "words",
                    error.to_string(),
                ),
                PrepareError::TooManyWindows { .. } => refused(
                    StatusCode::PAYLOAD_TOO_LARGE,
                    "text_too_long",
                    "windows",
                    error.to_string(),
                ),
                // The tokenizer's own words may quote the text or a path.
                PrepareError::Encoder(_) => meaning(
                    StatusCode::INTERNAL_SERVER_ERROR,
                    "tokenizer_failed",
                    "the text could not be tokenised".to_owned(),
                ),
            },
            Self::Tag(TagError::PrepareFailed) => meaning(
                StatusCode::INTERNAL_SERVER_ERROR,
                "tokenizer_failed",
                "the text could not be tokenised".to_owned(),
            ),
            Self::Tag(TagError::InferenceFailed) => meaning(
                StatusCode::INTERNAL_SERVER_ERROR,
                "inference_failed",
                "the model could not be run on the text".to_owned(),
            ),
            Self::Metrics => meaning(
                StatusCode::INTERNAL_SERVER_ERROR,
                "internal",
                "the metrics could not be written".to_owned(),
            ),
            Self::Unwritable => meaning(
                StatusCode::INTERNAL_SERVER_ERROR,
                "internal",
                "the answer could not be written".to_owned(),
            ),
        }
    }
}

impl std::fmt::Display for ApiError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.meaning().message)
    }
}

impl ResponseError for ApiError {
    fn status_code(&self) -> StatusCode {
        self.meaning().status
    }

    fn error_response(&self) -> HttpResponse {
        let status = self.status_code();
        let mut response = HttpResponse::build(status);
        if let Some(seconds) = self.retry_after() {
            response.insert_header((RETRY_AFTER, seconds));
        }
        if status == StatusCode::UNAUTHORIZED {
            response.insert_header((WWW_AUTHENTICATE, "Bearer"));
        }
        if let Self::MethodNotAllowed { allow } = self {
            response.insert_header((ALLOW, *allow));
        }
        response.json(self.body())
    }
}

/// The answer to a path that is no route.
pub(crate) async fn no_such_route() -> Result<HttpResponse, ApiError> {
    Err(ApiError::NotFound)
}

/// The answer to a method that the path does not take.
pub(crate) async fn wrong_method(allow: &'static str) -> Result<HttpResponse, ApiError> {
    Err(ApiError::MethodNotAllowed { allow })
}

fn shown(message: &str) -> String {
    match message.char_indices().nth(SHOWN_CHARS) {
        Some((end, _)) => format!("{}…", &message[..end]),
        None => message.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn each_error_has_its_status_and_code() {
        let queue = |reason| ApiError::Tag(TagError::Queue(reason));
        let text = |error| ApiError::Tag(TagError::Text(error));
        let cases = [
            (ApiError::NotFound, 404, "not_found"),
            (
                ApiError::MethodNotAllowed { allow: "GET" },
                405,
                "method_not_allowed",
            ),
            (ApiError::UnsupportedMediaType, 415, "unsupported_media_type"),
            (ApiError::NotJsonLines, 415, "unsupported_media_type"),
            (ApiError::BodyUnreadable, 400, "unreadable_body"),
            (ApiError::LineTooLong { limit: 1 }, 413, "line_too_large"),
            (ApiError::NotUtf8 { at: 1 }, 400, "invalid_utf8"),
            (ApiError::BodyTooLarge { limit: 1 }, 413, "body_too_large"),
            (
                ApiError::MalformedJson {
                    problem: String::new(),
                },
                400,
                "malformed_json",
            ),
            (
                ApiError::TooManyTexts { texts: 2, limit: 1 },
                413,
                "too_many_texts",
            ),
            (ApiError::Invalid(InvalidRequest::NoText), 422, "invalid_request"),
            (
                ApiError::Tag(TagError::NotReady(Readiness::Starting)),
                503,
                "starting",
            ),
            (
                ApiError::Tag(TagError::NotReady(Readiness::Draining)),
                503,
                "draining",
            ),
            (ApiError::Tag(TagError::TextThreadsFull), 429, "overloaded"),
            (
                queue(SubmitError::WindowsFull { retry_after: 3 }),
                429,
                "overloaded",
            ),
            (
                queue(SubmitError::TokensFull { retry_after: 3 }),
                429,
                "overloaded",
            ),
            (ApiError::BodyTooSlow { limit: SECOND }, 408, "body_too_slow"),
            (
                ApiError::DeadlineExceeded { limit: SECOND },
                504,
                "deadline_exceeded",
            ),
            (ApiError::TimeoutHeader, 400, "invalid_timeout"),
            (ApiError::Unauthorized, 401, "unauthorized"),
            (ApiError::NoAdminKeys, 401, "unauthorized"),
            (
                ApiError::NotReloaded {
                    problem: String::new(),
                },
                409,
                "not_reloaded",
            ),
            (
                text(PrepareError::TooManyWords { limit: 1 }),
                413,
                "too_many_words",
            ),
            (queue(SubmitError::NeverFits), 413, "request_too_large"),
            (queue(SubmitError::NoWorker), 503, "no_worker"),
            (queue(SubmitError::Closed), 503, "draining"),
            (
                text(PrepareError::TextTooLong { bytes: 2, limit: 1 }),
                413,
                "text_too_large",
            ),
            (
                text(PrepareError::TooManyWindows { windows: 2, limit: 1 }),
                413,
                "text_too_long",
            ),
            (ApiError::Tag(TagError::PrepareFailed), 500, "tokenizer_failed"),
            (ApiError::Tag(TagError::InferenceFailed), 500, "inference_failed"),
            (ApiError::Metrics, 500, "internal"),
            (ApiError::Unwritable, 500, "internal"),
        ];
        for (error, status, code) in cases {
            let response = error.error_response();
            assert_eq!(
                (response.status().as_u16(), error.body().error.code),
                (status, code),
                "{error:?}"
            );
            assert_eq!(
                response.headers().contains_key(RETRY_AFTER),
                matches!(status, 429 | 503),
                "{error:?}"
            );
            assert!(
                error
                    .refusal()
                    .is_none_or(|reason| ApiError::REFUSALS.contains(&reason)),
                "{error:?}"
            );
        }
    }

    #[test]
    fn a_long_message_is_cut_at_a_character() {
        let message = shown(&"é".repeat(SHOWN_CHARS + 1));
        assert_eq!(message.chars().count(), SHOWN_CHARS + 1);
        assert!(message.ends_with('…'));
    }
}
