//! The version of a model that answers a request.

use std::future::{Ready, ready};
use std::sync::Arc;

use actix_web::dev::Payload;
use actix_web::{FromRequest, HttpMessage, HttpRequest};
use nerve_engine::Tagger;

use crate::http::error::ApiError;

/// The version that a request was given at its start and keeps.
#[derive(Clone)]
pub(crate) struct ServedVersion(pub(crate) Arc<Tagger>);

impl FromRequest for ServedVersion {
    type Error = ApiError;
    type Future = Ready<Result<Self, ApiError>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let given = request.extensions().get::<Self>().cloned();
        // Given to every request before any handler.
        ready(given.ok_or(ApiError::Unwritable))
    }
}
