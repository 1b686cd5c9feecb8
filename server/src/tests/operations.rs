//! Other versions, deadlines, keys, limits and counters.

use super::faults::Fault;
use super::*;
use crate::config::KeySource;
use nerve_engine::CanaryConfig;

const ADMIN: &str = "x-api-key: boss\r\n";

fn keys(value: &str) -> Option<KeySource> {
    Some(KeySource::Variable {
        name: "KEYS".to_owned(),
        value: value.to_owned(),
    })
}

/// A server that takes orders and looks for other versions only when told.
fn ordered(script: Script) -> Server {
    Server::start(script, |config| {
        config.admin_keys = keys("boss");
    })
    .ready()
}

impl Server {
    pub(super) fn order(&self, path: &str) -> Response {
        receive(self.send("POST", path, ADMIN, ""))
    }

    pub(super) fn offer(&self, version: &str) {
        version.clone_into(&mut self.script.current.lock().unwrap());
    }

    fn version(&self) -> String {
        let answer = self.ner("paul").json();
        answer["model"]["version"].as_str().unwrap().to_owned()
    }

    /// The requests for tagging of this outcome, whatever version they were given.
    pub(super) fn tagged(&self, outcome: &str) -> f64 {
        let text = self.get("/metrics").body;
        let start = format!("nerve_model_requests_total{{outcome=\"{outcome}\",");
        let lines = text.lines().filter(|line| line.starts_with(&start));
        lines
            .map(|line| line.rsplit(' ').next().unwrap().parse::<f64>().unwrap())
            .sum()
    }

    /// Whether every request that was received has ended in one of the four ways, but for those still in flight.
    pub(super) fn accounts(&self) -> bool {
        let text = self.get("/metrics").body;
        let sum = |name: &str| -> f64 {
            let lines = text.lines().filter(|line| line.starts_with(name));
            lines
                .map(|line| line.rsplit(' ').next().unwrap().parse::<f64>().unwrap())
                .sum()
        };
        // The request for the metrics is in flight itself.
        sum("nerve_in_flight ") == 1.0 && sum("nerve_received_total ") == sum("nerve_outcomes_total{") + 1.0
    }
}

#[test]
fn another_version_is_served_when_ordered_and_the_one_before_again() {
    let server = ordered(Script::default());
    assert_eq!(server.order("/admin/rollback").code(), "not_reloaded");
    let same = server.order("/admin/reload").json();
    assert_eq!(
        same["models"][0],
        json!({"track": "stable", "version": "v1", "changed": false})
    );
    server.offer("v2");
    let loaded = server.order("/admin/reload").json();
    assert_eq!(
        loaded["models"][0],
        json!({"track": "stable", "version": "v2", "changed": true})
    );
    assert_eq!(server.version(), "v2");
    let info = "nerve_model_info{device=\"cpu\",name=\"test\",precision=\"fp32\",track=\"stable\",version=";
    assert_eq!(server.metric(&format!("{info}\"v2\"}}")), 1.0);
    assert!(!server.get("/metrics").body.contains(&format!("{info}\"v1\"}}")));
    let back = server.order("/admin/rollback").json();
    assert_eq!(back["models"][0]["version"], "v1");
    assert_eq!(server.version(), "v1");
    // The workers of the version before end after the order is answered.
    eventually(|| server.metric("nerve_workers_alive") == 1.0);
    // What was left is served again only when asked for.
    assert_eq!(server.order("/admin/reload").json()["models"][0]["version"], "v2");
    for (result, count) in [("loaded", 2.0), ("rolled_back", 1.0), ("rejected", 0.0)] {
        assert_eq!(
            server.metric(&format!("nerve_reloads_total{{result=\"{result}\"}}")),
            count
        );
    }
    assert!(server.accounts());
}

