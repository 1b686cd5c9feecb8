//! The log of a server does not contain the texts of requests.

use serde_json::{Value, json};

use crate::fixture::tiny;
use crate::server::Server;

#[test]
fn no_text_is_logged_whatever_becomes_of_it() {
    let filter = "debug,actix_http=info,h2=info,mio=info";
    let server = Server::start_with(
        &tiny().bundle("fp32"),
        &["--max-text-bytes", "64"],
        &[("RUST_LOG", filter)],
    );
    let long = "Xanthippe ".repeat(20);
    for (route, body) in [
        ("/ner", json!({"text": "I met Xanthippe"})),
        ("/ner", json!({"text": long})),
        ("/ner", json!({"Xanthippe": 1})),
        (
            "/ner/batch",
            json!({"items": [{"text": "Xanthippe"}, "Xanthippe"]}),
        ),
        (
            "/",
            json!({"inputs": "I met Xanthippe", "parameters": {"Xanthippe": 1}}),
        ),
        ("/v2/models/tiny/infer", json!({"id": "Xanthippe", "inputs": []})),
    ] {
        server.post(route, &body);
    }
    server.post_as("/ner", "application/json", "{\"text\": \"Xanthippe");
    server.post_as(
        "/ner/stream",
        "application/x-ndjson",
        "{\"text\": \"Xanthippe\"}\nXanthippe\n",
    );
    let log = server.log();
    assert!(log.contains("request answered"), "{log}");
    assert!(!log.contains("Xanthippe"), "{log}");
    // Each line is a JSON object with the fields that log collectors expect.
    for line in log.lines() {
        let line: Value = serde_json::from_str(line).unwrap();
        for field in ["timestamp", "level", "target", "fields"] {
            assert!(line.get(field).is_some(), "{line}");
        }
    }
}
