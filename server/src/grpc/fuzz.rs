//! Hostile messages.

use std::sync::Arc;

use nerve_engine::TextModel;

use crate::grpc::codec::decode_bounded;
use crate::grpc::message::{checked, size};
use crate::grpc::proto::ModelInferRequest;
use crate::grpc::status::{counted, status};
use crate::http::fuzz_check::MAX_TEXTS;
use crate::http::v2::fuzz::tag;

/// A `ModelInferRequest`.
pub(crate) fn infer(model: &Arc<TextModel>, mut message: &[u8]) {
    let sent = message.len();
    let answered = decode_bounded(&mut message).and_then(|message: ModelInferRequest| {
        // Every element takes two bytes of the message.
        assert!(size(&message) <= 16 * sent);
        let inference = checked(message, &model.labels, MAX_TEXTS).map_err(status)?;
        tag(model, inference);
        Ok(())
    });
    if let Err(refused) = answered {
        assert!(counted(&refused) >= 400);
    }
}
