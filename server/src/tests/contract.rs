//! The contract against what is answered: every status it names, no other, and every example it gives.

use std::collections::BTreeSet;

use actix_web::test::{TestRequest, call_service, init_service};

use nerve_engine::EngineConfig;
use nerve_engine::testing::engine_that_loses_tasks;
use prometheus::IntCounter;
use prometheus::core::{Collector, Desc};
use prometheus::proto::MetricFamily;

use super::*;
use crate::config::HttpConfig;
use crate::config::KeySource;
use crate::http::app::app;
use crate::http::keys::Keys;
use crate::http::openapi::openapi_json;
use crate::http::state::AppState;

/// A method, a path as the contract writes it, and a status.
type Answered = (String, String, u16);

const JSON: &str = "content-type: application/json\r\n";
const NDJSON: &str = "content-type: application/x-ndjson\r\n";
const TEXT: &str = "content-type: text/plain\r\n";

fn contract() -> Value {
    serde_json::from_str(&openapi_json().unwrap()).unwrap()
}

/// Every operation's method, path and description.
fn operations(contract: &Value) -> Vec<(String, String, Value)> {
    let mut operations = Vec::new();
    for (path, methods) in contract["paths"].as_object().unwrap() {
        for (method, operation) in methods.as_object().unwrap() {
            operations.push((method.to_uppercase(), path.clone(), operation.clone()));
        }
    }
    operations
}

fn promised() -> BTreeSet<Answered> {
    let mut promised = BTreeSet::new();
    for (method, path, operation) in operations(&contract()) {
        for status in operation["responses"].as_object().unwrap().keys() {
            promised.insert((method.clone(), path.clone(), status.parse().unwrap()));
        }
    }
    promised
}

/// The path of the model and version that the test server has.
fn filled(path: &str) -> String {
    path.replace("{model}", "test").replace("{version}", "v1")
}

