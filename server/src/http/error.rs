//! The errors of the API: status, code and message.

use std::time::Duration;

use actix_web::http::StatusCode;
use actix_web::http::header::{ALLOW, RETRY_AFTER, WWW_AUTHENTICATE};
use actix_web::{HttpRequest, HttpResponse, ResponseError};
use nerve_engine::{
    LineError, MemoryError, PrepareError, Readiness, Refusal, RequestError, SubmitError, TagError,
};
use serde::Serialize;
use thiserror::Error;
use utoipa::ToSchema;

use crate::http::coding::{Coding, UnknownCoding, accepted_header};
use crate::http::shown::shown;

/// `Retry-After` in seconds for refusals without an estimate.
const RETRY_AFTER_SECONDS: u32 = 1;

/// Why a request, or one text of a batch, is not answered.
#[derive(Debug, Error)]
pub(crate) enum ApiError {
    /// The path is no route.
    #[error("no route `{}`; see /openapi.json", shown(path))]
    NotFound {
        /// The path of the request.
        path: String,
    },
    /// The route does not take the method.
    #[error("the route takes {allow}")]
    MethodNotAllowed {
        /// The methods of the route.
        allow: &'static str,
    },
    /// The body is not declared to be JSON.
    #[error("the body must be JSON, declared with `content-type: application/json`")]
    UnsupportedMediaType,
    /// The body is not declared to be JSON lines.
    #[error("the body must be JSON lines, declared with `content-type: application/x-ndjson`")]
    NotJsonLines,
    /// The body has an unknown content coding, or several.
    #[error("`content-encoding` must be one of {}, or identity", Coding::NAMES)]
    UnsupportedEncoding,
    /// The body does not have the declared content coding, or ends early.
    #[error("the body is not valid {coding}, as `content-encoding` declares")]
    BodyCorrupt {
        /// The declared coding.
        coding: Coding,
    },
    /// The body ended early, or its framing is broken.
    #[error("the body could not be read to its end")]
    BodyUnreadable,
    /// The body exceeds the limit.
    #[error("the body has more than {limit} bytes, decompressed (--max-body-bytes)")]
    BodyTooLarge {
        /// The limit in bytes.
        limit: usize,
    },
    /// The body did not arrive in time.
    #[error("the body did not arrive within {} ms (--read-timeout-ms)", limit.as_millis())]
    BodyTooSlow {
        /// The limit.
        limit: Duration,
    },
    /// The budget has no memory for the request or its answer.
    #[error(transparent)]
    Memory(#[from] MemoryError),
    /// The web framework refused the request, or failed.
    #[error("{}", shown_framework(*status, problem))]
    Framework {
        /// The status that the framework gives.
        status: StatusCode,
        /// The framework's message.
        problem: String,
    },
    /// There is no answer before the deadline.
    #[error(
        "no answer within {} ms (the client's timeout, at most --request-timeout-ms)",
        limit.as_secs_f64() * 1e3
    )]
    DeadlineExceeded {
        /// The client's timeout, or the server's.
        limit: Duration,
    },
    /// The client's timeout is invalid.
    #[error("`x-request-timeout-ms` must be a whole number of milliseconds, at least 1")]
    TimeoutHeader,
    /// The request needs a key, and has none or an unknown one.
    #[error("a valid key is needed, as `authorization: Bearer KEY` or `x-api-key: KEY`")]
    Unauthorized,
    /// The request needs an admin key, and none is configured.
    #[error("no admin key is configured (--admin-keys-file)")]
    NoAdminKeys,
    /// The version was not changed.
    #[error("the version was not changed: {problem}")]
    NotReloaded {
        /// The reason.
        problem: String,
    },
    /// A batch has too many texts.
    #[error("the batch has {texts} texts; the limit is {limit} (--max-texts-per-batch)")]
    TooManyTexts {
        /// The number of texts.
        texts: usize,
        /// The limit.
        limit: usize,
    },
    /// The request is invalid.
    #[error("{}", shown_request(.0))]
    Request(#[from] RequestError),
    /// The parameters of the Hugging Face pipeline are invalid.
    #[error(transparent)]
    Classify(#[from] ClassifyError),
    /// The engine did not tag the text.
    #[error(transparent)]
    Tag(#[from] TagError),
    /// The metrics cannot be written.
    #[error("the metrics could not be written")]
    Metrics,
    /// The answer cannot be written.
    #[error("the answer could not be written")]
    Unwritable,
}

/// Why the parameters of the Hugging Face pipeline are invalid.
#[derive(Debug, PartialEq, Eq, Error)]
pub(crate) enum ClassifyError {
    /// There is no text.
    #[error("`inputs` is an empty list; give at least one text")]
    NoInputs,
    /// Consecutive chunks would not advance.
    #[error(
        "`stride` is {stride}; it must be less than {limit}, the model's longest sequence less its special tokens"
    )]
    Stride {
        /// As given.
        stride: usize,
        /// Tokens of a chunk.
        limit: usize,
    },
    /// Chunks of tokens cannot be merged without aggregation.
    #[error("`stride` needs an `aggregation_strategy` other than `none`")]
    StrideWithoutAggregation,
}

