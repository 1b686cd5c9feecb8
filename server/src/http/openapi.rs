//! The OpenAPI document, generated from the types that are served.

use actix_web::HttpResponse;
use actix_web::http::header::ContentType;
use nerve_engine::StreamItem;
use utoipa::openapi::security::{ApiKey, ApiKeyValue, Http, HttpAuthScheme, SecurityScheme};
use utoipa::{Modify, OpenApi};

use crate::http::{admin, hugging_face, ner, operations, pages, stream, v2};

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Nerve",
        description = "Entity tagging over HTTP. Spans are half-open and refer to the text of the request. Every \
                       response has `x-request-id`: the request's own, if it is at most 128 visible ASCII characters, \
                       else a new one. Bodies may be compressed, with `content-encoding: gzip` or \
                       `deflate`; answers are if `accept-encoding` asks for it.",
        license(name = "Apache-2.0", identifier = "Apache-2.0")
    ),
    tags(
        (name = "tagging", description = "Text to entities"),
        (name = "open inference protocol", description = "Text to entities as tensors"),
        (name = "operations", description = "Health, metrics and the contract"),
        (name = "pages", description = "Web pages")
    ),
    paths(
        ner::ner,
        ner::ner_batch,
        stream::ner_stream,
        hugging_face::hugging_face,
        operations::live,
        operations::ready,
        operations::metrics,
        operations::info,
        admin::reload,
        admin::rollback,
        serve,
        pages::page,
        pages::docs
    ),
    components(schemas(StreamItem, stream::StreamLine)),
    modifiers(&ApiKeys)
)]
struct Contract;

/// The ways to send a key.
struct ApiKeys;

impl Modify for ApiKeys {
    fn modify(&self, contract: &mut utoipa::openapi::OpenApi) {
        let bearer = SecurityScheme::Http(Http::new(HttpAuthScheme::Bearer));
        let header = SecurityScheme::ApiKey(ApiKey::Header(ApiKeyValue::new("x-api-key")));
        let components = contract.components.get_or_insert_default();
        components.add_security_scheme("bearer", bearer);
        components.add_security_scheme("key", header);
    }
}

/// The OpenAPI document, as `/openapi.json` serves it and `openapi/openapi.json` stores it.
pub fn openapi_json() -> Result<String, serde_json::Error> {
    let mut contract = Contract::openapi();
    contract.merge(v2::routes::Contract::openapi());
    contract.to_pretty_json()
}

/// This document.
#[utoipa::path(
    get,
    path = "/openapi.json",
    tag = "operations",
    responses((status = 200, description = "The OpenAPI document", body = Object))
)]
pub(crate) async fn serve() -> Result<HttpResponse, actix_web::Error> {
    Ok(HttpResponse::Ok()
        .content_type(ContentType::json())
        .body(openapi_json()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::route::Route;

    #[test]
    fn the_checked_in_contract_is_the_served_one() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../openapi/openapi.json");
        let kept = std::fs::read_to_string(path).unwrap();
        let served = openapi_json().unwrap();
        assert!(
            kept.trim_end() == served,
            "openapi/openapi.json is stale: nerve-server openapi > openapi/openapi.json"
        );
    }

    #[test]
    fn every_route_is_in_the_contract() {
        let document: serde_json::Value = serde_json::from_str(&openapi_json().unwrap()).unwrap();
        let left_out = [Route::Assets, Route::Other];
        for route in Route::ALL {
            if route.is_grpc() || left_out.contains(&route) {
                continue;
            }
            assert!(document["paths"].get(route.name()).is_some(), "{}", route.name());
        }
    }
}
