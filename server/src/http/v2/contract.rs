//! Parameters and responses that operations of the protocol share, for the OpenAPI document.

use utoipa::{IntoParams, IntoResponses};

use crate::http::v2::error::V2ErrorBody;

/// The path's parameter where it names the model.
#[derive(IntoParams)]
#[into_params(parameter_in = Path)]
#[expect(dead_code, reason = "read by the contract's generator alone")]
pub(crate) struct ModelParams {
    /// The model's name
    model: String,
}

/// The path's parameters where it names the version too.
#[derive(IntoParams)]
#[into_params(parameter_in = Path)]
#[expect(dead_code, reason = "read by the contract's generator alone")]
pub(crate) struct VersionParams {
    /// The model's name
    model: String,
    /// The model's version
    version: String,
}

/// The path names what is not served.
#[derive(IntoResponses)]
#[response(status = 404, description = "No such model or version")]
#[expect(dead_code, reason = "read by the contract's generator alone")]
pub(crate) struct NotServed(V2ErrorBody);

/// The server cannot answer texts now.
#[derive(IntoResponses)]
#[response(status = 503, description = "Starting, without a worker, or stopping")]
#[expect(dead_code, reason = "read by the contract's generator alone")]
pub(crate) struct NotReady(V2ErrorBody);

/// Why a tensor of texts is refused.
#[derive(IntoResponses)]
#[expect(dead_code, reason = "read by the contract's generator alone")]
pub(crate) enum InferErrors {
    /// Not JSON, or other tensors or parameters than the model's
    #[response(status = 400)]
    NotTheModels(V2ErrorBody),
    /// A key is needed
    #[response(status = 401)]
    NoKey(V2ErrorBody),
    /// The body did not arrive in time
    #[response(status = 408)]
    TooSlow(V2ErrorBody),
    /// The body, a text or the answer is too large, or there are too many texts
    #[response(status = 413)]
    TooLarge(V2ErrorBody),
    /// The body is declared to be something else, or has an unknown content encoding
    #[response(status = 415)]
    NotDeclaredJson(V2ErrorBody),
    /// Too much work waits, or too much memory is held; see `retry-after`
    #[response(status = 429)]
    Full(V2ErrorBody),
    /// The model failed
    #[response(status = 500)]
    Failed(V2ErrorBody),
    /// No answer in time
    #[response(status = 504)]
    Late(V2ErrorBody),
}