/// The body of every error.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ErrorBody {
    error: ErrorDetail,
}

/// What went wrong.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ErrorDetail {
    /// A stable identifier of the error, for programs.
    #[schema(example = "invalid_request")]
    code: &'static str,
    /// What happened, in words.
    message: String,
}

/// How an error is answered and counted.
struct ErrorResponse {
    status: StatusCode,
    /// The code, which never changes.
    code: &'static str,
    /// The reason under which the error is counted, if it is a refusal because of load or limits.
    refusal: Option<Refusal>,
}

impl ErrorResponse {
    fn failed(status: StatusCode, code: &'static str) -> Self {
        Self {
            status,
            code,
            refusal: None,
        }
    }

    fn refused(status: StatusCode, code: &'static str, reason: Refusal) -> Self {
        Self {
            status,
            code,
            refusal: Some(reason),
        }
    }

    fn of_request(error: &RequestError) -> Self {
        match error {
            RequestError::Malformed { .. } => Self::failed(StatusCode::BAD_REQUEST, "malformed_json"),
            RequestError::Shape { .. }
            | RequestError::Id
            | RequestError::NoText
            | RequestError::TextAndWords
            | RequestError::Threshold { .. }
            | RequestError::UnknownLabel { .. } => {
                Self::failed(StatusCode::UNPROCESSABLE_ENTITY, "invalid_request")
            }
        }
    }

    fn of_tag(error: &TagError) -> Self {
        let (status, code) = match error {
            TagError::NotReady(Readiness::Starting) => (StatusCode::SERVICE_UNAVAILABLE, "starting"),
            TagError::NotReady(Readiness::NoWorker | Readiness::Ready)
            | TagError::Queue(SubmitError::NoWorker) => (StatusCode::SERVICE_UNAVAILABLE, "no_worker"),
            TagError::NotReady(Readiness::TextThreadsStuck) => {
                (StatusCode::SERVICE_UNAVAILABLE, "tokenizer_stuck")
            }
            TagError::NotReady(Readiness::Draining) | TagError::Queue(SubmitError::Closed) => {
                (StatusCode::SERVICE_UNAVAILABLE, "draining")
            }
            TagError::TextThreadsFull
            | TagError::Queue(SubmitError::WindowsFull { .. } | SubmitError::TokensFull { .. }) => {
                (StatusCode::TOO_MANY_REQUESTS, "overloaded")
            }
            TagError::Queue(SubmitError::NeverFits) => (StatusCode::PAYLOAD_TOO_LARGE, "request_too_large"),
            TagError::Text(PrepareError::TextTooLong { .. }) => {
                (StatusCode::PAYLOAD_TOO_LARGE, "text_too_large")
            }
            TagError::Text(PrepareError::TooManyWords { .. }) => {
                (StatusCode::PAYLOAD_TOO_LARGE, "too_many_words")
            }
            TagError::Text(PrepareError::TooManyWindows { .. }) => {
                (StatusCode::PAYLOAD_TOO_LARGE, "text_too_long")
            }
            TagError::Text(PrepareError::Tokenizer(_)) | TagError::PrepareFailed => {
                (StatusCode::INTERNAL_SERVER_ERROR, "tokenizer_failed")
            }
            TagError::InferenceFailed => (StatusCode::INTERNAL_SERVER_ERROR, "inference_failed"),
        };
        Self {
            status,
            code,
            refusal: error.refusal(),
        }
    }

    fn of_line(error: &LineError) -> Self {
        match error {
            LineError::TooLong { .. } => Self::refused(
                StatusCode::PAYLOAD_TOO_LARGE,
                "line_too_large",
                Refusal::LineBytes,
            ),
            LineError::NeverFits { .. } => Self::refused(
                StatusCode::PAYLOAD_TOO_LARGE,
                "request_too_large",
                Refusal::BodyMemory,
            ),
            LineError::Encoding(_) => Self::failed(StatusCode::BAD_REQUEST, "invalid_utf8"),
            LineError::Request(error) => Self::of_request(error),
            LineError::Tag(error) => Self::of_tag(error),
        }
    }

