//! Errors in the protocol's shape.

use actix_web::http::StatusCode;
use actix_web::http::header::{ALLOW, RETRY_AFTER, WWW_AUTHENTICATE};
use actix_web::{HttpResponse, ResponseError};
use nerve_engine::{RequestError, TagError};
use serde::Serialize;
use thiserror::Error;
use utoipa::ToSchema;

use crate::http::error::ApiError;
use crate::http::v2::tensor::TensorError;

/// Why a `/v2` request is not answered.
#[derive(Debug, Error)]
pub(crate) enum V2Error {
    /// What other routes answer too.
    #[error("{0}")]
    Api(ApiError),
    /// Another model is served.
    #[error("no such model; the model is `{known}`")]
    UnknownModel {
        /// The model that is served.
        known: String,
    },
    /// Another version is served.
    #[error("no such version; the version is `{known}`")]
    UnknownVersion {
        /// The version that is served.
        known: String,
    },
    /// The tensors are not those the model takes or gives.
    #[error(transparent)]
    Tensor(#[from] TensorError),
    /// A parameter's value is wrong.
    #[error(transparent)]
    Parameter(RequestError),
    /// The answer cannot be written.
    #[error("the answer could not be written")]
    Write(serde_json::Error),
    /// One of the texts was not tagged, and the protocol has no place for one text's error.
    #[error("text {index} of `text`: {error}")]
    Text {
        /// The text, counted from 0.
        index: usize,
        /// Why not.
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
    /// The error of other routes that it is, or that it is about.
    pub(crate) fn api(&self) -> Option<&ApiError> {
        match self {
            Self::Api(error) | Self::Text { error, .. } => Some(error),
            Self::UnknownModel { .. }
            | Self::UnknownVersion { .. }
            | Self::Tensor(_)
            | Self::Parameter(_)
            | Self::Write(_) => None,
        }
    }
}

impl ResponseError for V2Error {
    fn status_code(&self) -> StatusCode {
        match self {
            // The protocol knows 400 for everything that is wrong with a request.
            Self::Api(ApiError::Request(_)) | Self::Tensor(_) | Self::Parameter(_) => StatusCode::BAD_REQUEST,
            Self::Api(error) | Self::Text { error, .. } => error.status_code(),
            Self::UnknownModel { .. } | Self::UnknownVersion { .. } => StatusCode::NOT_FOUND,
            Self::Write(_) => StatusCode::INTERNAL_SERVER_ERROR,
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
        response.json(V2ErrorBody {
            error: self.to_string(),
        })
    }
}

/// The answer to a path under `/v2` that is no route.
pub(crate) async fn no_such_route() -> Result<HttpResponse, V2Error> {
    Err(V2Error::Api(ApiError::NotFound))
}

/// The answer to a method that the path does not take.
pub(crate) async fn wrong_method(allow: &'static str) -> Result<HttpResponse, V2Error> {
    Err(V2Error::Api(ApiError::MethodNotAllowed { allow }))
}
