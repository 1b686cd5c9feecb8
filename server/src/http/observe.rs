//! The middleware of every request: its id, its log line and its counters.

use std::error::Error as StdError;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use actix_web::body::{BodySize, MessageBody};
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::header::{HeaderName, HeaderValue};
use actix_web::http::{Method, StatusCode};
use actix_web::middleware::Next;
use actix_web::{Error, HttpMessage, HttpResponse, ResponseError};
use bytes::Bytes;
use nerve_engine::Tagger;
use tracing::{Instrument, Span, debug, warn};

use crate::http::error::ApiError;
use crate::http::metrics::{CLIENT_LEFT, HttpMetrics};
use crate::http::request_id::{REQUEST_ID, trace_of};
use crate::http::route::Route;
use crate::http::served::ServedVersion;
use crate::http::state::AppState;
use crate::http::stream::StreamCut;
use crate::http::v2::error::V2Error;
use crate::trace;

/// Shown by the developer tools of browsers.
const SERVER_TIMING: HeaderName = HeaderName::from_static("server-timing");

/// Counts a request when dropped, which is once the last byte of its answer is handed to the connection or no more can
/// be; as cancelled by its client, unless its status has been set.
struct RequestCount {
    metrics: Arc<HttpMetrics>,
    route: Route,
    began: Instant,
    /// The time to the head of the answer, once there is one.
    took: Option<Duration>,
    status: u16,
    refused: bool,
}

impl Drop for RequestCount {
    fn drop(&mut self) {
        let took = self.took.unwrap_or_else(|| self.began.elapsed());
        self.metrics
            .request_ended(self.route, self.status, self.refused, took);
    }
}

impl RequestCount {
    /// The status of the answer. Counts a refusal.
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
        self.took = Some(self.began.elapsed());
        status
    }
}

/// A body whose end is the end of its request.
pub(crate) struct CountedBody<B> {
    body: Pin<Box<B>>,
    /// Present until the end.
    count: Option<RequestCount>,
    /// The status under which the request is counted if the body is sent to its end.
    status: u16,
}

impl<B: MessageBody> CountedBody<B> {
    fn new(body: B, count: RequestCount, status: u16, is_head: bool) -> Self {
        let is_empty = matches!(body.size(), BodySize::None | BodySize::Sized(0));
        let mut counted = Self {
            body: Box::pin(body),
            count: Some(count),
            status,
        };
        if is_empty || is_head {
            // Such a body is never asked for a chunk.
            counted.end(status);
        }
        counted
    }

    fn end(&mut self, status: u16) {
        if let Some(mut count) = self.count.take() {
            count.status = status;
        }
    }
}

impl<B: MessageBody> MessageBody for CountedBody<B> {
    type Error = Box<dyn StdError>;

    fn size(&self) -> BodySize {
        self.body.size()
    }

    fn poll_next(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Bytes, Self::Error>>> {
        let chunk = ready!(self.body.as_mut().poll_next(context));
        let chunk = chunk.transpose().map_err(Into::into);
        match &chunk {
            Ok(Some(_)) => {}
            Ok(None) => {
                let status = self.status;
                self.end(status);
            }
            Err(error) => self.end(status_of_cut(error.as_ref())),
        }
        Poll::Ready(chunk.transpose())
    }
}

/// The status under which a request is counted whose body failed.
fn status_of_cut(error: &(dyn StdError + 'static)) -> u16 {
    let mut cause = Some(error);
    while let Some(error) = cause {
        if let Some(cut) = error.downcast_ref::<StreamCut>() {
            return cut.status;
        }
        cause = error.source();
    }
    500
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
) -> Result<ServiceResponse<CountedBody<B>>, Error> {
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
    let mut count = RequestCount {
        metrics: Arc::clone(&state.metrics),
        route,
        began,
        took: None,
        status: CLIENT_LEFT,
        refused: false,
    };
    let id_shown = id.to_str().unwrap_or_default().to_owned();
    let span = match is_post && (route.is_tagging() || route.is_admin()) {
        true => trace::request(route, &id_shown, served.model(), request.headers()),
        false => Span::none(),
    };
    let is_head = request.method() == Method::HEAD;
    request
        .extensions_mut()
        .insert(ServedVersion(Arc::clone(&served)));
    let answered = next.call(request).instrument(span.clone()).await;
    let status = count.answered(&answered);
    if route.is_tagging() && is_post {
        count_for_version(&served, status);
    }
    trace::answered(&span, status);
    let seconds = began.elapsed().as_secs_f64();
    log(&id_shown, trace.as_deref(), route, status, seconds);
    let timing = HeaderValue::try_from(format!("total;dur={:.2}", seconds * 1000.0))?;
    let headers = [(REQUEST_ID, id), (SERVER_TIMING, timing)];
    let answered = answered.map_err(|error| ErrorWithHeaders {
        error,
        headers: headers.clone(),
    });
    let mut response = match answered {
        Ok(response) => response,
        Err(error) => {
            count.status = status.as_u16();
            return Err(error.into());
        }
    };
    for (name, value) in headers {
        response.headers_mut().insert(name, value);
    }
    Ok(response.map_body(|_, body| CountedBody::new(body, count, status.as_u16(), is_head)))
}

/// Counts a tagging request of the version that answered it.
fn count_for_version(served: &Tagger, status: StatusCode) {
    match status.as_u16() {
        200..=299 => served.counters().request_answered(),
        500 | 504 => served.counters().request_failed(),
        // The version did not process the request.
        _ => {}
    }
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