    fn of(error: &ApiError) -> Self {
        match error {
            ApiError::NotFound { .. } => Self::failed(StatusCode::NOT_FOUND, "not_found"),
            ApiError::MethodNotAllowed { .. } => {
                Self::failed(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed")
            }
            ApiError::UnsupportedMediaType | ApiError::NotJsonLines | ApiError::UnsupportedEncoding => {
                Self::failed(StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported_media_type")
            }
            ApiError::BodyUnreadable | ApiError::BodyCorrupt { .. } => {
                Self::failed(StatusCode::BAD_REQUEST, "unreadable_body")
            }
            ApiError::BodyTooLarge { .. } => Self::refused(
                StatusCode::PAYLOAD_TOO_LARGE,
                "body_too_large",
                Refusal::BodyBytes,
            ),
            ApiError::BodyTooSlow { .. } => {
                Self::refused(StatusCode::REQUEST_TIMEOUT, "body_too_slow", Refusal::BodySlow)
            }
            ApiError::Memory(MemoryError::Full) => {
                Self::refused(StatusCode::TOO_MANY_REQUESTS, "overloaded", Refusal::BodyMemory)
            }
            ApiError::Memory(MemoryError::NeverFits { .. }) => Self::refused(
                StatusCode::PAYLOAD_TOO_LARGE,
                "request_too_large",
                Refusal::BodyMemory,
            ),
            ApiError::Framework { status, .. } if status.is_client_error() => {
                Self::failed(*status, "bad_request")
            }
            ApiError::Framework { .. } => Self::failed(StatusCode::INTERNAL_SERVER_ERROR, "internal"),
            ApiError::DeadlineExceeded { .. } => {
                Self::failed(StatusCode::GATEWAY_TIMEOUT, "deadline_exceeded")
            }
            ApiError::TimeoutHeader => Self::failed(StatusCode::BAD_REQUEST, "invalid_timeout"),
            ApiError::Unauthorized | ApiError::NoAdminKeys => {
                Self::refused(StatusCode::UNAUTHORIZED, "unauthorized", Refusal::Key)
            }
            ApiError::NotReloaded { .. } => Self::failed(StatusCode::CONFLICT, "not_reloaded"),
            ApiError::TooManyTexts { .. } => {
                Self::refused(StatusCode::PAYLOAD_TOO_LARGE, "too_many_texts", Refusal::Texts)
            }
            ApiError::Request(error) => Self::of_request(error),
            ApiError::Classify(_) => Self::failed(StatusCode::UNPROCESSABLE_ENTITY, "invalid_request"),
            ApiError::Tag(error) => Self::of_tag(error),
            ApiError::Metrics | ApiError::Unwritable => {
                Self::failed(StatusCode::INTERNAL_SERVER_ERROR, "internal")
            }
        }
    }
}

impl ErrorBody {
    /// The body of a line's error, and the reason under which it is counted as a refusal.
    pub(crate) fn of_line(error: &LineError) -> (Self, Option<Refusal>) {
        let ErrorResponse { code, refusal, .. } = ErrorResponse::of_line(error);
        let message = match error {
            LineError::Request(error) => shown_request(error),
            other => other.to_string(),
        };
        let error = ErrorDetail { code, message };
        (Self { error }, refusal)
    }
}

impl ApiError {
    /// The error of a request whose path is no route.
    pub(crate) fn not_found(request: &HttpRequest) -> Self {
        Self::NotFound {
            path: request.path().to_owned(),
        }
    }

    /// The reason under which the error is counted as a refusal.
    pub(crate) fn refusal(&self) -> Option<Refusal> {
        ErrorResponse::of(self).refusal
    }

    /// Seconds after which the client may retry; absent if a retry would fail the same way.
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

    /// The body of the response.
    pub(crate) fn body(&self) -> ErrorBody {
        ErrorBody {
            error: ErrorDetail {
                code: ErrorResponse::of(self).code,
                message: self.to_string(),
            },
        }
    }
}

impl ResponseError for ApiError {
    fn status_code(&self) -> StatusCode {
        ErrorResponse::of(self).status
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
        if let Self::UnsupportedEncoding = self {
            response.insert_header(accepted_header());
        }
        response.json(self.body())
    }
}

impl From<UnknownCoding> for ApiError {
    fn from(UnknownCoding: UnknownCoding) -> Self {
        Self::UnsupportedEncoding
    }
}

/// Answers a path that is no route.
pub(crate) async fn no_such_route(request: HttpRequest) -> Result<HttpResponse, ApiError> {
    Err(ApiError::not_found(&request))
}

/// Answers a method that the route does not take.
pub(crate) async fn wrong_method(allow: &'static str) -> Result<HttpResponse, ApiError> {
    Err(ApiError::MethodNotAllowed { allow })
}

/// The message of an invalid request, with the beginning of the parser's message.
fn shown_request(error: &RequestError) -> String {
    match error {
        RequestError::Malformed { problem } => RequestError::Malformed {
            problem: shown(problem),
        }
        .to_string(),
        other => shown(other),
    }
}

/// The message of an error of the framework. That of a failure may name what is inside the server.
fn shown_framework(status: StatusCode, problem: &str) -> String {
    match status.is_client_error() {
        true => shown(problem),
        false => "the request could not be answered".to_owned(),
    }
}

#[cfg(test)]
mod tests;
