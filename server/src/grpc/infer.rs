//! A request of the protocol to its answer.

use std::sync::Arc;

use nerve_engine::{MemoryPermit, NamedModel};
use tracing::Instrument;

use crate::grpc::answer::write_answer;
use crate::grpc::call::Call;
use crate::grpc::message::{checked, size};
use crate::grpc::proto::{ModelInferRequest, ModelInferResponse};
use crate::http::error::ApiError;
use crate::http::route::Route;
use crate::http::state::AppState;
use crate::http::v2::error::V2Error;
use crate::http::v2::named::model_named;
use crate::trace;

/// Bytes of a message for each word that the threshold of `Tagger::run_sized` counts.
const BYTES_PER_WORD: usize = 32;

/// The answer of a message that has just arrived, and the memory it holds.
pub(crate) async fn infer(
    state: &AppState,
    route: Route,
    call: &Call,
    message: ModelInferRequest,
    permit: MemoryPermit,
) -> Result<(ModelInferResponse, MemoryPermit), V2Error> {
    let version = Some(message.model_version.as_str()).filter(|version| !version.is_empty());
    let model = message.model_name.as_str();
    let tagger = state
        .engine
        .choose(call.id.as_bytes(), Some(NamedModel { model, version }));
    model_named(&tagger, model, version)?;
    // The first version of a stream is the one that its call is counted for.
    let _set_before = call.version.set(Arc::clone(&tagger));
    let span = trace::call(route, &call.id, tagger.model(), call.traceparent.as_deref());
    let answer = async move {
        let began = tokio::time::Instant::now();
        let (is_raw, id) = (!message.raw_input_contents.is_empty(), message.id.clone());
        let (words, reader) = (permit.bytes() / BYTES_PER_WORD, Arc::clone(&tagger));
        let max_texts = state.config.max_texts_per_batch;
        let read = move || -> Result<_, V2Error> {
            let inference = checked(message, &reader.model().labels, max_texts)?;
            Ok((inference.bytes_to_tag(&reader), inference))
        };
        let read = tagger.run_sized(words, read).await;
        let (needed, inference) = read.map_err(|_panicked| ApiError::Unwritable)??;
        let mut permit = permit;
        permit.resize(needed).map_err(ApiError::Memory)?;
        let texts = inference.tag(&tagger, &mut permit, began).await?;
        Ok(write_answer(texts, &tagger, id, is_raw, permit).await?)
    };
    answer.instrument(span).await
}

/// The memory of a message that has just arrived.
pub(crate) fn permit_of(call: &Call, message: &ModelInferRequest) -> Result<MemoryPermit, ApiError> {
    Ok(call.take_message(size(message))?)
}
