//! The query string of a request.

use std::collections::BTreeMap;

use actix_web::Error;
use actix_web::body::MessageBody;
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::Method;
use actix_web::middleware::Next;
use actix_web::web::Query;
use nerve_engine::{RequestError, TagOptions};

use crate::http::deadline::shaped;
use crate::http::route::Route;

/// The parameters of a query string with `POST`. Only those of the route may be given, each once.
pub(crate) fn parameters(query: &str, route: Route) -> Result<BTreeMap<String, String>, RequestError> {
    let known = route.query_parameters().unwrap_or_default();
    let shape = |problem: String| RequestError::Shape { problem };
    let pairs = Query::<Vec<(String, String)>>::from_query(query);
    let pairs = pairs.map_err(|error| shape(error.to_string()))?.into_inner();
    let mut parameters = BTreeMap::new();
    for (name, value) in pairs {
        if !known.contains(&name.as_str()) {
            return Err(shape(match (place_in_body(route, &name), known) {
                (Some(place), _) => {
                    format!("the route has no query parameters; give `{name}` in {place}")
                }
                (None, []) => format!("unknown query parameter `{name}`; the route has none"),
                (None, known) => format!("unknown query parameter `{name}`; known: {}", known.join(", ")),
            }));
        }
        if parameters.contains_key(&name) {
            return Err(shape(format!("`{name}` is given twice")));
        }
        parameters.insert(name, value);
    }
    Ok(parameters)
}

/// Where a body of the route has a field of this name, if it has one.
fn place_in_body(route: Route, name: &str) -> Option<&'static str> {
    let is_option = TagOptions::NAMES.contains(&name);
    let in_parameters = match route {
        Route::Ner => return (is_option || ["text", "words"].contains(&name)).then_some("the body"),
        Route::NerBatch => return (is_option || name == "items").then_some("the body"),
        Route::Page if name == "inputs" => return Some("the body"),
        Route::Page => ["aggregation_strategy", "ignore_labels", "stride"].contains(&name),
        Route::V2Infer | Route::V2VersionInfer => {
            let of_protocol = ["binary_data_output", "timeout"].contains(&name);
            of_protocol || (is_option && name != "include_words")
        }
        _ => false,
    };
    in_parameters.then_some("`parameters`")
}

/// Refuses query parameters that a `POST` route does not have, rather than ignore an option. Other methods ignore their
/// query, in which proxies and browsers send parameters of their own.
pub(crate) async fn check<B: MessageBody>(
    request: ServiceRequest,
    next: Next<B>,
) -> Result<ServiceResponse<B>, Error> {
    let route = Route::of_path(request.match_info().as_str());
    if route.query_parameters().is_some() && request.method() == Method::POST {
        parameters(request.query_string(), route).map_err(|error| shaped(route, error.into()))?;
    }
    next.call(request).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_mistake_of_a_query_is_named() {
        let from = parameters("from=v%201", Route::Rollback).unwrap();
        assert_eq!(from.get("from").map(String::as_str), Some("v 1"));
        assert!(parameters("", Route::Ner).unwrap().is_empty());
        let unknown = |name| format!("unknown query parameter `{name}`; the route has none");
        for (query, route, problem) in [
            (
                "offsets=utf16",
                Route::Ner,
                "give `offsets` in the body".to_owned(),
            ),
            ("text=a", Route::Ner, "give `text` in the body".to_owned()),
            ("api_key=1", Route::Ner, unknown("api_key")),
            ("items=1", Route::Ner, unknown("items")),
            (
                "threshold=1",
                Route::NerBatch,
                "give `threshold` in the body".to_owned(),
            ),
            (
                "threshold=1",
                Route::V2Infer,
                "give `threshold` in `parameters`".to_owned(),
            ),
            (
                "timeout=1",
                Route::V2VersionInfer,
                "give `timeout` in `parameters`".to_owned(),
            ),
            ("include_words=0", Route::V2Infer, unknown("include_words")),
            (
                "stride=1",
                Route::Page,
                "give `stride` in `parameters`".to_owned(),
            ),
            ("offsets=byte", Route::Page, unknown("offsets")),
            ("offsets=byte", Route::Reload, unknown("offsets")),
            (
                "from=a&from=b",
                Route::Rollback,
                "`from` is given twice".to_owned(),
            ),
            (
                "form=a",
                Route::Rollback,
                "unknown query parameter `form`; known: from".to_owned(),
            ),
        ] {
            let error = parameters(query, route).unwrap_err().to_string();
            assert!(error.contains(&problem), "{error}");
        }
    }
}
