//! Hostile requests of the Open Inference Protocol.

use std::sync::Arc;

use actix_web::ResponseError;
use nerve_engine::testing::tag_directly;
use nerve_engine::{Answer, TagInput, TextModel, parse};

use crate::http::fuzz_check::{MAX_TEXTS, check};
use crate::http::v2::error::V2Error;
use crate::http::v2::infer::InferRequest;
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
    let asked: InferRequest = parse(json)?;
    tag(model, asked.checked(binary, &model.labels, MAX_TEXTS)?)
}

/// Checks the answer of a request and writes it.
pub(crate) fn tag(model: &Arc<TextModel>, inference: Inference) -> Result<(), V2Error> {
    let Inference {
        texts,
        reading,
        view,
        selected,
        ..
    } = inference;
    let sources = texts.into_iter().map(TagInput::Text).collect();
    let tagged: Vec<_> = tag_directly(model, sources, reading)
        .into_iter()
        .flatten()
        .collect();
    tagged.iter().for_each(|tagged| check(model, tagged, &view));
    let answers: Vec<Answer> = tagged
        .iter()
        .map(|tagged| Answer::new(tagged, &model.labels, &view, |_| ()))
        .collect();
    let mut bytes = Vec::new();
    for selected in selected {
        selected.tensor(&answers, &mut bytes).map_err(V2Error::Write)?;
    }
    Ok(())
}
