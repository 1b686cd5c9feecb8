//! Requests that the web framework would answer by itself: every answer with a body is an error of the API.

use super::*;
use crate::config::KeySource;

fn server() -> Server {
    Server::start(Script::default(), |config| {
        config.admin_keys = Some(KeySource::Variable {
            name: "KEYS".to_owned(),
            value: "boss".to_owned(),
        });
        config.http.cors_origins = vec!["https://known.example".to_owned()];
    })
    .ready()
}

/// The answer to a request that is sent as it stands, with `host` and `connection` added.
fn raw(server: &Server, head: &str) -> Response {
    let mut stream = TcpStream::connect(server.address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let request = format!("{head}\r\nhost: test\r\nconnection: close\r\n\r\n");
    // A server that refuses a head unread may close before all of it is sent.
    let _ = stream.write_all(request.as_bytes());
    let mut bytes = Vec::new();
    let _reset = stream.read_to_end(&mut bytes);
    let text = String::from_utf8(bytes).unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
    Response {
        status: head
            .split(' ')
            .nth(1)
            .and_then(|status| status.parse().ok())
            .unwrap_or(0),
        head: head.to_owned(),
        body: body.to_owned(),
    }
}

const ADMIN: &str = "x-api-key: boss\r\ncontent-length: 0";
const JSON: &str = "content-type: application/json\r\ncontent-length: 0";

#[test]
fn what_the_framework_refuses_is_an_error_of_the_api() {
    let server = server();
    let preflight = "origin: https://other.example\r\naccess-control-request-method: POST";
    let known = "origin: https://known.example\r\naccess-control-request-method";
    for (head, status, code) in [
        (
            format!("POST /admin/rollback?from=a&from=b HTTP/1.1\r\n{ADMIN}"),
            422,
            "invalid_request",
        ),
        (
            format!("POST /admin/rollback?form=a HTTP/1.1\r\n{ADMIN}"),
            422,
            "invalid_request",
        ),
        (
            format!("POST /admin/rollback?from=%ff HTTP/1.1\r\n{ADMIN}"),
            409,
            "not_reloaded",
        ),
        (
            format!("POST /admin/reload?now=1 HTTP/1.1\r\n{ADMIN}"),
            422,
            "invalid_request",
        ),
        (
            "POST /admin/rollback?from=a&from=b HTTP/1.1\r\ncontent-length: 0".to_owned(),
            401,
            "unauthorized",
        ),
        (
            format!("POST /ner?offsets=utf16 HTTP/1.1\r\n{JSON}"),
            422,
            "invalid_request",
        ),
        (
            format!("POST /ner/batch?offsets=utf16 HTTP/1.1\r\n{JSON}"),
            422,
            "invalid_request",
        ),
        (
            format!("POST /?aggregation_strategy=none HTTP/1.1\r\n{JSON}"),
            422,
            "invalid_request",
        ),
        (
            format!("OPTIONS /ner HTTP/1.1\r\n{preflight}"),
            400,
            "bad_request",
        ),
        (
            format!("OPTIONS /nowhere HTTP/1.1\r\n{preflight}"),
            400,
            "bad_request",
        ),
        (
            format!("OPTIONS /ner HTTP/1.1\r\n{known}: DELETE"),
            400,
            "bad_request",
        ),
        ("OPTIONS /ner HTTP/1.1".to_owned(), 405, "method_not_allowed"),
        ("BREW /ner HTTP/1.1".to_owned(), 405, "method_not_allowed"),
        ("DELETE /ner HTTP/1.1".to_owned(), 405, "method_not_allowed"),
        ("GET /%zz HTTP/1.1".to_owned(), 404, "not_found"),
        ("GET /%ff HTTP/1.1".to_owned(), 404, "not_found"),
        ("GET /assets/%ff HTTP/1.1".to_owned(), 404, "not_found"),
        ("GET /ner/ HTTP/1.1".to_owned(), 404, "not_found"),
        ("GET // HTTP/1.1".to_owned(), 404, "not_found"),
        ("OPTIONS * HTTP/1.1".to_owned(), 404, "not_found"),
    ] {
        let response = raw(&server, &head);
        assert_eq!(
            response.status, status,
            "{head}: {} {}",
            response.head, response.body
        );
        assert_eq!(response.code(), code, "{head}: {}", response.body);
        assert!(response.header("x-request-id").is_some(), "{head}");
    }
    let v2 = raw(
        &server,
        &format!("POST /v2/models/test/infer?offsets=utf16 HTTP/1.1\r\n{JSON}"),
    );
    assert_eq!(v2.status, 400);
    assert!(
        v2.json()["error"].as_str().unwrap().contains("`offsets`"),
        "{}",
        v2.body
    );
    assert_eq!(
        server.metric("nerve_requests_total{route=\"/ner\",status=\"400\"}"),
        2.0
    );
    assert_eq!(
        server.metric("nerve_requests_total{route=\"/admin/rollback\",status=\"422\"}"),
        2.0
    );
    assert!(server.accounts());
}

#[test]
fn head_has_the_status_of_an_error_and_no_body() {
    let server = server();
    for (path, status) in [("/ner", 405), ("/nowhere", 404)] {
        let response = raw(&server, &format!("HEAD {path} HTTP/1.1"));
        assert_eq!((response.status, response.body.as_str()), (status, ""), "{path}");
    }
}

#[test]
fn other_methods_than_post_ignore_their_query() {
    let server = server();
    for path in [
        "/",
        "/docs",
        "/health/live",
        "/health/ready",
        "/metrics",
        "/info",
        "/openapi.json",
        "/v2",
        "/v2/models/test",
    ] {
        assert_eq!(
            server.get(&format!("{path}?nonsense=1&nonsense=%ff")).status,
            200,
            "{path}"
        );
    }
}

/// The parser of HTTP answers these before there is a request that a service could answer or count.
#[test]
fn what_is_no_http_has_an_empty_answer() {
    let server = server();
    let received = server.metric("nerve_received_total");
    let long = format!("GET / HTTP/1.1\r\nx-long: {}", "a".repeat(1 << 20));
    for head in [
        "nonsense",
        "GET /\u{e9} HTTP/1.1",
        "GET / HTTP/9.9",
        "POST /ner HTTP/1.1\r\ncontent-length: many",
        "POST /ner HTTP/1.1\r\ntransfer-encoding: bogus",
        "GET / HTTP/1.1\r\nno colon",
        &long,
    ] {
        let response = raw(&server, head);
        let shown = &head[..head.len().min(60)];
        assert!(
            matches!(response.status, 400 | 431),
            "{shown}: {} {}",
            response.head,
            response.body
        );
        assert_eq!(response.body, "", "{shown}");
    }
    assert_eq!(server.metric("nerve_received_total"), received + 1.0);
}
