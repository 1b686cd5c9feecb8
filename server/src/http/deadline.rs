//! The checks before a request is processed: its key, and its deadline.

use std::time::Duration;

use actix_web::Error;
use actix_web::body::MessageBody;
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::header::{HeaderMap, HeaderName};
use actix_web::middleware::Next;
use tokio::time::timeout;

use crate::http::error::ApiError;
use crate::http::keys::PresentedKey;
use crate::http::route::Route;
use crate::http::state::AppState;
use crate::http::v2::error::V2Error;

/// The client's timeout in milliseconds.
const TIMEOUT: HeaderName = HeaderName::from_static("x-request-timeout-ms");

/// Calls the inner service if the request has the key it needs, and drops the request at its deadline: windows that
/// wait are withdrawn.
pub(crate) async fn guard<B: MessageBody>(
    state: AppState,
    request: ServiceRequest,
    next: Next<B>,
) -> Result<ServiceResponse<B>, Error> {
    let route = Route::of_path(request.match_info().as_str());
    let refused = |error| shaped(route, error);
    let presented = PresentedKey::of(request.headers());
    state
        .keys
        .check(route, request.method(), &presented)
        .map_err(refused)?;
    if !route.has_deadline() {
        return next.call(request).await;
    }
    let longest = Duration::from_millis(state.config.request_timeout_ms);
    let limit = asked(request.headers())
        .map_err(refused)?
        .map_or(longest, |asked| asked.min(longest));
    match timeout(limit, next.call(request)).await {
        Ok(answered) => answered,
        Err(_) => Err(refused(ApiError::DeadlineExceeded { limit })),
    }
}

/// The client's timeout.
fn asked(headers: &HeaderMap) -> Result<Option<Duration>, ApiError> {
    let Some(value) = headers.get(&TIMEOUT) else {
        return Ok(None);
    };
    let number = value.to_str().ok().and_then(|text| text.parse().ok());
    match number.filter(|&ms| ms > 0) {
        Some(ms) => Ok(Some(Duration::from_millis(ms))),
        None => Err(ApiError::TimeoutHeader),
    }
}

/// The error in the format of the route's protocol.
pub(crate) fn shaped(route: Route, error: ApiError) -> Error {
    match route.is_v2() {
        true => V2Error::from(error).into(),
        false => error.into(),
    }
}
