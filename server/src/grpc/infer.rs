//! A request of the protocol to its answer.

use std::sync::Arc;

use nerve_engine::{MemoryPermit, NamedModel};
use tracing::Instrument;

use crate::grpc::call::Call;
use crate::grpc::message::{checked, response, size};
use crate::grpc::proto::{ModelInferRequest, ModelInferResponse};
use crate::http::error::ApiError;
use crate::http::route::Route;
use crate::http::state::AppState;
use crate::http::v2::error::V2Error;
use crate::http::v2::named::model_named;
use crate::trace;

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
        let (raw, id) = (!message.raw_input_contents.is_empty(), message.id.clone());
        let began = tokio::time::Instant::now();
        let inference = checked(message, &tagger.model().labels, state.config.max_texts_per_batch)?;
        let tagged = inference.tag(&tagger, began).await?;
        let (words, writer, span) = (tagged.words(), Arc::clone(&tagger), trace::decode());
        let write = move || {
            let _decoding = span.entered();
            let began = std::time::Instant::now();
            let mut permit = permit;
            let written = response(&tagged, &writer, id, raw, &mut permit);
            writer.metrics().decoded(began.elapsed());
            written.map(|written| (written, permit))
        };
        let written = tagger.run_sized(words, write).await;
        written.map_err(|_panicked| ApiError::Unwritable)?
    };
    answer.instrument(span).await
}

/// The memory of a message that has just arrived.
pub(crate) fn permit_of(call: &Call, message: &ModelInferRequest) -> Result<MemoryPermit, ApiError> {
    Ok(call.take_message(size(message))?)
}
