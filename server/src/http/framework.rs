//! The errors of the web framework, in the format of the API.

use actix_web::Error;
use actix_web::body::MessageBody;
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::middleware::Next;

use crate::http::deadline::shaped;
use crate::http::error::ApiError;
use crate::http::route::Route;
use crate::http::v2::error::V2Error;

/// Calls the inner service, and replaces an error that is no error of the API, such as that of a refused CORS preflight.
pub(crate) async fn replace_errors<B: MessageBody>(
    request: ServiceRequest,
    next: Next<B>,
) -> Result<ServiceResponse<B>, Error> {
    let route = Route::of_path(request.match_info().as_str());
    let response = next
        .call(request)
        .await
        .map_err(|error| replaced(route, &error).unwrap_or(error))?;
    match response
        .response()
        .error()
        .and_then(|error| replaced(route, error))
    {
        Some(error) => Err(error),
        None => Ok(response),
    }
}

/// The error of the API for an error of the framework; `None` for an error of the API.
fn replaced(route: Route, error: &Error) -> Option<Error> {
    if error.as_error::<ApiError>().is_some() || error.as_error::<V2Error>().is_some() {
        return None;
    }
    let framework = ApiError::Framework {
        status: error.as_response_error().status_code(),
        problem: error.to_string(),
    };
    Some(shaped(route, framework))
}
