//! The error responses that operations share, for the OpenAPI document.

use utoipa::IntoResponses;

use crate::http::error::ErrorBody;

/// Why a route that tags refuses a whole request.
#[derive(IntoResponses)]
#[expect(dead_code, reason = "read by the contract's generator alone")]
pub(crate) enum TaggingErrors {
    /// The body is not JSON, or not what its content encoding says
    #[response(status = 400)]
    NotJson(ErrorBody),
    /// A key is needed
    #[response(status = 401)]
    NoKey(ErrorBody),
    /// The body did not arrive in time
    #[response(status = 408)]
    TooSlow(ErrorBody),
    /// The body, a text or the answer is too large, or there are too many texts
    #[response(status = 413)]
    TooLarge(ErrorBody),
    /// The body is not declared to be JSON, or has an unknown content encoding
    #[response(status = 415)]
    NotDeclaredJson(ErrorBody),
    /// The body is JSON but no request
    #[response(status = 422)]
    NoRequest(ErrorBody),
    /// Too much work waits, or too much memory is held; see `retry-after`
    #[response(status = 429)]
    Full(ErrorBody),
    /// The texts could not be prepared, or the model failed
    #[response(status = 500)]
    Failed(ErrorBody),
    /// Not ready, or stopping
    #[response(status = 503)]
    NotReady(ErrorBody),
    /// No answer in time
    #[response(status = 504)]
    Late(ErrorBody),
}