#[test]
fn a_version_that_is_noticed_is_served_but_not_one_that_was_left() {
    let server = Server::start(Script::default(), |config| {
        config.admin_keys = keys("boss");
        config.engine.versions.reload_poll_ms = 10;
    })
    .ready();
    server.offer("v2");
    eventually(|| server.version() == "v2");
    assert_eq!(server.order("/admin/rollback").status, 200);
    std::thread::sleep(Duration::from_millis(100));
    assert_eq!(server.version(), "v1");
    server.offer("v3");
    eventually(|| server.version() == "v3");
    // One that was left is followed again once `current` has named another.
    assert_eq!(server.order("/admin/rollback?from=v3").status, 200);
    let repeated = server.order("/admin/rollback?from=v3");
    assert_eq!((repeated.status, repeated.code().as_str()), (409, "not_reloaded"));
    assert_eq!(server.version(), "v1");
    server.offer("v1");
    std::thread::sleep(Duration::from_millis(100));
    server.offer("v3");
    eventually(|| server.version() == "v3");
}

#[test]
fn a_canary_that_is_no_good_keeps_no_version_back() {
    let script = || Script {
        current: Mutex::new("v1".to_owned()),
        ..Script::default()
    };
    let (stable, canary) = (Arc::new(script()), Arc::new(script()));
    let server = Server::start_shared(Arc::clone(&stable), Some(Arc::clone(&canary)), |config| {
        config.engine.versions.canary = Some(CanaryConfig {
            address: "./canary".parse().unwrap(),
            source: None,
            percent: 0,
        });
        config.admin_keys = keys("boss");
    })
    .ready();
    "v2".clone_into(&mut stable.current.lock().unwrap());
    "bad".clone_into(&mut canary.current.lock().unwrap());
    let refused = server.order("/admin/reload");
    assert_eq!(refused.status, 409);
    assert!(refused.body.contains("canary: "), "{}", refused.body);
    assert_eq!(server.version(), "v2");
}

#[test]
fn a_request_that_names_a_version_is_given_it() {
    let canary = Script {
        current: Mutex::new("c1".to_owned()),
        ..Script::default()
    };
    let server = Server::start_with(Script::default(), Some(canary), |config| {
        config.engine.versions.canary = Some(CanaryConfig {
            address: "./canary".parse().unwrap(),
            source: None,
            percent: 50,
        });
    })
    .ready();
    for version in ["v1", "c1"] {
        for id in 0..20 {
            let path = format!("/v2/models/test/versions/{version}/ready");
            let answer = receive(server.send("GET", &path, &format!("x-request-id: {id}\r\n"), ""));
            assert_eq!(answer.status, 200, "{version} {id}");
        }
    }
    assert_eq!(server.get("/v2/models/test/versions/x/ready").status, 404);
}

#[test]
fn a_session_that_runs_nothing_any_more_is_opened_anew() {
    let server = Server::plain();
    server.script.faults.lock().unwrap().push(Fault::BrokenSession);
    assert_eq!(server.ner("paul").status, 500);
    eventually(|| server.metric("nerve_worker_restarts_total") == 1.0);
    assert_eq!(server.ner("paul").status, 200);
}

#[test]
fn bodies_share_their_memory() {
    let server = Server::start(Script::default(), |config| {
        config.http.max_inflight_bytes = 2500;
        config.http.read_timeout_ms = 20_000;
    })
    .ready();
    let json = "content-type: application/json\r\n";
    let mut slow = TcpStream::connect(server.address).unwrap();
    slow.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    // What has arrived leaves too little for a text and its answer.
    let body = format!("{{\"text\": \"paul met{}\"}}", " ".repeat(1100));
    let (sent, rest) = body.split_at(1080);
    let head = format!(
        "POST /ner HTTP/1.1\r\nhost: test\r\nconnection: close\r\n{json}content-length: {}\r\n\r\n{sent}",
        body.len()
    );
    slow.write_all(head.as_bytes()).unwrap();
    let text = "paul met paul in paris ".repeat(4);
    let text = json!({"text": text, "include_words": false}).to_string();
    eventually(|| receive(server.send("POST", "/ner", json, &text)).status == 429);
    let refused = receive(server.send("POST", "/ner", json, &text));
    assert_eq!(
        (refused.code().as_str(), refused.header("retry-after")),
        ("overloaded", Some("1"))
    );
    slow.write_all(rest.as_bytes()).unwrap();
    assert_eq!(receive(slow).status, 200);
    eventually(|| receive(server.send("POST", "/ner", json, &text)).status == 200);
}

