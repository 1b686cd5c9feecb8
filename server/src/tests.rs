//! The server over HTTP, with a session whose answers and faults are written in the text.

mod answers;
mod compression;
mod contract;
mod faults;
mod framework;
mod grpc;
mod operations;
mod stream;
mod tls;
mod v2;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use nerve_engine::testing::text_model;
use nerve_engine::{
    Engine, EngineError, LogitRows, ModelSession, ModelSessionError, ModelSource, Opened, Sessions,
    VersionPath, WindowInput,
};
use serde_json::{Value, json};
use tokio::sync::oneshot;

use crate::config::ServerConfig;
use crate::run::{Entrance, Listeners, ServerError, Stopped, serve};
use faults::Fault;

const LABELS: usize = 5;
const PAUL: u32 = 6;
const WALK: u32 = 7;
const PARIS: u32 = 8;
const NAN: u32 = 12;
const PANIC: u32 = 13;
const ERROR: u32 = 14;
const SLOW: u32 = 15;
const ORPHAN: u32 = 16;

/// What the sessions of one server share: a door that holds up `slow`, and how opening goes.
#[derive(Default)]
struct Script {
    /// The place of the version to serve now: `v1` where empty; opening one that begins with `bad` fails.
    current: Mutex<String>,
    /// What happens to the next runs.
    faults: Mutex<Vec<Fault>>,
    opened: AtomicUsize,
    opens_fail_after: Option<usize>,
    /// How many of the next openings fail.
    openings_fail: AtomicUsize,
    openings_wait: AtomicBool,
    slow_waits: AtomicBool,
}

struct FakeSession {
    script: Arc<Script>,
    /// Whether it fails from now on.
    broken: bool,
}

/// The versions of a script, each named by its place.
struct FakeSource(Arc<Script>);

impl ModelSource for FakeSource {
    fn current(&self) -> Result<VersionPath, EngineError> {
        let current = self.0.current.lock().unwrap();
        Ok(VersionPath::named(if current.is_empty() {
            "v1"
        } else {
            &current
        }))
    }

    fn is_unchanged(&self, _place: &VersionPath) -> bool {
        true
    }

    fn open(&self, place: &VersionPath) -> Result<Opened, EngineError> {
        let version = place.at.dir.to_str().unwrap();
        if version.starts_with("slow") {
            std::thread::sleep(Duration::from_millis(200));
        }
        if version.starts_with("bad") {
            return Err(std::io::Error::other("no such model").into());
        }
        let mut model = text_model(8);
        version.clone_into(&mut model.version);
        let sessions = Arc::clone(&self.0);
        let open = move || -> Result<Box<dyn ModelSession>, ModelSessionError> {
            while sessions.openings_wait.load(Ordering::SeqCst) {
                std::thread::sleep(Duration::from_millis(2));
            }
            let fails = |left: usize| left.checked_sub(1);
            if sessions
                .openings_fail
                .fetch_update(Ordering::SeqCst, Ordering::SeqCst, fails)
                .is_ok()
            {
                return Err("no session for now".into());
            }
            let before = sessions.opened.fetch_add(1, Ordering::SeqCst);
            if sessions.opens_fail_after.is_some_and(|last| before >= last) {
                return Err("no session".into());
            }
            Ok(Box::new(FakeSession {
                script: Arc::clone(&sessions),
                broken: false,
            }))
        };
        Ok(Opened {
            model,
            sessions: Sessions {
                of_workers: Arc::new(open),
                lone: None,
            },
        })
    }

    fn watched(&self) -> Option<std::path::PathBuf> {
        None
    }
}

struct FakeLogits(Vec<Vec<[f32; LABELS]>>);

impl LogitRows for FakeLogits {
    fn row(&self, window: usize, position: usize) -> Option<&[f32]> {
        self.0.get(window)?.get(position).map(<[f32; LABELS]>::as_slice)
    }
}

