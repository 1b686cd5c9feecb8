//! The errors of the API as statuses of gRPC, and statuses as they are counted.

use std::error::Error;
use std::sync::Arc;

use actix_web::ResponseError;
use nerve_engine::{PrepareError, SubmitError, TagError};
use tonic::metadata::{MetadataMap, MetadataValue};
use tonic::{Code, Status};

use crate::http::error::ApiError;
use crate::http::shown::shown;
use crate::http::v2::error::V2Error;

/// Seconds after which the client may retry.
const RETRY_AFTER: &str = "retry-after";
/// The same in milliseconds, as clients of gRPC read it.
const RETRY_PUSHBACK: &str = "grpc-retry-pushback-ms";

/// The status of an error; its source is the error.
pub(crate) fn status(error: impl Into<V2Error>) -> Status {
    let error = error.into();
    let mut metadata = MetadataMap::new();
    if let Some(seconds) = error.api().and_then(ApiError::retry_after) {
        metadata.insert(RETRY_AFTER, MetadataValue::from(seconds));
        metadata.insert(RETRY_PUSHBACK, MetadataValue::from(u64::from(seconds) * 1000));
    }
    let mut status = Status::with_metadata(code(&error), error.message(), metadata);
    status.set_source(Arc::new(error));
    status
}

/// The error that a status was made from.
pub(crate) fn error_of(status: &Status) -> Option<&V2Error> {
    status.source()?.downcast_ref()
}

/// The status in place of one that the framework made while it read a message of at most `limit` bytes.
pub(crate) fn read_status(read: Status, limit: usize) -> Status {
    if read.code() == Code::Aborted {
        // The body ended before the message.
        return Status::cancelled(read.message());
    }
    if read.source().is_some() {
        return read;
    }
    match read.code() {
        // A message, or a compressed message once it is unpacked.
        Code::OutOfRange | Code::ResourceExhausted => status(ApiError::BodyTooLarge { limit }),
        Code::Internal => status(ApiError::BodyUnreadable),
        // The framework quotes what it does not know, such as a coding.
        code => Status::with_metadata(code, shown(read.message()), read.metadata().clone()),
    }
}

/// The HTTP status under which a call is counted.
pub(crate) fn counted(status: &Status) -> u16 {
    match error_of(status) {
        Some(error) => error.status_code().as_u16(),
        None => counted_code(status.code()),
    }
}

/// The HTTP status under which a call with this code is counted.
pub(crate) fn counted_code(code: Code) -> u16 {
    match code {
        Code::Ok => 200,
        Code::InvalidArgument | Code::FailedPrecondition | Code::OutOfRange => 400,
        Code::Unauthenticated => 401,
        Code::PermissionDenied => 403,
        Code::NotFound | Code::Unimplemented => 404,
        Code::AlreadyExists | Code::Aborted => 409,
        Code::ResourceExhausted => 429,
        Code::Cancelled => 499,
        Code::Unknown | Code::Internal | Code::DataLoss => 500,
        Code::Unavailable => 503,
        Code::DeadlineExceeded => 504,
    }
}

fn code(error: &V2Error) -> Code {
    match error {
        V2Error::Api(error) | V2Error::Text { error, .. } => api_code(error),
        V2Error::UnknownModel { .. } | V2Error::UnknownVersion { .. } => Code::NotFound,
        V2Error::OtherModel { .. } | V2Error::Tensor(_) | V2Error::Parameter(_) => Code::InvalidArgument,
    }
}

fn api_code(error: &ApiError) -> Code {
    match error {
        ApiError::NotFound { .. } => Code::NotFound,
        ApiError::Framework { status, .. } if status.is_client_error() => Code::InvalidArgument,
        ApiError::Framework { .. } => Code::Internal,
        ApiError::MethodNotAllowed { .. } => Code::Unimplemented,
        ApiError::UnsupportedMediaType
        | ApiError::NotJsonLines
        | ApiError::UnsupportedEncoding
        | ApiError::BodyUnreadable
        | ApiError::BodyCorrupt { .. }
        | ApiError::TimeoutHeader
        | ApiError::Classify(_)
        | ApiError::Request(_) => Code::InvalidArgument,
        ApiError::BodyTooLarge { .. } | ApiError::TooManyTexts { .. } | ApiError::Memory(_) => {
            Code::ResourceExhausted
        }
        ApiError::BodyTooSlow { .. } | ApiError::DeadlineExceeded { .. } => Code::DeadlineExceeded,
        ApiError::Unauthorized | ApiError::NoAdminKeys => Code::Unauthenticated,
        ApiError::NotReloaded { .. } => Code::FailedPrecondition,
        ApiError::Tag(error) => tag_code(error),
        ApiError::Metrics | ApiError::Unwritable => Code::Internal,
    }
}

fn tag_code(error: &TagError) -> Code {
    match error {
        TagError::NotReady(_) | TagError::Queue(SubmitError::NoWorker | SubmitError::Closed) => {
            Code::Unavailable
        }
        TagError::TextThreadsFull
        | TagError::Queue(
            SubmitError::WindowsFull { .. } | SubmitError::TokensFull { .. } | SubmitError::NeverFits,
        )
        | TagError::Text(
            PrepareError::TextTooLong { .. }
            | PrepareError::TooManyWords { .. }
            | PrepareError::TooManyWindows { .. },
        ) => Code::ResourceExhausted,
        TagError::Text(PrepareError::Tokenizer(_)) | TagError::PrepareFailed | TagError::InferenceFailed => {
            Code::Internal
        }
    }
}
