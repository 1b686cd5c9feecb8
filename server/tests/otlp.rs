//! What a collector hears of the requests to a running `nerve-server`.
#![cfg(feature = "otlp")]
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use prost::Message;

/// `ExportTraceServiceRequest` of the OpenTelemetry protocol, as far as it is looked at.
#[derive(Clone, PartialEq, Message)]
struct Export {
    #[prost(message, repeated, tag = "1")]
    resource_spans: Vec<ResourceSpans>,
}

#[derive(Clone, PartialEq, Message)]
struct ResourceSpans {
    #[prost(message, optional, tag = "1")]
    resource: Option<Resource>,
    #[prost(message, repeated, tag = "2")]
    scope_spans: Vec<ScopeSpans>,
}

#[derive(Clone, PartialEq, Message)]
struct Resource {
    #[prost(message, repeated, tag = "1")]
    attributes: Vec<Attribute>,
}

#[derive(Clone, PartialEq, Message)]
struct ScopeSpans {
    #[prost(message, repeated, tag = "2")]
    spans: Vec<Span>,
}

#[derive(Clone, PartialEq, Message)]
struct Span {
    #[prost(bytes = "vec", tag = "1")]
    trace_id: Vec<u8>,
    #[prost(bytes = "vec", tag = "2")]
    span_id: Vec<u8>,
    #[prost(bytes = "vec", tag = "4")]
    parent_span_id: Vec<u8>,
    #[prost(string, tag = "5")]
    name: String,
    #[prost(int32, tag = "6")]
    kind: i32,
    #[prost(fixed64, tag = "7")]
    start: u64,
    #[prost(fixed64, tag = "8")]
    end: u64,
    #[prost(message, repeated, tag = "9")]
    attributes: Vec<Attribute>,
}

#[derive(Clone, PartialEq, Message)]
struct Attribute {
    #[prost(string, tag = "1")]
    key: String,
    #[prost(message, optional, tag = "2")]
    value: Option<Value>,
}

#[derive(Clone, PartialEq, Message)]
struct Value {
    #[prost(string, optional, tag = "1")]
    text: Option<String>,
    #[prost(int64, optional, tag = "3")]
    number: Option<i64>,
}

const SERVER: i32 = 2;
const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const PARENT: &str = "00f067aa0ba902b7";

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn shown(attributes: &[Attribute]) -> BTreeMap<&str, String> {
    let shown = |attribute: &Attribute| {
        let value = attribute.value.clone().unwrap_or_default();
        value
            .text
            .or(value.number.map(|number| number.to_string()))
            .unwrap_or_default()
    };
    attributes
        .iter()
        .map(|attribute| (attribute.key.as_str(), shown(attribute)))
        .collect()
}

/// A collector: the bodies it was sent.
struct Collector {
    endpoint: String,
    bodies: Arc<Mutex<Vec<Vec<u8>>>>,
}

impl Collector {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let bodies = Arc::new(Mutex::new(Vec::new()));
        let taken = Arc::clone(&bodies);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let taken = Arc::clone(&taken);
                std::thread::spawn(move || take_all(stream.unwrap(), &taken));
            }
        });
        Self { endpoint, bodies }
    }

    /// Everything that was sent, with the names of its senders.
    fn spans(&self) -> (Vec<String>, Vec<Span>) {
        let (mut services, mut spans) = (Vec::new(), Vec::new());
        for body in self.bodies.lock().unwrap().iter() {
            for of_resource in Export::decode(body.as_slice()).unwrap().resource_spans {
                let resource = of_resource.resource.unwrap_or_default();
                services.push(shown(&resource.attributes)["service.name"].clone());
                spans.extend(of_resource.scope_spans.into_iter().flat_map(|scope| scope.spans));
            }
        }
        (services, spans)
    }
}

/// Takes the exports that come on a connection.
fn take_all(stream: TcpStream, bodies: &Mutex<Vec<Vec<u8>>>) {
    let mut reader = BufReader::new(stream);
    loop {
        let (mut line, mut length, mut first) = (String::new(), 0, String::new());
        while reader.read_line(&mut line).unwrap_or(0) > 0 && line != "\r\n" {
            let lower = line.to_ascii_lowercase();
            if let Some(stated) = lower.strip_prefix("content-length:") {
                length = stated.trim().parse().unwrap();
            }
            if first.is_empty() {
                first = line.clone();
            }
            line.clear();
        }
        if first.is_empty() {
            return;
        }
        assert!(first.starts_with("POST /v1/traces "), "{first}");
        let mut body = vec![0; length];
        reader.read_exact(&mut body).unwrap();
        bodies.lock().unwrap().push(body);
        let answer = "HTTP/1.1 200 OK\r\ncontent-type: application/x-protobuf\r\ncontent-length: 0\r\n\r\n";
        reader.get_mut().write_all(answer.as_bytes()).unwrap();
    }
}

