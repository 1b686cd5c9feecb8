//! Compressed requests and answers.

use super::*;
use crate::http::coding::Coding;
use crate::http::compress::Encoder;
use crate::http::decompress::BodyStream;
use futures_util::{FutureExt, StreamExt, stream};

const CODINGS: [Coding; 2] = [Coding::Gzip, Coding::Deflate];

fn packed(coding: Coding, bytes: &[u8]) -> Vec<u8> {
    let mut encoder = Encoder::new(coding);
    let mut packed = encoder.compress(bytes).unwrap();
    packed.extend(encoder.finish().unwrap());
    packed
}

/// As much as can be decompressed, and whether it is whole.
fn unpacked(coding: Coding, bytes: &[u8]) -> (Vec<u8>, bool) {
    let chunks = stream::iter([Ok(bytes.to_vec().into())]);
    let mut body = BodyStream::new(chunks, Some(coding));
    let mut all = Vec::new();
    loop {
        match body.next().now_or_never() {
            // Others have their turn.
            None => {}
            Some(Some(Ok(chunk))) => all.extend_from_slice(&chunk),
            Some(Some(Err(_))) => return (all, false),
            Some(None) => return (all, true),
        }
    }
}

/// A head and a body of bytes.
pub(super) struct RawResponse {
    pub(super) status: u16,
    head: String,
    pub(super) body: Vec<u8>,
    /// Whether the last chunk of a chunked body arrived.
    ended: bool,
}

impl RawResponse {
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        let mut fields = self.head.lines().filter_map(|line| line.split_once(": "));
        fields
            .find(|(field, _)| field.eq_ignore_ascii_case(name))
            .map(|(_, value)| value)
    }

    fn text(&self) -> String {
        let body = match self.header("content-encoding") {
            None => self.body.clone(),
            Some(name) => {
                let coding = CODINGS.into_iter().find(|coding| coding.name() == name).unwrap();
                let (body, whole) = unpacked(coding, &self.body);
                assert!(whole, "the compressed body ends early");
                body
            }
        };
        String::from_utf8(body).unwrap()
    }

    pub(super) fn json(&self) -> Value {
        serde_json::from_str(&self.text()).unwrap_or_else(|error| panic!("{error}: {}", self.text()))
    }
}

/// The bytes of the chunks.
fn dechunked(mut body: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    while let Some(at) = body.windows(2).position(|pair| pair == b"\r\n") {
        let size = usize::from_str_radix(std::str::from_utf8(&body[..at]).unwrap(), 16).unwrap();
        let chunk = &body[at + 2..];
        bytes.extend_from_slice(&chunk[..size.min(chunk.len())]);
        body = chunk.get(size + 2..).unwrap_or_default();
    }
    bytes
}

