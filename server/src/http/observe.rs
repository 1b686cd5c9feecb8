//! The middleware of every request: its id, its log line and its counters.

use std::sync::Arc;
use std::time::Instant;

use actix_web::body::MessageBody;
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::header::{HeaderName, HeaderValue};
use actix_web::http::{Method, StatusCode};
use actix_web::middleware::Next;
use actix_web::{Error, HttpMessage, HttpResponse, ResponseError};
use nerve_engine::Tagger;
use tracing::{Instrument, Span, debug, warn};

use crate::http::error::ApiError;
use crate::http::metrics::{CLIENT_LEFT, HttpMetrics};
use crate::http::request_id::{REQUEST_ID, trace_of};
use crate::http::route::Route;
use crate::http::served::ServedVersion;
use crate::http::state::AppState;
use crate::http::v2::error::V2Error;
use crate::trace;

/// Shown by the developer tools of browsers.
const SERVER_TIMING: HeaderName = HeaderName::from_static("server-timing");

/// Counts a request when dropped; as cancelled by its client, unless its status has been set.
struct RequestCount {
    metrics: Arc<HttpMetrics>,
    served: Arc<Tagger>,
    route: Route,
    tags: bool,
    began: Instant,
    status: u16,
    refused: bool,
}

impl Drop for RequestCount {
    fn drop(&mut self) {
        let took = self.began.elapsed();
        self.metrics
            .request_ended(self.route, self.status, self.refused, took);
        if self.tags {
            match self.status {
                200..=299 => self.served.counters().request_answered(),
                500 | 504 => self.served.counters().request_failed(),
                // The version did not process the request.
                _ => {}
            }
        }
    }
}

impl RequestCount {
    /// Takes the status of the answer, and counts a refusal.
    fn answered<B: MessageBody>(&mut self, answered: &Result<ServiceResponse<B>, Error>) -> StatusCode {
        let (status, error) = match answered {
            Ok(response) => (response.status(), response.response().error()),
            Err(error) => (error.as_response_error().status_code(), Some(error)),
        };
        if let Some(error) = error.and_then(api_error) {
            let reason = error.refusal();
            self.metrics.refused(reason);
            self.refused = reason.is_some();
        }
        self.status = status.as_u16();
        status
    }
}

/// The error of the API that an error is, or that it wraps.
fn api_error(error: &Error) -> Option<&ApiError> {
    match error.as_error::<V2Error>() {
        Some(error) => error.api(),
        None => error.as_error::<ApiError>(),
    }
}

/// Calls the inner service, adds the request's id to the response, and counts the request.
pub(crate) async fn observe<B: MessageBody>(
    state: AppState,
    request: ServiceRequest,
    next: Next<B>,
) -> Result<ServiceResponse<B>, Error> {
    // The path as the router matches it, after percent-decoding.
    let path = request.match_info().as_str();
    let route = Route::of_path(path);
    let began = Instant::now();
    let id = state.request_ids.of(request.headers())?;
    let trace = trace_of(request.headers());
    let served = state.engine.choose(id.as_bytes(), route.named(path));
    let is_post = request.method() == Method::POST;
    state.metrics.request_began();
    // The future, and this value with it, is dropped when the client closes the connection.
    let mut counted = RequestCount {
        metrics: Arc::clone(&state.metrics),
        served: Arc::clone(&served),
        route,
        tags: route.is_tagging() && is_post,
        began,
        status: CLIENT_LEFT,
        refused: false,
    };
    let id_shown = id.to_str().unwrap_or_default().to_owned();
    let span = match is_post && (route.is_tagging() || route.is_admin()) {
        true => trace::request(route, &id_shown, served.model(), request.headers()),
        false => Span::none(),
    };
    request.extensions_mut().insert(ServedVersion(served));
    let answered = next.call(request).instrument(span.clone()).await;
    let status = counted.answered(&answered);
    trace::answered(&span, status);
    let seconds = began.elapsed().as_secs_f64();
    log(&id_shown, trace.as_deref(), route, status, seconds);
    let timing = HeaderValue::try_from(format!("total;dur={:.2}", seconds * 1000.0))?;
    let headers = [(REQUEST_ID, id), (SERVER_TIMING, timing)];
    let mut response = answered.map_err(|error| ErrorWithHeaders {
        error,
        headers: headers.clone(),
    })?;
    for (name, value) in headers {
        response.headers_mut().insert(name, value);
    }
    Ok(response)
}

/// Logs how a request was answered.
fn log(id: &str, trace: Option<&str>, route: Route, status: StatusCode, seconds: f64) {
    let (route, code) = (route.name(), status.as_u16());
    // A 503 means that the server is busy or not ready, which health checks ask every second.
    if status == StatusCode::INTERNAL_SERVER_ERROR {
        warn!(id, trace, route, status = code, seconds, "request failed");
    } else {
        debug!(id, trace, route, status = code, seconds, "request answered");
    }
}

/// An error whose response gets these headers too.
#[derive(Debug)]
struct ErrorWithHeaders {
    error: Error,
    headers: [(HeaderName, HeaderValue); 2],
}

impl std::fmt::Display for ErrorWithHeaders {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.error.fmt(f)
    }
}

impl ResponseError for ErrorWithHeaders {
    fn status_code(&self) -> StatusCode {
        self.error.as_response_error().status_code()
    }

    fn error_response(&self) -> HttpResponse {
        let mut response = self.error.error_response();
        for (name, value) in &self.headers {
            response.headers_mut().insert(name.clone(), value.clone());
        }
        response
    }
}
