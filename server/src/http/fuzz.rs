//! Hostile requests: a body for each tagging route, or a query.

use std::sync::{Arc, LazyLock};

use actix_web::ResponseError;
use nerve_engine::testing::{classify_directly, tag_directly, text_model};
use nerve_engine::{TagInput, TextModel, parse};
use nerve_tagging::Splitter;

use crate::grpc;
use crate::http::error::ApiError;
use crate::http::fuzz_check::{MAX_TEXTS, check};
use crate::http::hugging_face::ClassifyRequest;
use crate::http::request::{BatchRequest, NerRequest, options_of_query};
use crate::http::v2;

/// Models with each splitter.
static MODELS: LazyLock<[Arc<TextModel>; 3]> = LazyLock::new(|| {
    [Splitter::Corpus, Splitter::Whitespace, Splitter::Bert].map(|splitter| {
        let mut model = text_model(8);
        model.splitter = splitter;
        Arc::new(model)
    })
});

/// A request: a letter for the route, a digit for the model, and the body.
///
/// `n` is `/ner`, `b` `/ner/batch`, `h` `/` (the Hugging Face format), `v` `/v2/.../infer` in JSON, `w` the same with
/// the tensor behind the JSON, whose length comes first as two bytes, `g` a message of gRPC, and `q` the query of
/// `/ner/stream`.
pub fn requests(bytes: &[u8]) {
    let [route, model, body @ ..] = bytes else {
        return;
    };
    let model = &MODELS[usize::from(*model) % MODELS.len()];
    let answered = match route {
        b'n' => ner(model, body),
        b'b' => batch(model, body),
        b'h' => classify(model, body),
        b'q' => query(model, body),
        b'v' => return v2::fuzz::infer(model, body, &[]),
        b'g' => return grpc::fuzz::infer(model, body),
        b'w' => return v2::fuzz::infer_binary(model, body),
        _ => return,
    };
    if let Err(error) = answered {
        // Writing the error must not panic either.
        assert!(error.error_response().status().as_u16() >= 400);
    }
}

fn ner(model: &Arc<TextModel>, body: &[u8]) -> Result<(), ApiError> {
    let (source, reading, view) = parse::<NerRequest>(body)?.checked(&model.labels)?;
    for tagged in tag_directly(model, vec![source], reading) {
        check(model, &tagged?, &view);
    }
    Ok(())
}

fn batch(model: &Arc<TextModel>, body: &[u8]) -> Result<(), ApiError> {
    let (sources, reading, view) = parse::<BatchRequest>(body)?.checked(&model.labels, MAX_TEXTS)?;
    let sources: Vec<TagInput> = sources.into_iter().flatten().collect();
    for tagged in tag_directly(model, sources, reading).into_iter().flatten() {
        check(model, &tagged, &view);
    }
    Ok(())
}

fn query(model: &Arc<TextModel>, body: &[u8]) -> Result<(), ApiError> {
    let Ok(query) = std::str::from_utf8(body) else {
        return Ok(());
    };
    let options = options_of_query(query)?;
    let reading = options.reading();
    let view = options.view(&model.labels)?;
    let text = TagInput::Text("paulwalk met 😀 in São Paulo".to_owned());
    for tagged in tag_directly(model, vec![text], reading) {
        check(model, &tagged?, &view);
    }
    Ok(())
}

fn classify(model: &TextModel, body: &[u8]) -> Result<(), ApiError> {
    let asked = parse::<ClassifyRequest>(body)?.checked(model.pipeline.room(), MAX_TEXTS)?;
    for text in &asked.texts {
        let classified = classify_directly(model, text, asked.stride, &asked.wanted)?;
        assert!(serde_json::to_vec(&classified.entities).is_ok());
    }
    Ok(())
}
