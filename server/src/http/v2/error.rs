//! Errors in the format of the protocol.

use actix_web::http::StatusCode;
use actix_web::http::header::{ALLOW, RETRY_AFTER, WWW_AUTHENTICATE};
use actix_web::{HttpRequest, HttpResponse, ResponseError};
use nerve_engine::{RequestError, TagError};
use serde::Serialize;
use thiserror::Error;
use utoipa::ToSchema;

use crate::http::coding::accepted_header;
use crate::http::error::ApiError;
use crate::http::shown::{quoted, shown};
use crate::http::v2::tensor::TensorError;

/// Why a `/v2` request is not answered.
#[derive(Debug, Error)]
pub(crate) enum V2Error {
    /// An error that other routes have too.
    #[error("{0}")]
    Api(ApiError),
    /// The path names another model.
    #[error("no such model; the model is `{known}`")]
    UnknownModel {
        /// The model that is served.
        known: String,
    },
    /// The path names another version.
    #[error("no such version; the version is `{known}`")]
    UnknownVersion {
        /// The version that is served.
        known: String,
    },
    /// The body names another model or version than the one that answers.
    #[error(
        "`{field}` is `{}`, but the request is answered by `{answers}`",
        quoted(given)
    )]
    OtherModel {
        /// The field of the body.
        field: &'static str,
        /// As given.
        given: String,
        /// The model or version that answers.
        answers: String,
    },
    /// The tensors are invalid.
    #[error(transparent)]
    Tensor(#[from] TensorError),
    /// A parameter's value is invalid.
    #[error(transparent)]
    Parameter(RequestError),
    /// A text was not tagged. The protocol has no place for the error of one text.
    #[error("text {index} of `text`: {error}")]
    Text {
        /// The text's index, from 0.
        index: usize,
        /// The reason.
        error: ApiError,
    },
}

/// The body of every `/v2` error.
#[derive(Serialize, ToSchema)]
pub(crate) struct V2ErrorBody {
    /// What went wrong.
    #[schema(example = "no such model; the model is `minilm-l6-wnut17`")]
    error: String,
}

impl From<RequestError> for V2Error {
    fn from(error: RequestError) -> Self {
        Self::Api(error.into())
    }
}

impl From<TagError> for V2Error {
    fn from(error: TagError) -> Self {
        Self::Api(error.into())
    }
}

impl From<ApiError> for V2Error {
    fn from(error: ApiError) -> Self {
        Self::Api(error)
    }
}

impl V2Error {
    /// The message for the client, which quotes little of the request.
    pub(crate) fn message(&self) -> String {
        shown(self)
    }

    /// The error of the API that it is, or that it wraps.
    pub(crate) fn api(&self) -> Option<&ApiError> {
        match self {
            Self::Api(error) | Self::Text { error, .. } => Some(error),
            Self::UnknownModel { .. }
            | Self::UnknownVersion { .. }
            | Self::OtherModel { .. }
            | Self::Tensor(_)
            | Self::Parameter(_) => None,
        }
    }
}

impl ResponseError for V2Error {
    fn status_code(&self) -> StatusCode {
        match self {
            // The protocol has 400 for every invalid request.
            Self::Api(ApiError::Request(_))
            | Self::OtherModel { .. }
            | Self::Tensor(_)
            | Self::Parameter(_) => StatusCode::BAD_REQUEST,
            Self::Api(error) | Self::Text { error, .. } => error.status_code(),
            Self::UnknownModel { .. } | Self::UnknownVersion { .. } => StatusCode::NOT_FOUND,
        }
    }

    fn error_response(&self) -> HttpResponse {
        let status = self.status_code();
        let mut response = HttpResponse::build(status);
        if let Some(seconds) = self.api().and_then(ApiError::retry_after) {
            response.insert_header((RETRY_AFTER, seconds));
        }
        if status == StatusCode::UNAUTHORIZED {
            response.insert_header((WWW_AUTHENTICATE, "Bearer"));
        }
        if let Self::Api(ApiError::MethodNotAllowed { allow }) = self {
            response.insert_header((ALLOW, *allow));
        }
        if let Self::Api(ApiError::UnsupportedEncoding) = self {
            response.insert_header(accepted_header());
        }
        response.json(V2ErrorBody {
            error: self.message(),
        })
    }
}

/// Answers a path under `/v2` that is no route.
pub(crate) async fn no_such_route(request: HttpRequest) -> Result<HttpResponse, V2Error> {
    Err(ApiError::not_found(&request).into())
}

/// Answers a method that the route does not take.
pub(crate) async fn wrong_method(allow: &'static str) -> Result<HttpResponse, V2Error> {
    Err(V2Error::Api(ApiError::MethodNotAllowed { allow }))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An error of every variant that quotes a long request.
    fn long() -> Vec<V2Error> {
        let long = || "é".repeat(100_000);
        let shape = || vec![1; 100_000];
        let tensors = [
            TensorError::UnknownInput { name: long() },
            TensorError::Datatype { datatype: long() },
            TensorError::Shape { shape: shape() },
            TensorError::Count {
                shape: shape(),
                texts: 2,
            },
            TensorError::SharedMemory { name: long() },
            TensorError::Classification { name: long() },
            TensorError::Head {
                head: long(),
                body: 1,
            },
            TensorError::UnknownOutput { name: long() },
            TensorError::OutputTwice { name: long() },
        ];
        let unknown_label = || RequestError::UnknownLabel {
            label: long(),
            known: vec![long()],
        };
        let malformed = || RequestError::Malformed { problem: long() };
        let others = [
            V2Error::Api(ApiError::NotFound { path: long() }),
            V2Error::Api(ApiError::Framework {
                status: StatusCode::BAD_REQUEST,
                problem: long(),
            }),
            V2Error::Api(malformed().into()),
            V2Error::Api(RequestError::Shape { problem: long() }.into()),
            V2Error::OtherModel {
                field: "model_name",
                given: long(),
                answers: "m".to_owned(),
            },
            V2Error::Parameter(unknown_label()),
            V2Error::Parameter(malformed()),
            V2Error::Parameter(RequestError::Shape { problem: long() }),
            V2Error::Text {
                index: 1,
                error: unknown_label().into(),
            },
        ];
        tensors.into_iter().map(V2Error::Tensor).chain(others).collect()
    }

    #[test]
    fn no_message_repeats_a_long_request() {
        for error in long() {
            let message = error.message();
            assert!(message.chars().count() <= 301, "{message}");
        }
        let remedy = |error: TensorError| V2Error::Tensor(error).message();
        let name = "x".repeat(1000);
        assert!(remedy(TensorError::UnknownInput { name }).ends_with("the model takes `text`"));
        let shape = vec![1; 1000];
        assert!(remedy(TensorError::Shape { shape }).ends_with("…]; it must be [N] or [N, 1]"));
    }
}