impl ModelSession for FakeSession {
    fn run(&mut self, windows: &[&WindowInput]) -> Result<Box<dyn LogitRows>, ModelSessionError> {
        if self.broken {
            return Err("still".into());
        }
        let fault = self.script.faults.lock().unwrap().pop();
        match fault {
            Some(Fault::RunError) => return Err("on purpose".into()),
            Some(Fault::BrokenSession) => {
                self.broken = true;
                return Err("from now on".into());
            }
            Some(Fault::RunPanic) => panic!("on purpose"),
            Some(Fault::PanicThenNoSession) => {
                self.script.openings_fail.store(2, Ordering::SeqCst);
                panic!("on purpose");
            }
            Some(Fault::Stall) => std::thread::sleep(Duration::from_millis(300)),
            Some(Fault::SlowLoad | Fault::BadVersion) | None => {}
        }
        let has = |id| windows.iter().any(|window| window.ids.contains(&id));
        while has(SLOW) && self.script.slow_waits.load(Ordering::SeqCst) {
            std::thread::sleep(Duration::from_millis(2));
        }
        assert!(!has(PANIC), "on purpose");
        if has(ERROR) {
            return Err("on purpose, at /secret/path".into());
        }
        let row = |id: &u32| match *id {
            PAUL => [0.0, 9.0, 0.0, 0.0, 0.0],
            PARIS => [0.0, 0.0, 0.0, 9.0, 0.0],
            WALK => [0.0, 0.0, 9.0, 0.0, 0.0],
            ORPHAN => [1.0, 0.0, 9.0, 0.0, 0.0],
            NAN => [f32::NAN; LABELS],
            _ => [9.0, 0.0, 0.0, 0.0, 0.0],
        };
        let rows = windows.iter().map(|window| window.ids.iter().map(row).collect());
        Ok(Box::new(FakeLogits(rows.collect())))
    }
}

/// A running server; dropping it tells it to stop.
struct Server {
    address: SocketAddr,
    grpc: SocketAddr,
    script: Arc<Script>,
    shutdown: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<Result<Stopped, ServerError>>>,
}

struct Response {
    status: u16,
    head: String,
    body: String,
}

impl Response {
    fn json(&self) -> Value {
        serde_json::from_str(&self.body)
            .unwrap_or_else(|error| panic!("{error}: {} {}", self.head, self.body))
    }

    fn code(&self) -> String {
        self.json()["error"]["code"]
            .as_str()
            .unwrap_or_default()
            .to_owned()
    }

    fn header(&self, name: &str) -> Option<&str> {
        let mut fields = self.head.lines().filter_map(|line| line.split_once(": "));
        fields
            .find(|(field, _)| field.eq_ignore_ascii_case(name))
            .map(|(_, value)| value)
    }
}

impl Server {
    fn start(script: Script, edit: impl FnOnce(&mut ServerConfig)) -> Self {
        Self::start_with(script, None, edit)
    }

    fn start_with(script: Script, canary: Option<Script>, edit: impl FnOnce(&mut ServerConfig)) -> Self {
        Self::start_shared(Arc::new(script), canary.map(Arc::new), edit)
    }

    fn start_shared(
        script: Arc<Script>,
        canary: Option<Arc<Script>>,
        edit: impl FnOnce(&mut ServerConfig),
    ) -> Self {
        let mut config = ServerConfig::default();
        config.engine.model.workers = Some(1);
        config.http.http_threads = 1;
        // A test that takes long must not see a version come by itself.
        config.engine.versions.reload_poll_ms = 0;
        edit(&mut config);
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let grpc_listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let grpc = grpc_listener.local_addr().unwrap();
        let listeners = Listeners {
            http: listener,
            grpc: Some(grpc_listener),
        };
        let (shutdown, told) = oneshot::channel::<()>();
        let source = Arc::new(FakeSource(Arc::clone(&script)));
        let canary = canary.map(|script| Arc::new(FakeSource(script)) as Arc<dyn ModelSource>);
        let thread = std::thread::spawn(move || {
            let told = async {
                let _dropped = told.await;
            };
            let engine = Engine::with_sources(config.engine.clone(), source, canary);
            actix_web::rt::System::new().block_on(async {
                let entrance = Entrance::new(listeners, &config)?;
                serve(entrance, config, engine, told).await
            })
        });
        Self {
            address,
            grpc,
            script,
            shutdown: Some(shutdown),
            thread: Some(thread),
        }
    }

    fn ready(self) -> Self {
        eventually(|| self.get("/health/ready").status == 200);
        self
    }

    fn plain() -> Self {
        Self::start(Script::default(), |_| ()).ready()
    }