/// The routes that take a text, how it is sent to them, and whether a request waits in the queue like others.
struct Tagging {
    path: &'static str,
    content_type: &'static str,
    body: fn(&str) -> String,
    options: fn() -> (&'static str, String),
}

fn tagging() -> Vec<Tagging> {
    let tensor = |text: &str| {
        json!({"inputs": [{"name": "text", "shape": [1], "datatype": "BYTES", "data": [text]}]}).to_string()
    };
    let bad_tensor: fn() -> (&'static str, String) = || ("", "{}".to_owned());
    vec![
        Tagging {
            path: "/ner",
            content_type: JSON,
            body: |text| json!({"text": text}).to_string(),
            options: || ("", json!({"text": "", "threshold": 2}).to_string()),
        },
        Tagging {
            path: "/ner/batch",
            content_type: JSON,
            body: |text| json!({"items": [{"text": text}]}).to_string(),
            options: || ("", json!({"items": [], "threshold": 2}).to_string()),
        },
        Tagging {
            path: "/",
            content_type: JSON,
            body: |text| json!({"inputs": text}).to_string(),
            options: || ("", json!({"inputs": []}).to_string()),
        },
        Tagging {
            path: "/ner/stream",
            content_type: NDJSON,
            body: |text| json!({"text": text}).to_string(),
            options: || ("?threshold=2", String::new()),
        },
        Tagging {
            path: "/v2/models/{model}/infer",
            content_type: JSON,
            body: tensor,
            options: bad_tensor,
        },
        Tagging {
            path: "/v2/models/{model}/versions/{version}/infer",
            content_type: JSON,
            body: tensor,
            options: bad_tensor,
        },
    ]
}

/// A counter that comes without a name, which the encoder of metrics refuses.
struct Nameless(IntCounter);

impl Collector for Nameless {
    fn desc(&self) -> Vec<&Desc> {
        self.0.desc()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let mut families = self.0.collect();
        for family in &mut families {
            family.set_name(String::new());
        }
        families
    }
}

#[derive(Default)]
struct Seen(BTreeSet<Answered>);

impl Seen {
    /// Sends a request to a path of the contract, filled in or as given, and notes the status.
    fn ask(&mut self, server: &Server, method: &str, path: &str, sent_to: &str, headers: &str, body: &str) {
        let status = receive(server.send(method, sent_to, headers, body)).status;
        self.0.insert((method.to_owned(), path.to_owned(), status));
    }

    fn post(&mut self, server: &Server, route: &Tagging, body: &str) {
        self.ask(
            server,
            "POST",
            route.path,
            &filled(route.path),
            route.content_type,
            body,
        );
    }

    fn get_all(&mut self, server: &Server) {
        for (method, path, _) in operations(&contract()) {
            if method == "GET" {
                self.ask(server, "GET", &path, &filled(&path), "", "");
                self.ask(server, "GET", &path, &filled(&path), "if-none-match: *\r\n", "");
            }
        }
    }

    /// What a working server answers to good requests and bad ones.
    fn on_a_working_server(&mut self) {
        let server = Server::start(Script::default(), |config| config.http.max_body_bytes = 1000).ready();
        self.get_all(&server);
        for (method, path, _) in operations(&contract()) {
            if path.contains("{model}") {
                let other = path.replace("{model}", "other").replace("{version}", "v2");
                self.ask(&server, &method, &path, &other, "", "");
            }
        }
        for route in tagging() {
            self.post(&server, &route, &(route.body)("paul"));
            let (query, body) = (route.options)();
            let wrong = format!("{}{query}", filled(route.path));
            self.ask(&server, "POST", route.path, &wrong, route.content_type, &body);
            self.ask(&server, "POST", route.path, &filled(route.path), TEXT, "{}");
            if route.path != "/ner/stream" {
                self.post(&server, &route, "{");
                self.post(&server, &route, &(route.body)(&"a".repeat(1000)));
            }
            if route.path != "/ner/stream" && route.path != "/ner/batch" {
                self.post(&server, &route, &(route.body)("error"));
            }
        }
    }

    fn on_a_starting_server(&mut self) {
        let server = Server::start(
            Script {
                openings_wait: AtomicBool::new(true),
                ..Script::default()
            },
            |_| (),
        );
        eventually(|| server.get("/health/live").status == 200);
        self.get_all(&server);
        for route in tagging() {
            self.post(&server, &route, &(route.body)("paul"));
        }
    }

    fn on_a_full_server(&mut self) {
        let server = Server::start(slow(), |config| config.engine.queue.windows = 1).ready();
        let running = server.later("slow");
        eventually(|| server.metric("nerve_stage_duration_seconds_count{stage=\"queue\"}") == 1.0);
        let waiting = server.later("paul");
        eventually(|| server.metric("nerve_queue_windows") == 1.0);
        for route in tagging() {
            // A stream waits.
            if route.path != "/ner/stream" {
                self.post(&server, &route, &(route.body)("paul"));
            }
        }
        server.script.slow_waits.store(false, Ordering::SeqCst);
        assert_eq!((receive(running).status, receive(waiting).status), (200, 200));
    }

    /// What a server answers that takes orders and texts from those who have a key, and has little time.
    fn on_a_guarded_server(&mut self) {
        let key = |value: &str| KeySource::Variable {
            name: "KEYS".to_owned(),
            value: value.to_owned(),
        };
        let server = Server::start(slow(), |config| {
            config.api_keys = Some(key("k"));
            config.admin_keys = Some(key("boss"));
            config.http.read_timeout_ms = 100;
        })
        .ready();
        for route in tagging() {
            self.post(&server, &route, &(route.body)("paul"));
            if route.path == "/ner/stream" {
                continue;
            }
            let (path, body) = (filled(route.path), (route.body)("slow"));
            let late = format!(
                "{}x-api-key: k\r\nx-request-timeout-ms: 20\r\n",
                route.content_type
            );
            self.ask(&server, "POST", route.path, &path, &late, &body);
            // The head announces a body that does not come.
            let mut stream = TcpStream::connect(server.address).unwrap();
            let head = format!(
                "POST {path} HTTP/1.1\r\nhost: test\r\nconnection: close\r\ncontent-length: 9\r\nx-api-key: k\r\n{}\r\n",
                route.content_type
            );
            stream.write_all(head.as_bytes()).unwrap();
            let status = receive(stream).status;
            self.0.insert(("POST".to_owned(), route.path.to_owned(), status));
        }
        for path in ["/admin/rollback", "/admin/reload", "/admin/rollback"] {
            let unknown = format!("{path}?version=v1");
            self.ask(&server, "POST", path, &unknown, "x-api-key: boss\r\n", "");
            self.ask(&server, "POST", path, path, "x-api-key: k\r\n", "");
            for version in ["v2", "bad"] {
                version.clone_into(&mut server.script.current.lock().unwrap());
                self.ask(&server, "POST", path, path, "authorization: Bearer boss\r\n", "");
            }
        }
    }

    /// What a server answers whose metrics cannot be written and whose tokenizing threads lose their work.
    async fn on_a_broken_server(&mut self) {
        let source = Arc::new(FakeSource(Arc::default()));
        let engine = engine_that_loses_tasks(EngineConfig::default(), source)
            .await
            .unwrap();
        engine.ready().await.unwrap();
        let counter = IntCounter::new("nameless", "Loses its name").unwrap();
        engine
            .metrics()
            .registry()
            .register(Box::new(Nameless(counter)))
            .unwrap();
        let keys = Arc::new(Keys::read(&ServerConfig::default()).unwrap());
        let state = AppState::new(Arc::new(engine), keys, HttpConfig::default()).unwrap();
        let service = init_service(app(state)).await;
        let metrics = TestRequest::get().uri("/metrics").to_request();
        let batch = TestRequest::post()
            .uri("/ner/batch")
            .set_json(json!({"items": [{"text": "paul"}]}))
            .to_request();
        for (method, path, request) in [("GET", "/metrics", metrics), ("POST", "/ner/batch", batch)] {
            let status = call_service(&service, request).await.status().as_u16();
            self.0.insert((method.to_owned(), path.to_owned(), status));
        }
    }
}

#[actix_web::test]
async fn the_contract_names_every_status_that_is_answered_and_no_other() {
    let mut seen = Seen::default();
    seen.on_a_working_server();
    seen.on_a_starting_server();
    seen.on_a_full_server();
    seen.on_a_guarded_server();
    seen.on_a_broken_server().await;
    let promised = promised();
    let never: Vec<_> = promised.difference(&seen.0).collect();
    let unnamed: Vec<_> = seen.0.difference(&promised).collect();
    assert!(never.is_empty(), "named and never answered: {never:?}");
    assert!(unnamed.is_empty(), "answered and not named: {unnamed:?}");
}

/// The examples of a request body: its own, or its schema's.
fn examples(contract: &Value, content: &Value) -> Vec<Value> {
    if let Some(example) = content.get("example") {
        return vec![example.clone()];
    }
    let reference = content["schema"]["$ref"].as_str().unwrap_or_default();
    let schema = contract.pointer(reference.trim_start_matches('#'));
    let schema = schema.unwrap_or(&content["schema"]);
    let listed = schema["examples"].as_array().cloned().unwrap_or_default();
    schema.get("example").cloned().into_iter().chain(listed).collect()
}

#[test]
fn every_body_has_an_example_and_every_example_is_answered() {
    let server = Server::plain();
    let contract = contract();
    let mut bodies = 0;
    for (method, path, operation) in operations(&contract) {
        let Some(content) = operation["requestBody"]["content"].as_object() else {
            continue;
        };
        for (media_type, content) in content {
            let examples = examples(&contract, content);
            assert!(
                !examples.is_empty(),
                "{method} {path} has no example for {media_type}"
            );
            for example in examples {
                let body = example
                    .as_str()
                    .map_or_else(|| example.to_string(), str::to_owned);
                let headers = format!("content-type: {media_type}\r\n");
                let response = receive(server.send(&method, &filled(&path), &headers, &body));
                assert_eq!(response.status, 200, "{method} {path} {body}: {}", response.body);
                assert!(!response.body.contains("\"error\""), "{}", response.body);
                bodies += 1;
            }
        }
    }
    assert!(bodies >= 5, "{bodies}");
}