#[test]
fn a_bad_version_leaves_the_one_before_and_says_why() {
    let server = ordered(Script::default());
    server.offer("bad");
    let refused = server.order("/admin/reload");
    assert_eq!((refused.status, refused.code().as_str()), (409, "not_reloaded"));
    assert!(refused.body.contains("no such model"), "{}", refused.body);
    let info = server.get("/info").json();
    assert_eq!(
        info["tracks"][0]["problem"],
        "files or threads failed: no such model"
    );
    assert_eq!(server.metric("nerve_reloads_total{result=\"rejected\"}"), 1.0);
    assert_eq!(server.version(), "v1");
    server.offer("v2");
    server.order("/admin/reload");
    assert!(server.get("/info").json()["tracks"][0].get("problem").is_none());
}

#[test]
fn a_version_whose_sessions_do_not_open_is_refused() {
    let server = ordered(Script {
        opens_fail_after: Some(1),
        ..Script::default()
    });
    server.offer("v2");
    assert!(server.order("/admin/reload").body.contains("no session"));
    assert_eq!(server.version(), "v1");
    // The workers of the refused version end after the order is answered.
    eventually(|| server.metric("nerve_workers_alive") == 1.0);
}

#[test]
fn a_request_keeps_the_version_it_began_with() {
    let server = ordered(slow());
    let running = server.later("slow");
    eventually(|| server.metric("nerve_stage_duration_seconds_count{stage=\"queue\"}") == 1.0);
    let waiting = server.later("paul");
    eventually(|| server.metric("nerve_queue_windows") == 1.0);
    server.offer("v2");
    assert_eq!(server.order("/admin/reload").status, 200);
    assert_eq!(server.version(), "v2");
    assert_eq!(server.metric("nerve_workers_alive"), 2.0);
    server.script.slow_waits.store(false, Ordering::SeqCst);
    for old in [running, waiting] {
        let answer = receive(old);
        assert_eq!(
            (answer.status, &answer.json()["model"]["version"]),
            (200, &json!("v1"))
        );
    }
    // The version that nobody has any more is gone with its workers.
    eventually(|| server.metric("nerve_workers_alive") == 1.0);
    assert!(server.accounts());
}

#[test]
fn a_canary_answers_its_share_of_the_ids_and_always_the_same() {
    let canary = Script {
        current: Mutex::new("c1".to_owned()),
        ..Script::default()
    };
    let server = Server::start_with(Script::default(), Some(canary), |config| {
        config.engine.versions.canary = Some(CanaryConfig {
            address: "./canary".parse().unwrap(),
            source: None,
            percent: 30,
        });
    })
    .ready();
    let version = |id: usize| {
        let headers = format!("content-type: application/json\r\nx-request-id: {id}\r\n");
        let answer = receive(server.send("POST", "/ner", &headers, "{\"text\": \"paul\"}")).json();
        answer["model"]["version"].as_str().unwrap().to_owned()
    };
    let first: Vec<String> = (0..200).map(version).collect();
    let by_canary = first.iter().filter(|version| *version == "c1").count();
    assert!((30..90).contains(&by_canary), "{by_canary}");
    assert_eq!(first, (0..200).map(version).collect::<Vec<_>>());
    let counted = server.metric("nerve_model_requests_total{outcome=\"answered\",version=\"c1\"}");
    assert_eq!(counted, 2.0 * by_canary as f64);
    let tracks = server.get("/info").json()["tracks"].clone();
    assert_eq!(
        (&tracks[1]["version"], &tracks[1]["percent"]),
        (&json!("c1"), &json!(30))
    );
}