    /// Sends a request and leaves its connection to the caller.
    fn send(&self, method: &str, path: &str, headers: &str, body: &str) -> TcpStream {
        let mut stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        let length = body.len();
        let request = format!(
            "{method} {path} HTTP/1.1\r\nhost: test\r\nconnection: close\r\ncontent-length: {length}\r\n{headers}\r\n{body}"
        );
        // A server that refuses a body unread may close before all of it is sent.
        let _ = stream.write_all(request.as_bytes());
        stream
    }

    fn get(&self, path: &str) -> Response {
        receive(self.send("GET", path, "", ""))
    }

    fn post(&self, path: &str, body: &str) -> Response {
        receive(self.send("POST", path, "content-type: application/json\r\n", body))
    }

    fn ner(&self, text: &str) -> Response {
        self.post("/ner", &json!({"text": text}).to_string())
    }

    fn later(&self, text: &str) -> TcpStream {
        self.send(
            "POST",
            "/ner",
            "content-type: application/json\r\n",
            &json!({"text": text}).to_string(),
        )
    }

    fn metric(&self, series: &str) -> f64 {
        let text = self.get("/metrics").body;
        let line = text
            .lines()
            .find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
        line.unwrap_or_else(|| panic!("no {series} in\n{text}"))
            .parse()
            .unwrap()
    }

