//! The model in a path of the protocol.

use actix_web::HttpRequest;
use nerve_engine::{Tagger, TextModel};

use crate::http::v2::error::V2Error;

/// The served model, if the path names it and, if it has a version, its version.
pub(crate) fn named<'t>(tagger: &'t Tagger, request: &HttpRequest) -> Result<&'t TextModel, V2Error> {
    let segment = |name| request.match_info().get(name);
    model_named(tagger, segment("model").unwrap_or_default(), segment("version"))
}

/// The served model, if it has this name and, if one is given, this version.
pub(crate) fn model_named<'t>(
    tagger: &'t Tagger,
    name: &str,
    version: Option<&str>,
) -> Result<&'t TextModel, V2Error> {
    let model = tagger.model();
    if name != model.name {
        return Err(V2Error::UnknownModel {
            known: model.name.clone(),
        });
    }
    if version.is_some_and(|version| version != model.version) {
        return Err(V2Error::UnknownVersion {
            known: model.version.clone(),
        });
    }
    Ok(model)
}