/// A server of its own port, ended when dropped.
struct Server {
    child: Child,
    address: String,
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Server {
    fn start(endpoint: &str) -> Self {
        let model = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/plain/fixtures/bert-iob2");
        let mut child = Command::new(env!("CARGO_BIN_EXE_nerve-server"))
            .args(["--model", model, "--listen", "127.0.0.1:0", "--log", "json"])
            .args(["--workers", "1", "--otlp-endpoint", endpoint])
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut log = BufReader::new(child.stderr.take().unwrap());
        let mut address = None;
        let mut line = String::new();
        while !line.contains("\"ready\"") {
            line.clear();
            assert!(
                log.read_line(&mut line).unwrap() > 0,
                "the server ended before it was ready"
            );
            if let Some((_, rest)) = line.split_once("\"address\":\"") {
                address = rest.split('"').next().map(str::to_owned);
            }
        }
        std::thread::spawn(move || std::io::copy(&mut log, &mut std::io::sink()));
        Self {
            child,
            address: address.unwrap(),
        }
    }

    /// The status of the answer.
    fn post(&self, path: &str, headers: &str, body: &str) -> u16 {
        let mut stream = TcpStream::connect(&self.address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        let length = body.len();
        let head = format!(
            "POST {path} HTTP/1.1\r\nhost: test\r\nconnection: close\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n"
        );
        stream
            .write_all(format!("{head}{headers}\r\n{body}").as_bytes())
            .unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer.split(' ').nth(1).unwrap().parse().unwrap()
    }

    /// Has the server end, which sends the spans it has.
    fn terminate(mut self) {
        let told = Command::new("kill").arg(self.child.id().to_string()).status();
        assert!(told.unwrap().success());
        assert!(self.child.wait().unwrap().success());
    }
}

#[test]
fn a_request_and_its_stages_are_in_the_trace_of_whoever_asked() {
    let collector = Collector::start();
    let server = Server::start(&collector.endpoint);
    let text = "{\"text\": \"barack obama met a secretive person in paris\"}";
    let sampled = format!("traceparent: 00-{TRACE}-{PARENT}-01\r\nx-request-id: mine-1\r\n");
    assert_eq!(server.post("/ner", &sampled, text), 200);
    // Whoever asked does not record this one.
    let unsampled = format!("traceparent: 00-{}-{PARENT}-00\r\n", TRACE.replace('4', "5"));
    assert_eq!(server.post("/ner", &unsampled, text), 200);
    assert_eq!(
        server.post("/ner", "traceparent: nonsense\r\nx-request-id: mine-2\r\n", "{}"),
        422
    );
    assert_eq!(server.post("/admin/reload", "x-request-id: mine-3\r\n", ""), 401);
    server.terminate();

    let (services, spans) = collector.spans();
    assert!(
        !services.is_empty() && services.iter().all(|service| service == "nerve-server"),
        "{services:?}"
    );
    let root = |id: &str| {
        let is_it = |span: &&Span| {
            shown(&span.attributes)
                .get("nerve.request.id")
                .is_some_and(|given| given == id)
        };
        spans
            .iter()
            .find(is_it)
            .unwrap_or_else(|| panic!("no {id} in {spans:?}"))
    };
    let first = root("mine-1");
    assert_eq!(
        (hex(&first.trace_id).as_str(), hex(&first.parent_span_id).as_str()),
        (TRACE, PARENT)
    );
    assert_eq!((first.name.as_str(), first.kind), ("POST /ner", SERVER));
    let attributes = shown(&first.attributes);
    assert_eq!(
        (
            attributes["http.route"].as_str(),
            attributes["http.response.status_code"].as_str()
        ),
        ("/ner", "200")
    );
    let mut stages: Vec<&Span> = spans
        .iter()
        .filter(|span| span.parent_span_id == first.span_id)
        .collect();
    stages.sort_by_key(|span| span.start);
    let names: Vec<&str> = stages.iter().map(|span| span.name.as_str()).collect();
    assert_eq!(names, ["tokenize", "queue", "inference", "decode"]);
    for stage in &stages {
        assert_eq!(stage.trace_id, first.trace_id);
        assert!(
            first.start <= stage.start && stage.start <= stage.end,
            "{stage:?}"
        );
    }
    assert!(stages.is_sorted_by_key(|span| span.end));

    assert!(
        spans
            .iter()
            .all(|span| hex(&span.trace_id) != TRACE.replace('4', "5"))
    );
    let second = root("mine-2");
    assert!(second.parent_span_id.is_empty() && second.trace_id != first.trace_id);
    assert_eq!(shown(&second.attributes)["http.response.status_code"], "422");
    assert_eq!(root("mine-3").name, "POST /admin/reload");
    assert_eq!(spans.len(), 1 + stages.len() + 2);
    // What was asked is nobody's business.
    for body in collector.bodies.lock().unwrap().iter() {
        assert!(!body.windows(9).any(|part| part == b"secretive"));
    }
}

#[test]
fn a_collector_that_does_not_answer_holds_nothing_up() {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let server = Server::start(&format!("http://{}", silent.local_addr().unwrap()));
    for _ in 0..200 {
        assert_eq!(server.post("/ner", "", "{\"text\": \"in paris\"}"), 200);
    }
    let began = Instant::now();
    server.terminate();
    assert!(began.elapsed() < Duration::from_secs(8), "{:?}", began.elapsed());
}

#[test]
fn what_names_no_collector_is_refused() {
    for wrong in ["127.0.0.1:4318", "ftp://127.0.0.1", "http://", "http://a b"] {
        let refused = Command::new(env!("CARGO_BIN_EXE_nerve-server"))
            .args(["--listen", "127.0.0.1:0", "--otlp-endpoint", wrong])
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert_eq!(refused.status.code(), Some(1), "{wrong}: {said}");
        assert!(
            said.contains(wrong) && !said.contains("panicked"),
            "{wrong}: {said}"
        );
    }
}