    fn stop(mut self) -> Result<Stopped, ServerError> {
        drop(self.shutdown.take());
        self.thread.take().unwrap().join().unwrap()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.script.slow_waits.store(false, Ordering::SeqCst);
        self.script.openings_wait.store(false, Ordering::SeqCst);
        drop(self.shutdown.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn receive(mut stream: TcpStream) -> Response {
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).unwrap();
    let text = String::from_utf8(bytes).unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
    let status = head
        .split(' ')
        .nth(1)
        .and_then(|status| status.parse().ok())
        .unwrap_or(0);
    Response {
        status,
        head: head.to_owned(),
        body: body.to_owned(),
    }
}

fn eventually(condition: impl Fn() -> bool) {
    let began = Instant::now();
    while !condition() {
        assert!(began.elapsed() < Duration::from_secs(20), "it never came true");
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn slow() -> Script {
    Script {
        slow_waits: AtomicBool::new(true),
        ..Script::default()
    }
}

#[test]
fn a_text_is_answered_with_its_entities() {
    let server = Server::plain();
    let answer = server.ner("😀 paul met paul in paris").json();
    assert_eq!(answer["model"], json!({"name": "test", "version": "v1"}));
    let entities = answer["entities"].as_array().unwrap();
    let shown: Vec<_> = entities
        .iter()
        .map(|e| (&e["type"], &e["text"], &e["start"], &e["end"], &e["words"]))
        .collect();
    assert_eq!(
        json!(shown),
        json!([
            ["person", "paul", 2, 6, [1, 2]],
            ["person", "paul", 11, 15, [3, 4]],
            ["location", "paris", 19, 24, [5, 6]]
        ])
    );
    assert_eq!(answer["words"].as_array().unwrap().len(), 6);
    let utf16 = server
        .post(
            "/ner",
            r#"{"text": "😀 paris", "offsets": "utf16", "include_words": false}"#,
        )
        .json();
    assert_eq!(utf16["entities"][0]["start"], 3);
    assert!(utf16.get("words").is_none());
    assert_eq!(server.metric("nerve_entities_total{type=\"person\"}"), 2.0);
    assert_eq!(
        server.metric("nerve_requests_total{route=\"/ner\",status=\"200\"}"),
        2.0
    );
}

#[test]
fn a_text_of_many_windows_is_answered_word_for_word() {
    let server = Server::plain();
    let text = "paul met in paris ".repeat(50);
    let answer = server.ner(&text).json();
    assert_eq!(answer["entities"].as_array().unwrap().len(), 100);
    assert_eq!(answer["words"].as_array().unwrap().len(), 200);
    let empty = server.ner(" ").json();
    assert_eq!((&empty["entities"], &empty["words"]), (&json!([]), &json!([])));
    let given = server.post("/ner", r#"{"words": ["", "paris", " "]}"#).json();
    assert_eq!(
        given["words"][0],
        json!({"text": "", "start": 0, "end": 0, "label": "O", "score": 1.0})
    );
    assert_eq!(given["entities"][0]["words"], json!([1, 2]));
}

#[test]
fn a_batch_answers_each_text_in_its_place() {
    let server = Server::plain();
    let body = json!({"items": [{"text": "paul"}, {"text": 5}, {"text": "nan"}, {"text": ""}, {"words": ["paris"]}]});
    let response = server.post("/ner/batch", &body.to_string());
    assert_eq!(response.status, 200);
    let results = &response.json()["results"];
    assert_eq!(results[0]["entities"][0]["type"], "person");
    assert_eq!(results[1]["error"]["code"], "invalid_request");
    assert_eq!(results[2]["error"]["code"], "inference_failed");
    assert_eq!(results[3]["entities"], json!([]));
    assert_eq!(results[4]["entities"][0]["type"], "location");
}

#[test]
fn every_mistake_is_an_error_of_the_api_with_an_id() {
    let server = Server::start(Script::default(), |config| {
        config.http.max_body_bytes = 1000;
        config.engine.texts.max_text_bytes = 100;
        config.engine.texts.max_windows = 2;
        config.http.max_texts_per_batch = 1;
    })
    .ready();
    let json_type = "content-type: application/json\r\n";
    let long = json!({"text": "in ".repeat(400)}).to_string();
    let words = json!({"text": "in ".repeat(30)}).to_string();
    let bytes = json!({"text": "a".repeat(101)}).to_string();
    let cases = [
        ("GET", "/nowhere", "", "", 404, "not_found"),
        ("GET", "/ner", "", "", 405, "method_not_allowed"),
        ("POST", "/health/live", "", "", 405, "method_not_allowed"),
        (
            "POST",
            "/ner",
            "content-type: text/plain\r\n",
            "{}",
            415,
            "unsupported_media_type",
        ),
        ("POST", "/ner", "", "{}", 415, "unsupported_media_type"),
        ("POST", "/ner", json_type, "{", 400, "malformed_json"),
        ("POST", "/ner", json_type, "{}", 422, "invalid_request"),
        (
            "POST",
            "/ner",
            json_type,
            r#"{"text": "", "x": 1}"#,
            422,
            "invalid_request",
        ),
        ("POST", "/ner", json_type, long.as_str(), 413, "body_too_large"),
        ("POST", "/ner", json_type, words.as_str(), 413, "text_too_long"),
        ("POST", "/ner", json_type, bytes.as_str(), 413, "text_too_large"),
        (
            "POST",
            "/ner/batch",
            json_type,
            r#"{"items": [1, 2]}"#,
            413,
            "too_many_texts",
        ),
    ];
    for (method, path, headers, body, status, code) in cases {
        let response = receive(server.send(method, path, headers, body));
        assert_eq!(
            (response.status, response.code().as_str()),
            (status, code),
            "{method} {path} {body}"
        );
        assert!(response.header("x-request-id").is_some(), "{method} {path}");
        assert!(response.header("server-timing").is_some(), "{method} {path}");
    }
    assert_eq!(
        server.metric("nerve_requests_total{route=\"other\",status=\"404\"}"),
        1.0
    );
    assert_eq!(server.metric("nerve_refused_total{reason=\"windows\"}"), 1.0);
    let kept = receive(server.send("HEAD", "/health/live", "x-request-id: mine-7\r\n", ""));
    assert_eq!((kept.status, kept.header("x-request-id")), (200, Some("mine-7")));
}

#[test]
fn a_failed_run_is_a_500_and_the_next_text_is_answered() {
    let server = Server::plain();
    for text in ["paul error", "paul nan"] {
        let failed = server.ner(text);
        assert_eq!((failed.status, failed.code().as_str()), (500, "inference_failed"));
        assert!(!failed.body.contains("secret"));
        assert_eq!(server.ner("paul").status, 200);
    }
    assert_eq!(server.metric("nerve_worker_restarts_total"), 0.0);
}

#[test]
fn a_panic_is_a_500_and_a_new_session() {
    let server = Server::plain();
    let failed = server.ner("panic");
    assert_eq!((failed.status, failed.code().as_str()), (500, "inference_failed"));
    eventually(|| server.get("/health/ready").status == 200 && server.ner("paul").status == 200);
    assert_eq!(server.metric("nerve_worker_restarts_total"), 1.0);
    assert_eq!(server.metric("nerve_workers_alive"), 1.0);
}

#[test]
fn without_a_worker_readiness_falls_and_nothing_hangs() {
    let server = Server::start(
        Script {
            opens_fail_after: Some(1),
            ..Script::default()
        },
        |_| (),
    )
    .ready();
    assert_eq!(server.ner("panic").status, 500);
    eventually(|| server.get("/health/ready").code() == "no_worker");
    let refused = server.ner("paul");
    assert_eq!((refused.status, refused.header("retry-after")), (503, Some("1")));
    assert_eq!(server.get("/health/live").status, 200);
    assert_eq!(server.metric("nerve_workers_alive"), 0.0);
    assert_eq!(server.stop().unwrap(), Stopped::Drained);
}

#[test]
fn a_full_queue_refuses_at_once() {
    let server = Server::start(slow(), |config| config.engine.queue.windows = 1).ready();
    let running = server.later("slow");
    eventually(|| server.metric("nerve_stage_duration_seconds_count{stage=\"queue\"}") == 1.0);
    let waiting = server.later("paul");
    eventually(|| server.metric("nerve_queue_windows") == 1.0);
    let tokenized = || server.metric("nerve_stage_duration_seconds_count{stage=\"tokenize\"}");
    let before = tokenized();
    let refused = server.ner("paris");
    assert_eq!((refused.status, refused.code().as_str()), (429, "overloaded"));
    assert_eq!(refused.header("retry-after"), Some("1"));
    assert_eq!(server.get("/health/ready").status, 200);
    assert_eq!(server.post("/", r#"{"inputs": "paris"}"#).status, 429);
    assert_eq!(tokenized(), before, "nothing is done for what is refused");
    server.script.slow_waits.store(false, Ordering::SeqCst);
    assert_eq!((receive(running).status, receive(waiting).status), (200, 200));
    assert_eq!(
        server.metric("nerve_refused_total{reason=\"queue_windows\"}"),
        2.0
    );
    assert_eq!(server.metric("nerve_queue_tokens"), 0.0);
}

#[test]
fn a_queue_full_of_tokens_refuses_by_its_own_reason() {
    // Four windows of three tokens.
    let server = Server::start(slow(), |config| config.engine.queue.tokens = 12).ready();
    let running = server.later("slow");
    eventually(|| server.metric("nerve_stage_duration_seconds_count{stage=\"queue\"}") == 1.0);
    let waiting: Vec<_> = (0..3).map(|_| server.later("paul")).collect();
    eventually(|| server.metric("nerve_queue_tokens") == 9.0);
    // A batch is taken whole or not at all: one of its texts would have room.
    let batch = server.post(
        "/ner/batch",
        r#"{"items": [{"text": "paul"}, {"text": "paris"}]}"#,
    );
    assert_eq!((batch.status, batch.code().as_str()), (429, "overloaded"));
    assert!(batch.body.contains("tokens") && batch.header("retry-after").is_some());
    assert_eq!(server.metric("nerve_queue_tokens"), 9.0);
    assert_eq!(server.metric("nerve_refused_total{reason=\"queue_tokens\"}"), 1.0);
    server.script.slow_waits.store(false, Ordering::SeqCst);
    for request in waiting.into_iter().chain([running]) {
        assert_eq!(receive(request).status, 200);
    }
    eventually(|| server.accounts());
}

#[test]
fn a_window_that_never_fits_is_too_large() {
    let server = Server::start(Script::default(), |config| config.engine.queue.tokens = 5).ready();
    assert_eq!(server.ner("paul").status, 200);
    let refused = server.ner(&"in ".repeat(20));
    assert_eq!(
        (refused.status, refused.code().as_str()),
        (413, "request_too_large")
    );
}

#[test]
fn a_text_longer_than_the_queue_goes_through_it_in_parts() {
    let server = Server::start(Script::default(), |config| config.engine.queue.windows = 3).ready();
    let answer = server.ner(&"paul met in paris ".repeat(2000)).json();
    assert_eq!(answer["words"].as_array().unwrap().len(), 8000);
    assert_eq!(answer["entities"].as_array().unwrap().len(), 4000);
    let items = vec![json!({"text": "paul met in paris ".repeat(20)}); 30];
    let batch = server
        .post("/ner/batch", &json!({"items": items}).to_string())
        .json();
    for result in batch["results"].as_array().unwrap() {
        assert_eq!(result["entities"].as_array().unwrap().len(), 40);
    }
    assert_eq!(server.metric("nerve_queue_tokens"), 0.0);
}

#[test]
fn a_long_text_holds_a_bounded_part_of_the_queue() {
    let server = Server::start(slow(), |_| ()).ready();
    let long = server.later(&format!("slow {} error", "paul met in paris ".repeat(1000)));
    eventually(|| server.metric("nerve_stage_duration_seconds_count{stage=\"queue\"}") >= 1.0);
    let waiting = server.metric("nerve_queue_windows");
    assert!(
        (1.0..256.0).contains(&waiting),
        "{waiting} of some 700 windows wait"
    );
    let short = server.later("paul");
    eventually(|| server.metric("nerve_queue_windows") == waiting + 1.0);
    server.script.slow_waits.store(false, Ordering::SeqCst);
    assert_eq!(receive(short).status, 200);
    let failed = receive(long);
    assert_eq!((failed.status, failed.code().as_str()), (500, "inference_failed"));
    assert_eq!(server.metric("nerve_queue_windows"), 0.0);
}

#[test]
fn aggregation_and_constraints_are_as_asked() {
    let server = Server::plain();
    let ask = |options: Value| {
        let mut body = json!({"words": ["paulwalk", "met", "", "orphan", "paris"]});
        body.as_object_mut()
            .unwrap()
            .extend(options.as_object().unwrap().clone());
        server.post("/ner", &body.to_string()).json()
    };
    let labels = |answer: &Value| -> Vec<String> {
        let words = answer["words"].as_array().unwrap();
        words
            .iter()
            .map(|word| {
                format!(
                    "{} {}",
                    word["text"].as_str().unwrap(),
                    word["label"].as_str().unwrap()
                )
            })
            .collect()
    };
    let first = ask(json!({}));
    assert_eq!(
        labels(&first),
        ["paulwalk B-person", "met O", " O", "orphan O", "paris B-location"]
    );
    let free = ask(json!({"constrained": false}));
    assert_eq!(labels(&free)[3], "orphan I-person");
    assert_eq!(free["entities"][1]["text"], "orphan");
    let simple = ask(json!({"aggregation": "simple"}));
    assert_eq!(
        labels(&simple),
        [
            "paul B-person",
            "walk I-person",
            "met O",
            " O",
            "orphan O",
            "paris B-location"
        ]
    );
    assert_eq!(simple["entities"][0]["text"], "paulwalk");
    assert_eq!(simple["entities"][0]["words"], json!([0, 2]));
    let none = ask(json!({"aggregation": "none"}));
    let texts: Vec<&Value> = none["entities"]
        .as_array()
        .unwrap()
        .iter()
        .map(|e| &e["text"])
        .collect();
    assert_eq!(texts, ["paul", "walk", "paris"]);
    for aggregation in ["average", "max"] {
        let answer = ask(json!({"aggregation": aggregation}));
        assert_eq!(answer["words"].as_array().unwrap().len(), 5, "{aggregation}");
        let last = answer["entities"].as_array().unwrap().last().unwrap();
        assert_eq!(last["text"], "paris", "{aggregation}");
    }
    // A word without a token lies inside the entity around it, except where each token is an entity of its own.
    let within = ask(json!({"words": ["paulwalk", "", "orphan"]}));
    assert_eq!(
        labels(&within),
        ["paulwalk B-person", " I-person", "orphan I-person"]
    );
    assert_eq!(within["entities"][0]["text"], "paulwalk  orphan");
    assert_eq!(within["words"][1]["score"], within["entities"][0]["score"]);
    let none = ask(json!({"words": ["paulwalk", "", "orphan"], "aggregation": "none"}));
    assert_eq!(labels(&none)[2], " O");
}

#[test]
fn the_hugging_face_shape_is_answered_as_its_pipeline_would() {
    let server = Server::plain();
    let ask = |body: Value| server.post("/", &body.to_string());
    let one = ask(json!({"inputs": "😀 Paulwalk met paris"}));
    assert_eq!(one.status, 200);
    assert_eq!(one.header("x-nerve-truncated"), None);
    let groups = one.json();
    let shown: Vec<_> = groups
        .as_array()
        .unwrap()
        .iter()
        .map(|g| json!([g["entity_group"], g["word"], g["start"], g["end"]]))
        .collect();
    assert_eq!(
        json!(shown),
        json!([["person", "paulwalk", 2, 10], ["location", "paris", 15, 20]])
    );
    let none = ask(
        json!({"inputs": ["paul in", ""], "parameters": {"aggregation_strategy": "none", "ignore_labels": []}}),
    );
    let none = none.json();
    assert_eq!(none[0][1]["entity"], "O");
    assert_eq!(
        (&none[0][0]["index"], &none[0][0]["word"]),
        (&json!(1), &json!("paul"))
    );
    assert_eq!(none[1], json!([]));
    // The model reads 8 tokens of a text and no more, unless it may read it in chunks.
    let long = "in ".repeat(10) + "paris";
    let cut = ask(json!({"inputs": &long}));
    assert_eq!(
        (cut.header("x-nerve-truncated"), cut.json()),
        (Some("true"), json!([]))
    );
    let chunked = ask(json!({"inputs": &long, "parameters": {"stride": 2}}));
    assert_eq!(chunked.header("x-nerve-truncated"), None);
    assert_eq!(chunked.json()[0]["word"], "paris");
    for parameters in [
        json!({"stride": 8}),
        json!({"stride": 1, "aggregation_strategy": "none"}),
        json!({"aggregation_strategy": "last"}),
    ] {
        let refused = ask(json!({"inputs": "a", "parameters": parameters}));
        assert_eq!(
            (refused.status, refused.code().as_str()),
            (422, "invalid_request")
        );
    }
    assert_eq!(ask(json!({"inputs": "nan"})).status, 500);
    assert_eq!(
        server.metric("nerve_requests_total{route=\"/\",status=\"422\"}"),
        3.0
    );
}

#[test]
fn a_client_that_leaves_withdraws_its_text() {
    let server = Server::start(slow(), |_| ()).ready();
    let running = server.later("slow");
    eventually(|| server.metric("nerve_stage_duration_seconds_count{stage=\"queue\"}") == 1.0);
    let leaving = server.later("panic");
    eventually(|| server.metric("nerve_queue_windows") == 1.0);
    drop(leaving);
    eventually(|| server.metric("nerve_requests_total{route=\"/ner\",status=\"499\"}") == 1.0);
    server.script.slow_waits.store(false, Ordering::SeqCst);
    assert_eq!(receive(running).status, 200);
    assert_eq!(server.ner("paul").status, 200);
    assert_eq!(server.metric("nerve_worker_restarts_total"), 0.0);
}

#[test]
fn before_the_model_is_warm_it_is_alive_but_not_ready() {
    let server = Server::start(
        Script {
            openings_wait: AtomicBool::new(true),
            ..Script::default()
        },
        |_| (),
    );
    eventually(|| server.get("/health/live").status == 200);
    let refused = server.ner("paul");
    assert_eq!((refused.status, refused.code().as_str()), (503, "starting"));
    assert_eq!(server.get("/health/ready").code(), "starting");
    server.script.openings_wait.store(false, Ordering::SeqCst);
    assert_eq!(server.ready().ner("paul").status, 200);
}

#[test]
fn a_session_that_cannot_be_opened_ends_the_start() {
    let mut server = Server::start(
        Script {
            opens_fail_after: Some(0),
            ..Script::default()
        },
        |_| (),
    );
    let outcome = server.thread.take().unwrap().join().unwrap();
    assert!(
        matches!(outcome, Err(ServerError::Engine(EngineError::Session(_)))),
        "{outcome:?}"
    );
}

#[test]
fn told_to_stop_it_ends_what_runs_and_takes_no_more() {
    let mut server = Server::start(slow(), |_| ()).ready();
    let running = server.later("slow paul");
    eventually(|| server.metric("nerve_stage_duration_seconds_count{stage=\"queue\"}") == 1.0);
    let waiting = server.later("paris");
    eventually(|| server.metric("nerve_queue_windows") == 1.0);
    drop(server.shutdown.take());
    eventually(|| TcpStream::connect(server.address).is_err());
    server.script.slow_waits.store(false, Ordering::SeqCst);
    assert_eq!((receive(running).status, receive(waiting).status), (200, 200));
    assert_eq!(server.stop().unwrap(), Stopped::Drained);
}

#[test]
fn the_drain_deadline_holds_and_open_connections_do_not_delay_it() {
    let idle = |server: &Server| {
        let mut stream = TcpStream::connect(server.address).unwrap();
        stream
            .write_all(b"GET /health/live HTTP/1.1\r\nhost: test\r\n\r\n")
            .unwrap();
        let mut head = [0; 12];
        stream.read_exact(&mut head).unwrap();
        assert_eq!(&head, b"HTTP/1.1 200");
        stream
    };
    let server = Server::plain();
    let _kept_alive = idle(&server);
    let began = Instant::now();
    assert_eq!(server.stop().unwrap(), Stopped::Drained);
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());

    let mut server = Server::start(slow(), |config| config.http.drain_deadline_ms = 200).ready();
    let script = Arc::clone(&server.script);
    let _running = server.later("slow");
    eventually(|| server.metric("nerve_stage_duration_seconds_count{stage=\"queue\"}") == 1.0);
    let waiting = server.later("paul");
    eventually(|| server.metric("nerve_queue_windows") == 1.0);
    let began = Instant::now();
    drop(server.shutdown.take());
    let refused = receive(waiting);
    assert_eq!((refused.status, refused.code().as_str()), (503, "draining"));
    assert_eq!(
        server.thread.take().unwrap().join().unwrap().unwrap(),
        Stopped::Late
    );
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    script.slow_waits.store(false, Ordering::SeqCst);
}

#[test]
fn the_pages_and_their_files_come_from_this_server_alone() {
    let server = Server::plain();
    for (path, media_type) in [
        ("/", "text/html; charset=utf-8"),
        ("/docs", "text/html; charset=utf-8"),
        ("/assets/page.css", "text/css; charset=utf-8"),
        ("/assets/page.js", "text/javascript; charset=utf-8"),
        ("/assets/icon.svg", "image/svg+xml"),
    ] {
        let page = server.get(path);
        assert_eq!(
            (page.status, page.header("content-type")),
            (200, Some(media_type)),
            "{path}"
        );
        let policy = page.header("content-security-policy").unwrap();
        assert!(
            policy.starts_with("default-src 'none'; ") && !policy.contains("unsafe"),
            "{policy}"
        );
        assert_eq!(page.header("x-content-type-options"), Some("nosniff"));
        assert_eq!(page.header("cache-control"), Some("no-cache"));
        let head = receive(server.send("HEAD", path, "", ""));
        assert_eq!((head.status, head.body.as_str()), (200, ""), "{path}");
        assert_eq!(
            head.header("content-length"),
            Some(page.body.len().to_string().as_str())
        );

        let tag = page.header("etag").unwrap();
        for held in [tag.to_owned(), format!("\"other\", W/{tag}"), "*".to_owned()] {
            let again = receive(server.send("GET", path, &format!("if-none-match: {held}\r\n"), ""));
            assert_eq!((again.status, again.body.as_str()), (304, ""), "{path} {held}");
            assert_eq!(again.header("etag"), Some(tag));
            assert_eq!(again.header("cache-control"), Some("no-cache"));
        }
        let changed = receive(server.send("GET", path, "if-none-match: \"other\"\r\n", ""));
        assert_eq!((changed.status, changed.body), (200, page.body), "{path}");
        assert_eq!(receive(server.send("DELETE", path, "", "")).status, 405, "{path}");
    }
    for path in ["/assets/none.js", "/assets/..%2fpage.js", "/assets/", "/docs/"] {
        assert_eq!(server.get(path).code(), "not_found", "{path}");
    }
    assert_eq!(
        server.metric("nerve_requests_total{route=\"/assets/{file}\",status=\"404\"}"),
        2.0
    );
    assert_eq!(
        server.metric("nerve_requests_total{route=\"/docs\",status=\"304\"}"),
        3.0
    );
}

#[test]
fn every_answer_tells_the_time_it_took() {
    let server = Server::plain();
    for response in [server.ner("paul"), server.ner("error"), server.get("/info")] {
        let told = response.header("server-timing").unwrap();
        let took: f64 = told.strip_prefix("total;dur=").unwrap().parse().unwrap();
        assert!(took > 0.0, "{told}");
    }
    assert_eq!(
        server.get("/info").json()["entity_types"],
        json!(["person", "location"])
    );
}
