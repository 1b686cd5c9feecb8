//! A stream of requests to a stream of answers, in order.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::{Stream, unfold};
use nerve_engine::{MemoryPermit, Readiness, TagError};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::time::{Instant, sleep_until, timeout_at};
use tonic::{Status, Streaming};

use crate::grpc::call::Call;
use crate::grpc::infer::{infer, permit_of};
use crate::grpc::proto::infer_parameter::ParameterChoice;
use crate::grpc::proto::{InferParameter, ModelInferRequest, ModelInferResponse, ModelStreamInferResponse};
use crate::grpc::stage::Stage;
use crate::grpc::status::{read_status, status};
use crate::http::error::ApiError;
use crate::http::route::Route;
use crate::http::state::AppState;
use crate::http::v2::error::V2Error;

/// How many requests of a stream are answered at a time.
const AT_A_TIME: usize = 32;
/// The parameter that marks the last answer to a request. Each request has one answer.
const FINAL: &str = "triton_final_response";

/// The requests of a stream.
struct Requests {
    state: AppState,
    call: Arc<Call>,
    messages: Streaming<ModelInferRequest>,
    stage: watch::Receiver<Stage>,
    /// The bytes of the requests that may be answered at a time.
    room: Arc<Semaphore>,
}

/// A request of a stream, its memory, and its part of the stream's room.
struct StreamedRequest {
    message: ModelInferRequest,
    permit: MemoryPermit,
    room: OwnedSemaphorePermit,
}

/// An answer of a stream, its memory, and its request's part of the stream's room.
struct StreamedAnswer {
    message: ModelStreamInferResponse,
    permit: Option<MemoryPermit>,
    _room: OwnedSemaphorePermit,
}

/// The answers to the requests of a call, in order. A request that fails has its error in its answer.
///
/// The stream ends with an error when the client's deadline passes, when the client sends nothing for the idle timeout, and
/// when the server stops.
pub(crate) fn answers(
    state: AppState,
    call: Arc<Call>,
    messages: Streaming<ModelInferRequest>,
    stage: watch::Receiver<Stage>,
) -> impl Stream<Item = Result<ModelStreamInferResponse, Status>> + Send {
    let room = state.config.max_body_bytes.min(Semaphore::MAX_PERMITS);
    let requests = Requests {
        state: state.clone(),
        call: Arc::clone(&call),
        messages,
        stage,
        room: Arc::new(Semaphore::new(room)),
    };
    let requests = unfold(Some(requests), |requests| async {
        let mut requests = requests?;
        match requests.next().await {
            Ok(request) => Some((Ok(request?), Some(requests))),
            Err(end) => Some((Err(end), None)),
        }
    });
    let sender = Arc::clone(&call);
    let answers = requests.map(move |request| {
        let (state, call) = (state.clone(), Arc::clone(&call));
        async move { Ok(answer(&state, &call, request?).await) }
    });
    answers
        .buffered(AT_A_TIME)
        .map(move |answered: Result<StreamedAnswer, Status>| {
            let StreamedAnswer { message, permit, .. } = answered?;
            permit.into_iter().for_each(|permit| sender.send(permit));
            Ok(message)
        })
}

impl Requests {
    /// The next request; none at the end of the stream.
    async fn next(&mut self) -> Result<Option<StreamedRequest>, Status> {
        let until = self.call.until;
        let client_left = async {
            match until {
                Some(until) => sleep_until(until).await,
                None => std::future::pending().await,
            }
        };
        let message = tokio::select! {
            message = self.messages.message() => message,
            _ = self.stage.wait_for(|stage| *stage != Stage::Serving) => {
                return Err(status(TagError::NotReady(Readiness::Draining)));
            }
            () = client_left => {
                let limit = until.map_or(Duration::ZERO, |until| until - self.call.began);
                return Err(status(ApiError::DeadlineExceeded { limit }));
            }
        };
        let limit = self.state.config.max_body_bytes;
        let Some(message) = message.map_err(|error| read_status(error, limit))? else {
            return Ok(None);
        };
        let permit = permit_of(&self.call, &message).map_err(status)?;
        let wanted = u32::try_from(permit.bytes().min(limit)).unwrap_or(u32::MAX);
        let room = Arc::clone(&self.room).acquire_many_owned(wanted).await;
        // The semaphore is never closed.
        let room = room.map_err(|_| status(ApiError::Unwritable))?;
        Ok(Some(StreamedRequest {
            message,
            permit,
            room,
        }))
    }
}

/// The answer to a request, which may be an error.
async fn answer(state: &AppState, call: &Call, request: StreamedRequest) -> StreamedAnswer {
    let StreamedRequest {
        message,
        permit,
        room,
    } = request;
    let id = message.id.clone();
    let limit = Duration::from_millis(state.config.request_timeout_ms);
    let deadline = Instant::now() + limit;
    let deadline = call.until.map_or(deadline, |until| until.min(deadline));
    let inferring = infer(state, Route::GrpcModelStreamInfer, call, message, permit);
    let answered = match timeout_at(deadline, inferring).await {
        Ok(answered) => answered,
        Err(_) => Err(ApiError::DeadlineExceeded { limit }.into()),
    };
    let (message, permit) = match answered {
        Ok((mut answer, permit)) => {
            answer.parameters = last();
            let message = ModelStreamInferResponse {
                error_message: String::new(),
                infer_response: Some(answer),
            };
            (message, Some(permit))
        }
        Err(error) => (failed(state, id, &error), None),
    };
    StreamedAnswer {
        message,
        permit,
        _room: room,
    }
}

fn failed(state: &AppState, id: String, error: &V2Error) -> ModelStreamInferResponse {
    state.metrics.refused(error.api().and_then(ApiError::refusal));
    ModelStreamInferResponse {
        error_message: error.message(),
        infer_response: Some(ModelInferResponse {
            id,
            parameters: last(),
            ..ModelInferResponse::default()
        }),
    }
}

fn last() -> HashMap<String, InferParameter> {
    let parameter_choice = Some(ParameterChoice::BoolParam(true));
    HashMap::from([(FINAL.to_owned(), InferParameter { parameter_choice })])
}