#[test]
fn a_passed_deadline_ends_preparation() {
    let server = Server::start(Script::default(), |_| {}).ready();
    let metric = |name: &str| server.metric(name);
    let prepared = "nerve_stage_duration_seconds_count{stage=\"tokenize\"}";
    let text = "%".repeat(1 << 20);
    for (path, body) in [
        ("/ner", json!({"text": text})),
        ("/", json!({"inputs": text, "parameters": {"stride": 1}})),
    ] {
        let headers = "content-type: application/json\r\nx-request-timeout-ms: 10\r\n";
        let late = receive(server.send("POST", path, headers, &body.to_string()));
        assert_eq!((late.status, late.code().as_str()), (504, "deadline_exceeded"));
        // The step that was running ends, and no other begins.
        eventually(|| metric("nerve_text_threads_busy") + metric("nerve_text_tasks_waiting") == 0.0);
    }
    assert_eq!(metric(prepared), 0.0);
    assert_eq!(server.ner("paul").status, 200);
    assert_eq!(metric(prepared), 1.0);
}

#[test]
fn a_request_past_its_deadline_is_dropped_unbegun() {
    let server = Server::start(slow(), |config| config.http.request_timeout_ms = 300).ready();
    let ask = |headers: &str, text: &str| {
        let headers = format!("content-type: application/json\r\n{headers}");
        receive(server.send("POST", "/ner", &headers, &json!({"text": text}).to_string()))
    };
    let running = server.later("slow");
    eventually(|| server.metric("nerve_stage_duration_seconds_count{stage=\"queue\"}") == 1.0);
    let began = Instant::now();
    let late = ask("x-request-timeout-ms: 50\r\n", "paul");
    assert_eq!((late.status, late.code().as_str()), (504, "deadline_exceeded"));
    assert!(
        began.elapsed() < Duration::from_millis(250),
        "{:?}",
        began.elapsed()
    );
    // More than the server allows is what it allows.
    assert_eq!(ask("x-request-timeout-ms: 60000\r\n", "paul").status, 504);
    assert_eq!(receive(running).status, 504);
    server.script.slow_waits.store(false, Ordering::SeqCst);
    assert_eq!(server.ner("paul").status, 200);
    // The first and the last were run, and nothing between.
    assert_eq!(server.metric("nerve_batch_size_count"), 2.0);
    for wrong in ["0", "-1", "1.5", "soon", ""] {
        let refused = ask(&format!("x-request-timeout-ms: {wrong}\r\n"), "paul");
        assert_eq!(
            (refused.status, refused.code().as_str()),
            (400, "invalid_timeout"),
            "{wrong}"
        );
    }
    assert!(server.accounts());
}

#[test]
fn keys_open_what_they_are_for() {
    let server = Server::start(Script::default(), |config| {
        config.api_keys = keys("k1,k2");
        config.admin_keys = keys("boss");
    })
    .ready();
    let ask = |path: &str, headers: &str, body: &str| {
        let headers = format!("content-type: application/json\r\n{headers}");
        receive(server.send("POST", path, &headers, body))
    };
    let text = "{\"text\": \"paul\"}";
    for key in [
        "authorization: Bearer k1\r\n",
        "authorization: bearer k2\r\n",
        "x-api-key: k1\r\n",
    ] {
        assert_eq!(ask("/ner", key, text).status, 200, "{key}");
    }
    for key in [
        "",
        "x-api-key: k3\r\n",
        "authorization: Basic k1\r\n",
        "x-api-key: boss\r\n",
    ] {
        let refused = ask("/ner", key, text);
        assert_eq!(
            (refused.status, refused.code().as_str()),
            (401, "unauthorized"),
            "{key}"
        );
        assert_eq!(refused.header("www-authenticate"), Some("Bearer"));
    }
    assert_eq!(ask("/v2/models/test/infer", "", "{}").status, 401);
    assert_eq!(ask("/", "", "{}").status, 401);
    assert_eq!(ask("/admin/reload", "x-api-key: k1\r\n", "").status, 401);
    // However the path is written.
    for path in ["/%6eer", "/n%65r", "/%61dmin/reload", "/admin/%72ollback"] {
        let refused = ask(path, "", text);
        assert_eq!(refused.status, 401, "{path}");
        assert!(refused.header("x-request-id").is_some() && refused.header("server-timing").is_some());
    }
    assert_eq!(ask("/admin/reload", ADMIN, "").status, 200);
    for open in ["/", "/health/ready", "/metrics", "/info", "/openapi.json"] {
        assert_eq!(server.get(open).status, 200, "{open}");
    }
    assert_eq!(server.metric("nerve_refused_total{reason=\"key\"}"), 11.0);
    // Without admin keys nobody gives orders.
    let closed = Server::plain().order("/admin/reload");
    assert!(closed.status == 401 && closed.body.contains("no admin key is configured"));
}

