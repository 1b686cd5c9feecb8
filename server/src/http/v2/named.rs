//! The model in a path of the protocol.

use actix_web::HttpRequest;
use nerve_engine::{Tagger, TextModel};

use crate::http::v2::error::V2Error;

/// The served model, if the path names it and, if it has a version, its version.
pub(crate) fn named<'t>(tagger: &'t Tagger, request: &HttpRequest) -> Result<&'t TextModel, V2Error> {
    let model = tagger.model();
    let segment = |name| request.match_info().get(name);
    if segment("model") != Some(model.name.as_str()) {
        return Err(V2Error::UnknownModel {
            known: model.name.clone(),
        });
    }
    if segment("version").is_some_and(|version| version != model.version) {
        return Err(V2Error::UnknownVersion {
            known: model.version.clone(),
        });
    }
    Ok(model)
}
