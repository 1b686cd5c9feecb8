//! The version that answers a request.

use std::future::{Ready, ready};
use std::sync::Arc;

use actix_web::dev::Payload;
use actix_web::{FromRequest, HttpMessage, HttpRequest};
use nerve_engine::Tagger;

use crate::http::error::ApiError;

/// The version that a request is assigned at its start and keeps.
#[derive(Clone)]
pub(crate) struct ServedVersion(pub(crate) Arc<Tagger>);

impl FromRequest for ServedVersion {
    type Error = ApiError;
    type Future = Ready<Result<Self, ApiError>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let given = request.extensions().get::<Self>().cloned();
        // The middleware assigns a version before any handler runs.
        ready(given.ok_or(ApiError::Unwritable))
    }
}