#[test]
fn another_origins_page_may_ask_only_where_it_is_configured() {
    let preflight = "origin: https://a.example\r\naccess-control-request-method: POST\r\n";
    let server = Server::plain();
    let plain = receive(server.send("POST", "/ner", "origin: https://a.example\r\n", ""));
    assert_eq!(plain.header("access-control-allow-origin"), None);
    let server = Server::start(Script::default(), |config| {
        config.http.cors_origins = vec!["https://a.example".to_owned()];
    })
    .ready();
    let allowed = receive(server.send("OPTIONS", "/ner", preflight, ""));
    assert_eq!(
        allowed.header("access-control-allow-origin"),
        Some("https://a.example")
    );
    let other = preflight.replace("a.example", "b.example");
    let refused = receive(server.send("OPTIONS", "/ner", &other, ""));
    assert_eq!(refused.header("access-control-allow-origin"), None);
}

#[test]
fn what_is_slow_or_large_is_refused_by_its_own_error() {
    let server = Server::start(Script::default(), |config| {
        config.http.read_timeout_ms = 200;
        config.engine.texts.max_words = 3;
    })
    .ready();
    let begin = |sent: &str| {
        let mut stream = TcpStream::connect(server.address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        // A server that refuses what is sent may close before all of it is.
        let _ = stream.write_all(sent.as_bytes());
        stream
    };
    // A head that never ends, a body that never comes, a head too long to be one.
    assert_eq!(receive(begin("POST /ner HTTP/1.1\r\nhost: te")).status, 408);
    let head = "POST /ner HTTP/1.1\r\nhost: test\r\nconnection: close\r\ncontent-type: application/json\r\ncontent-length: 9\r\n\r\n";
    let body = receive(begin(head));
    assert_eq!((body.status, body.code().as_str()), (408, "body_too_slow"));
    let long = format!(
        "GET /info HTTP/1.1\r\nhost: test\r\nx: {}\r\n",
        "x".repeat(1 << 18)
    );
    // The rest of it is not read, so the answer may be lost in the reset of the connection.
    eventually(|| {
        let mut line = [0; 12];
        let mut stream = begin(&long);
        stream.read_exact(&mut line).is_ok() && &line == b"HTTP/1.1 431"
    });
    let many = server.ner("paul met paul in paris");
    assert_eq!((many.status, many.code().as_str()), (413, "too_many_words"));
    assert_eq!(server.ner("paul in paris").status, 200);
}

#[test]
fn a_refused_client_is_told_how_long_the_queue_takes() {
    let server = Server::start(slow(), |config| config.engine.queue.windows = 5).ready();
    // Takes 300 ms, by which the rate is known, however long nothing comes then.
    server.script.faults.lock().unwrap().push(Fault::Stall);
    assert_eq!(server.ner("paul").status, 200);
    let before = server.metric("nerve_stage_duration_seconds_count{stage=\"queue\"}");
    let running = server.later("slow");
    eventually(|| server.metric("nerve_stage_duration_seconds_count{stage=\"queue\"}") > before);
    let waiting: Vec<_> = (0..5).map(|_| server.later("paul")).collect();
    eventually(|| server.metric("nerve_queue_windows") == 5.0);
    let refused = server.ner("paul");
    let seconds: u32 = refused.header("retry-after").unwrap().parse().unwrap();
    // Six texts at 300 ms, a little more where the machine is busy.
    assert_eq!(refused.status, 429);
    assert!((2..=4).contains(&seconds), "{seconds}");
    server.script.slow_waits.store(false, Ordering::SeqCst);
    for request in waiting.into_iter().chain([running]) {
        assert_eq!(receive(request).status, 200);
    }
}

#[test]
fn the_door_stays_open_a_while_after_readiness_has_fallen() {
    let mut server = Server::start(Script::default(), |config| config.http.drain_delay_ms = 400).ready();
    let began = Instant::now();
    drop(server.shutdown.take());
    eventually(|| server.get("/health/ready").status == 503);
    // What a balancer sends that has not noticed yet is answered.
    assert_eq!(server.ner("paul").status, 200);
    assert!(began.elapsed() < Duration::from_millis(400));
    assert_eq!(
        server.thread.take().unwrap().join().unwrap().unwrap(),
        Stopped::Drained
    );
    assert!(began.elapsed() >= Duration::from_millis(400));
}

#[test]
fn connections_beyond_the_limit_wait() {
    let server = Server::start(Script::default(), |config| config.http.max_connections = 1).ready();
    let held = TcpStream::connect(server.address).unwrap();
    std::thread::sleep(Duration::from_millis(50));
    let mut waiting = server.send("GET", "/health/live", "", "");
    waiting
        .set_read_timeout(Some(Duration::from_millis(100)))
        .unwrap();
    assert!(waiting.read(&mut [0; 1]).is_err());
    drop(held);
    waiting.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    assert_eq!(receive(waiting).status, 200);
}

#[test]
fn a_text_that_was_answered_lately_is_not_computed_again() {
    let server = Server::start(Script::default(), |config| {
        config.engine.versions.cache_bytes = 1 << 20;
    })
    .ready();
    let first = server.ner("paul met paul in paris");
    let computed = server.metric("nerve_batch_size_count");
    let body = json!({"items": [{"text": "paul met paul in paris"}, {"text": "paris"}, {"text": "nan"}]});
    let batch = server.post("/ner/batch", &body.to_string()).json();
    let again = server.ner("paul met paul in paris");
    assert_eq!(first.body, again.body);
    assert_eq!(batch["results"][0]["entities"], first.json()["entities"]);
    assert_eq!(batch["results"][1]["entities"][0]["type"], "location");
    assert_eq!(batch["results"][2]["error"]["code"], "inference_failed");
    let hits = server.metric("nerve_cache_lookups_total{result=\"hit\"}");
    let misses = server.metric("nerve_cache_lookups_total{result=\"miss\"}");
    assert_eq!((hits, misses), (2.0, 3.0));
    // The two that were new, together or one after the other.
    let further = server.metric("nerve_batch_size_count") - computed;
    assert!((1.0..=2.0).contains(&further), "{further}");
    // What failed is tried again.
    server.ner("nan");
    assert_eq!(server.metric("nerve_cache_lookups_total{result=\"hit\"}"), 2.0);
}

#[test]
fn a_byte_order_mark_is_no_part_of_a_body() {
    let server = Server::plain();
    let tensor = json!({"inputs": [{"name": "text", "shape": [1], "datatype": "BYTES", "data": ["paul"]}]});
    for (path, body) in [
        ("/ner", json!({"text": "paul"})),
        ("/ner/batch", json!({"items": [{"text": "paul"}]})),
        ("/", json!({"inputs": "paul"})),
        ("/v2/models/test/infer", tensor),
    ] {
        let answer = server.post(path, &format!("\u{feff}{body}"));
        assert_eq!(answer.status, 200, "{path}: {}", answer.body);
        assert!(answer.body.contains("person"), "{path}: {}", answer.body);
    }
    let lines = "content-type: application/x-ndjson\r\n";
    let streamed = receive(server.send("POST", "/ner/stream", lines, "\u{feff}{\"text\": \"paul\"}\n"));
    assert!(streamed.body.contains("person"), "{}", streamed.body);
}