/// The response to a request of bytes; of status 0 where none comes.
pub(super) fn exchange(server: &Server, method: &str, path: &str, headers: &str, body: &[u8]) -> RawResponse {
    let mut stream = TcpStream::connect(server.address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let length = body.len();
    let head = format!(
        "{method} {path} HTTP/1.1\r\nhost: test\r\nconnection: close\r\ncontent-length: {length}\r\n{headers}\r\n"
    );
    stream.write_all(head.as_bytes()).unwrap();
    let _ = stream.write_all(body);
    let mut bytes = Vec::new();
    let _reset_or_end = stream.read_to_end(&mut bytes);
    let Some(at) = bytes.windows(4).position(|end| end == b"\r\n\r\n") else {
        return RawResponse {
            status: 0,
            head: String::new(),
            body: bytes,
            ended: false,
        };
    };
    let head = String::from_utf8(bytes[..at].to_vec()).unwrap();
    let chunked = head.to_ascii_lowercase().contains("transfer-encoding: chunked");
    let body = bytes[at + 4..].to_vec();
    RawResponse {
        status: head.split(' ').nth(1).unwrap().parse().unwrap(),
        head,
        ended: chunked && body.ends_with(b"0\r\n\r\n"),
        body: if chunked { dechunked(&body) } else { body },
    }
}

fn requests() -> Vec<(&'static str, &'static str, String)> {
    let text = "paul met paul in paris ".repeat(20);
    let tensor = json!({"inputs": [{"name": "text", "shape": [1], "datatype": "BYTES", "data": [text]}]});
    let (json, lines) = ("application/json", "application/x-ndjson");
    vec![
        ("/ner", json, json!({"text": text}).to_string()),
        ("/ner/batch", json, json!({"items": [{"text": text}]}).to_string()),
        ("/ner/stream", lines, json!({"text": text}).to_string()),
        (
            "/",
            json,
            json!({"inputs": text, "parameters": {"stride": 1}}).to_string(),
        ),
        ("/v2/models/test/infer", json, tensor.to_string()),
    ]
}

#[test]
fn every_route_takes_and_gives_both_codings() {
    let server = Server::plain();
    for (path, media_type, body) in requests() {
        let plain = exchange(
            &server,
            "POST",
            path,
            &format!("content-type: {media_type}\r\n"),
            body.as_bytes(),
        );
        assert_eq!(
            (plain.status, plain.header("content-encoding")),
            (200, None),
            "{path}"
        );
        assert_eq!(plain.header("vary"), Some("accept-encoding"), "{path}");
        assert_eq!(plain.json()["error"], Value::Null);
        for coding in CODINGS {
            let name = coding.name();
            let headers = format!(
                "content-type: {media_type}\r\ncontent-encoding: {name}\r\naccept-encoding: {name}\r\n"
            );
            let response = exchange(&server, "POST", path, &headers, &packed(coding, body.as_bytes()));
            assert_eq!(
                (response.status, response.header("content-encoding")),
                (200, Some(name)),
                "{path}"
            );
            assert!(response.body.len() < plain.body.len() / 2, "{path}");
            assert_eq!(response.json(), plain.json(), "{path}");
        }
    }
    assert_eq!(server.metric("nerve_inflight_bytes"), 0.0);
    assert!(server.accounts());
}

#[test]
fn a_bad_coding_is_an_error_of_the_api() {
    let server = Server::plain();
    let code = |response: &RawResponse| match response.json()["error"].clone() {
        Value::String(message) => message,
        error => error["code"].as_str().unwrap().to_owned(),
    };
    for (path, media_type, body) in requests() {
        let send = |encoding: &str, body: &[u8]| {
            let headers = format!("content-type: {media_type}\r\ncontent-encoding: {encoding}\r\n");
            exchange(&server, "POST", path, &headers, body)
        };
        for unknown in ["br", "zstd", "gzip, gzip"] {
            let refused = send(unknown, b"x");
            assert_eq!(
                (refused.status, refused.header("accept-encoding")),
                (415, Some("gzip, deflate")),
                "{path}"
            );
        }
        let whole = packed(Coding::Gzip, body.as_bytes());
        for wrong in [body.as_bytes(), &whole[..whole.len() - 3], &[]] {
            let refused = send("gzip", wrong);
            if path == "/ner/stream" {
                // Too late for another status: the stream is cut, perhaps before its head was sent.
                assert!(!refused.ended && refused.body.is_empty());
                continue;
            }
            assert_eq!(refused.status, 400, "{path}");
            assert!(
                code(&refused) == "unreadable_body" || code(&refused).contains("not valid gzip"),
                "{path}"
            );
        }
        assert_eq!(send("identity", body.as_bytes()).status, 200);
        if path != "/ner/stream" {
            let undeclared = send("identity", &whole);
            assert_eq!(undeclared.status, 400, "{path}");
            assert!(
                undeclared.text().contains("send `content-encoding: gzip`"),
                "{path}"
            );
        }
    }
    let cut = "nerve_requests_total{route=\"/ner/stream\",status=\"499\"}";
    assert_eq!(server.metric(cut), 3.0);
    assert!(server.accounts());
    assert_eq!(server.metric("nerve_inflight_bytes"), 0.0);
}

#[test]
fn a_small_body_that_unpacks_to_a_large_one_is_refused_at_the_limit() {
    let server = Server::start(Script::default(), |config| {
        config.http.max_body_bytes = 1 << 20;
        config.http.max_inflight_bytes = 4 << 20;
        config.engine.texts.max_line_bytes = 1 << 20;
    })
    .ready();
    // 64 MB in less than a body may have.
    let mut encoder = Encoder::new(Coding::Gzip);
    let zeros = vec![b' '; 1 << 20];
    let mut bomb: Vec<u8> = (0..64).flat_map(|_| encoder.compress(&zeros).unwrap()).collect();
    bomb.extend(encoder.finish().unwrap());
    assert!(bomb.len() < 1 << 20, "{}", bomb.len());
    let headers = "content-type: application/json\r\ncontent-encoding: gzip\r\n";
    for path in ["/ner", "/ner/batch", "/", "/v2/models/test/infer"] {
        let refused = exchange(&server, "POST", path, headers, &bomb);
        assert_eq!(refused.status, 413, "{path}");
        assert!(refused.text().contains("--max-body-bytes"), "{}", refused.text());
    }
    let headers = "content-type: application/x-ndjson\r\ncontent-encoding: gzip\r\n";
    let line = exchange(&server, "POST", "/ner/stream", headers, &bomb).json();
    assert_eq!(line["error"]["code"], "request_too_large");
    assert_eq!(server.metric("nerve_inflight_bytes"), 0.0);
    assert_eq!(server.metric("nerve_refused_total{reason=\"body_bytes\"}"), 4.0);
}

#[test]
fn small_answers_and_packed_files_stay_as_they_are() {
    let server = Server::plain();
    let get = |method: &str, path: &str, accept: &str| {
        exchange(
            &server,
            method,
            path,
            &format!("accept-encoding: {accept}\r\n"),
            b"",
        )
    };
    let small = get("GET", "/health/live", "gzip");
    assert_eq!(
        (small.header("content-encoding"), small.header("vary")),
        (None, None)
    );
    let forced = get("GET", "/health/live", "gzip, identity;q=0");
    assert_eq!(
        (
            forced.header("content-encoding"),
            forced.json()["status"].as_str()
        ),
        (Some("gzip"), Some("alive"))
    );
    for accept in ["identity", "gzip;q=0", "br", ""] {
        let plain = get("GET", "/openapi.json", accept);
        assert_eq!(
            (plain.header("content-encoding"), plain.header("vary")),
            (None, Some("accept-encoding")),
            "{accept}"
        );
        assert_eq!(
            plain.header("content-length"),
            Some(plain.body.len().to_string().as_str())
        );
    }
    let document = get("GET", "/openapi.json", "deflate, gzip;q=0.9");
    assert_eq!(document.header("content-encoding"), Some("deflate"));
    assert_eq!(document.json()["info"]["title"], "Nerve");
    let head = get("HEAD", "/openapi.json", "gzip");
    assert_eq!(
        (head.header("content-encoding"), head.body.len()),
        (Some("gzip"), 0)
    );
    let page = get("GET", "/", "gzip");
    let tag = page.header("etag").unwrap().to_owned();
    assert!(
        page.header("content-encoding") == Some("gzip") && tag.starts_with("W/\""),
        "{tag}"
    );
    let again = exchange(
        &server,
        "GET",
        "/",
        &format!("accept-encoding: gzip\r\nif-none-match: {tag}\r\n"),
        b"",
    );
    assert_eq!(
        (again.status, again.header("content-encoding"), again.body.len()),
        (304, None, 0)
    );
    let packed = get("GET", "/assets/swagger-ui.css", "deflate");
    assert_eq!(packed.header("content-encoding"), Some("gzip"));
    assert!(server.get("/metrics").body.contains("nerve_in_flight 1"));
}

#[test]
fn the_bytes_behind_the_json_are_counted_decompressed() {
    let server = Server::plain();
    let head = json!({"inputs": [{"name": "text", "shape": [1], "datatype": "BYTES", "parameters": {"binary_data_size": 8}}],
        "parameters": {"binary_data_output": true}})
    .to_string();
    let body = format!("{head}\u{4}\0\0\0paul");
    for coding in CODINGS {
        let headers = format!(
            "inference-header-content-length: {}\r\ncontent-encoding: {coding}\r\naccept-encoding: {coding}, identity;q=0\r\n",
            head.len()
        );
        let response = exchange(
            &server,
            "POST",
            "/v2/models/test/infer",
            &headers,
            &packed(coding, body.as_bytes()),
        );
        assert_eq!(
            (response.status, response.header("content-encoding")),
            (200, Some(coding.name()))
        );
        let text = response.text();
        let length: usize = response
            .header("inference-header-content-length")
            .unwrap()
            .parse()
            .unwrap();
        let json: Value = serde_json::from_str(&text[..length]).unwrap();
        let sizes = json["outputs"].as_array().unwrap().iter();
        let sizes = sizes.map(|output| output["parameters"]["binary_data_size"].as_u64().unwrap());
        assert_eq!(sizes.sum::<u64>() as usize, text.len() - length);
    }
}

#[test]
fn a_compressed_line_is_answered_before_the_next_is_sent() {
    let server = Server::plain();
    let mut stream = TcpStream::connect(server.address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    stream
        .write_all(b"POST /ner/stream HTTP/1.1\r\nhost: test\r\ntransfer-encoding: chunked\r\ncontent-type: application/x-ndjson\r\ncontent-encoding: gzip\r\naccept-encoding: gzip\r\n\r\n")
        .unwrap();
    let mut encoder = Encoder::new(Coding::Gzip);
    let mut received = Vec::new();
    for number in 1..=3 {
        let chunk = encoder.compress(b"{\"text\": \"paul\"}\n").unwrap();
        write!(stream, "{:x}\r\n", chunk.len()).unwrap();
        stream.write_all(&chunk).unwrap();
        stream.write_all(b"\r\n").unwrap();
        loop {
            let mut part = [0; 4096];
            let count = stream.read(&mut part).unwrap();
            assert!(count > 0, "the stream ended");
            received.extend_from_slice(&part[..count]);
            let at = received.windows(4).position(|end| end == b"\r\n\r\n");
            let body = at.map_or(Vec::new(), |at| dechunked(&received[at + 4..]));
            let (text, _) = unpacked(Coding::Gzip, &body);
            if String::from_utf8(text)
                .unwrap()
                .contains(&format!("\"line\":{number},"))
            {
                break;
            }
        }
    }
}
