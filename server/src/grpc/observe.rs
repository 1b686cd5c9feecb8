//! The service around all methods: ids, keys, deadlines, memory and counters, as `http/observe.rs` and `http/deadline.rs` have
//! them for HTTP.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use actix_web::http::Method;
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response};
use nerve_engine::{MemoryError, MemoryPermit};
use tokio::time::{Instant, timeout_at};
use tonic::Status;
use tonic::body::Body;
use tower_service::Service;

use crate::grpc::body::{ArrivingBody, BodyTime, CountedBody};
use crate::grpc::call::Call;
use crate::grpc::count::CallCount;
use crate::grpc::deadline::grpc_timeout;
use crate::grpc::stalled::{AnswerWatch, ConnectionEnd};
use crate::grpc::status::{counted, error_of, read_status, status};
use crate::http::error::ApiError;
use crate::http::keys::PresentedKey;
use crate::http::request_id::REQUEST_ID;
use crate::http::route::Route;
use crate::http::state::AppState;

/// The message of a call of a method that is not there, percent-encoded.
const NO_SUCH_METHOD: &str = "no such method; reflection lists the methods";

/// Bytes that a call takes beside its metadata.
pub(crate) const CALL_BYTES: usize = 4 << 10;
/// Bytes of an entry of the metadata beside its name and value.
const ENTRY_BYTES: usize = 64;
/// The most metadata of health checks, which are answered even while the budget is full.
const HEALTH_METADATA: usize = 2 << 10;

/// Takes the memory of a call with this metadata.
fn take_head(permit: &mut MemoryPermit, route: Route, headers: &HeaderMap) -> Result<(), MemoryError> {
    let entries = headers.iter();
    let metadata: usize = entries
        .map(|(name, value)| name.as_str().len() + value.len() + ENTRY_BYTES)
        .sum();
    // As it arrived, and as metadata.
    let bytes = CALL_BYTES + 2 * metadata;
    if !route.is_tagging() && metadata <= HEALTH_METADATA {
        permit.grow_anyway(bytes);
        return Ok(());
    }
    permit.grow(bytes)
}

/// Calls the inner service for requests that have the key they need, and counts every call.
#[derive(Clone)]
pub(crate) struct Observed<S> {
    pub(crate) state: AppState,
    pub(crate) inner: S,
}

impl<S> Service<Request<Body>> for Observed<S>
where
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible> + Clone + Send + 'static,
    S::Future: Send,
{
    type Response = Response<CountedBody>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let (state, inner) = (self.state.clone(), self.inner.clone());
        // The time of a call counts from here, and not from the first poll: the framework has a timer of its own for
        // `grpc-timeout`, which must not be first.
        let arrival = Arrival::new(&state, request.uri().path(), request.headers());
        Box::pin(observe(state, arrival, request, inner))
    }
}

/// What the head of a call says.
struct Arrival {
    route: Route,
    call: Arc<Call>,
    count: CallCount,
    /// When the call must be answered, and the time it has until then.
    deadline: Option<(Instant, Duration)>,
    refused: Option<Status>,
}

impl Arrival {
    fn new(state: &AppState, path: &str, headers: &HeaderMap) -> Self {
        let began = Instant::now();
        let route = Route::of_method(path);
        let text = |name: &str| headers.get(name)?.to_str().ok();
        let key = PresentedKey::in_values(text("authorization"), text("x-api-key"));
        let allowed = state.keys.check(route, &Method::POST, &key).map_err(status);
        let mut head = state.memory.permit();
        let held = take_head(&mut head, route, headers).map_err(|full| status(ApiError::from(full)));
        let timeout = allowed.and(held).and_then(|()| grpc_timeout(headers));
        let (timeout, refused) = match timeout {
            Ok(timeout) => (timeout, None),
            Err(refused) => (None, Some(refused)),
        };
        let longest = Duration::from_millis(state.config.request_timeout_ms);
        let limit = timeout.map_or(longest, |timeout| timeout.min(longest));
        let is_compressed = text("grpc-encoding").is_some_and(|encoding| encoding != "identity");
        let call = Arc::new(Call::new(
            state.request_ids.or_next(text(REQUEST_ID.as_str())),
            text("traceparent").map(str::to_owned),
            timeout.and_then(|timeout| began.checked_add(timeout)),
            head,
            route.is_tagging(),
            is_compressed.then_some(state.config.max_body_bytes),
        ));
        Self {
            route,
            count: CallCount::new(state, route, Arc::clone(&call)),
            call,
            deadline: route.has_deadline().then(|| (began + limit, limit)),
            refused,
        }
    }
}

async fn observe<S>(
    state: AppState,
    arrival: Arrival,
    request: Request<Body>,
    mut inner: S,
) -> Result<Response<CountedBody>, Infallible>
where
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible>,
{
    let Arrival {
        route,
        call,
        mut count,
        deadline,
        refused,
    } = arrival;
    let time = match route.is_stream() {
        true => BodyTime::Part(Duration::from_millis(state.config.idle_timeout_ms)),
        false => BodyTime::Whole(Duration::from_millis(state.config.read_timeout_ms)),
    };
    let end = request
        .extensions()
        .get::<ConnectionEnd>()
        .cloned()
        .unwrap_or_default();
    let mut request = request.map(|body| Body::new(ArrivingBody::new(body, Arc::clone(&call), time)));
    request.extensions_mut().insert(Arc::clone(&call));
    let mut response = match (refused, deadline) {
        (Some(refused), _) => refused.into_http(),
        (None, None) => inner.call(request).await?,
        (None, Some((deadline, limit))) => match timeout_at(deadline, inner.call(request)).await {
            Ok(answered) => answered?,
            Err(_) => status(ApiError::DeadlineExceeded { limit }).into_http(),
        },
    };
    count.answered();
    // A call that fails before its first answer has its status in the head.
    if let Some(failed) = response.extensions_mut().remove::<Status>() {
        let failed = read_status(failed, state.config.max_body_bytes);
        count.refused(error_of(&failed).and_then(|error| error.api()?.refusal()));
        count.ended(counted(&failed));
        response = failed.into_http();
    }
    let headers = response.headers_mut();
    if headers.get(Status::GRPC_STATUS).is_some_and(|code| code == "12") {
        // The framework gives no message.
        let message = HeaderValue::from_static(NO_SUCH_METHOD);
        headers.entry("grpc-message").or_insert(message);
    }
    if let Ok(id) = HeaderValue::try_from(call.id.as_str()) {
        let name = HeaderName::from_static("x-request-id");
        response.headers_mut().insert(name, id);
    }
    let watch = AnswerWatch::start(end, Duration::from_millis(state.config.idle_timeout_ms));
    Ok(response.map(|body| CountedBody::new(body, call, count, watch)))
}
