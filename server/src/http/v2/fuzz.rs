//! Hostile requests of the Open Inference Protocol.

use std::sync::Arc;

use actix_web::ResponseError;
use nerve_engine::TextModel;
use nerve_engine::testing::tag_directly;

use crate::http::fuzz_check::{MAX_TEXTS, check};
use crate::http::v2::error::V2Error;
use crate::http::v2::infer::inference_of;
use crate::http::v2::inference::Inference;

/// A request that starts with the length of its JSON, and ends with its tensor.
pub(crate) fn infer_binary(model: &Arc<TextModel>, body: &[u8]) {
    let Some((length, body)) = body.split_first_chunk::<2>() else {
        return;
    };
    if let Some((json, binary)) = body.split_at_checked(usize::from(u16::from_le_bytes(*length))) {
        infer(model, json, binary);
    }
}

/// A request whose tensor is in its JSON, or behind it.
pub(crate) fn infer(model: &Arc<TextModel>, json: &[u8], binary: &[u8]) {
    if let Err(error) = answer(model, json, binary) {
        assert!(error.error_response().status().as_u16() >= 400);
    }
}

fn answer(model: &Arc<TextModel>, json: &[u8], binary: &[u8]) -> Result<(), V2Error> {
    let (_id, inference) = inference_of(json, binary, model, MAX_TEXTS)?;
    tag(model, inference);
    Ok(())
}

/// Tags the texts of a request and checks the answers.
pub(crate) fn tag(model: &Arc<TextModel>, inference: Inference) {
    let tagged = tag_directly(model, inference.sources, inference.reading);
    for tagged in tagged.into_iter().flatten() {
        check(model, &tagged, &inference.view);
    }
}
