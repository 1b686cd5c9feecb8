//! The query string of a request.

use std::collections::BTreeMap;

use actix_web::Error;
use actix_web::body::MessageBody;
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::Method;
use actix_web::middleware::Next;
use actix_web::web::Query;
use nerve_engine::RequestError;

use crate::http::deadline::shaped;
use crate::http::route::Route;

/// The parameters of a query string. Only `known` ones may be given, each once.
pub(crate) fn parameters(query: &str, known: &[&str]) -> Result<BTreeMap<String, String>, RequestError> {
    let shape = |problem: String| RequestError::Shape { problem };
    let pairs = Query::<Vec<(String, String)>>::from_query(query);
    let pairs = pairs.map_err(|error| shape(error.to_string()))?.into_inner();
    let mut parameters = BTreeMap::new();
    for (name, value) in pairs {
        if !known.contains(&name.as_str()) {
            return Err(shape(match known {
                [] => format!("the route has no query parameters; give `{name}` in the body"),
                known => format!("unknown query parameter `{name}`; known: {}", known.join(", ")),
            }));
        }
        if parameters.contains_key(&name) {
            return Err(shape(format!("`{name}` is given twice")));
        }
        parameters.insert(name, value);
    }
    Ok(parameters)
}

/// Refuses query parameters that a `POST` route does not have, rather than ignore an option. Other methods ignore their
/// query, in which proxies and browsers send parameters of their own.
pub(crate) async fn check<B: MessageBody>(
    request: ServiceRequest,
    next: Next<B>,
) -> Result<ServiceResponse<B>, Error> {
    let route = Route::of_path(request.match_info().as_str());
    if let Some(known) = route
        .query_parameters()
        .filter(|_| request.method() == Method::POST)
    {
        parameters(request.query_string(), known).map_err(|error| shaped(route, error.into()))?;
    }
    next.call(request).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_mistake_of_a_query_is_named() {
        let from = parameters("from=v%201", &["from"]).unwrap();
        assert_eq!(from.get("from").map(String::as_str), Some("v 1"));
        assert!(parameters("", &[]).unwrap().is_empty());
        for (query, known, problem) in [
            ("offsets=utf16", &[][..], "give `offsets` in the body"),
            ("from=a&from=b", &["from"], "`from` is given twice"),
            ("form=a", &["from"], "unknown query parameter `form`; known: from"),
        ] {
            let error = parameters(query, known).unwrap_err().to_string();
            assert!(error.contains(problem), "{error}");
        }
    }
}
