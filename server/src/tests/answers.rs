//! The memory of answers, and the count of requests until their answers are sent.

use super::compression::exchange;
use super::*;
use std::io::{BufRead, BufReader};

const JSON: &str = "content-type: application/json\r\n";

/// Empty words: a body of three bytes a word, and an answer of some sixty.
fn empty_words(count: usize) -> String {
    format!("{{\"words\": [{}\"\"]}}", "\"\",".repeat(count - 1))
}

impl Server {
    /// The bytes that requests hold, without this one.
    fn held(&self) -> f64 {
        self.metric("nerve_inflight_bytes")
    }
}

#[test]
fn an_answer_is_charged_until_it_is_read() {
    let server = Server::start(Script::default(), |config| {
        config.http.max_inflight_bytes = 90 << 20;
        config.engine.texts.max_words = 1 << 20;
    })
    .ready();
    let body = empty_words(400_000);
    let unread = server.send("POST", "/ner", JSON, &body);
    eventually(|| server.metric("nerve_stage_duration_seconds_count{stage=\"decode\"}") == 1.0);
    let held = server.held();
    // Some 22 MB, of which the sockets' buffers take a few.
    assert!(held > 8e6, "{held} bytes");
    // The request is not over before its answer is.
    assert_eq!(server.metric("nerve_in_flight"), 2.0);
    assert!(!server.accounts());
    // What one unread answer leaves is too little for another.
    let mut unread = vec![unread];
    let refused = loop {
        let mut next = server.send("POST", "/ner", JSON, &body);
        let mut first = [0; 12];
        next.read_exact(&mut first).unwrap();
        if &first != b"HTTP/1.1 200" {
            break receive(next);
        }
        unread.push(next);
        assert!(unread.len() < 10);
    };
    assert!(
        refused.body.contains("overloaded") && refused.head.contains("retry-after"),
        "{}",
        refused.head
    );
    assert!(server.metric("nerve_refused_total{reason=\"body_memory\"}") >= 1.0);
    assert_eq!(server.ner("paul").status, 200);
    let left = unread.len() as f64;
    drop(unread);
    eventually(|| server.held() == 0.0);
    eventually(|| server.accounts());
    assert_eq!(
        server.metric("nerve_requests_total{route=\"/ner\",status=\"499\"}"),
        left
    );
    let whole = server.post("/ner", &body);
    assert_eq!(
        (whole.status, whole.json()["words"].as_array().unwrap().len()),
        (200, 400_000)
    );
    assert_eq!(server.held(), 0.0);
}

#[test]
fn an_answer_that_never_fits_says_what_to_do() {
    let server = Server::start(Script::default(), |config| {
        config.http.max_inflight_bytes = 1 << 20;
    })
    .ready();
    let v2 = |texts: Vec<String>| {
        let inputs = json!([{"name": "text", "shape": [texts.len()], "datatype": "BYTES", "data": texts}]);
        json!({"inputs": inputs}).to_string()
    };
    let many = |words: usize| " . ".repeat(words);
    for (path, body) in [
        ("/ner", empty_words(20_000)),
        ("/ner", json!({"text": many(16_000)}).to_string()),
        (
            "/ner/batch",
            json!({"items": vec![json!({"text": many(2000)}); 8]}).to_string(),
        ),
        ("/v2/models/test/infer", v2(vec![many(2000); 8])),
    ] {
        let refused = server.post(path, &body);
        assert_eq!(refused.status, 413, "{path} {}", refused.body);
        assert!(
            refused
                .body
                .contains("more than the 1048576 of --max-inflight-bytes; send less text at once"),
            "{}",
            refused.body
        );
    }
    let without = json!({"text": many(2000), "include_words": false}).to_string();
    assert_eq!(server.post("/ner", &without).status, 200);
    assert_eq!(server.held(), 0.0);
    assert!(server.accounts());
}

#[test]
fn a_stream_waits_for_memory_and_holds_no_more_than_it() {
    const LIMIT: usize = 64 << 10;
    let server = Server::start(Script::default(), |config| config.http.max_inflight_bytes = LIMIT).ready();
    let line = format!("{{\"text\": \"{}\"}}\n", "paul met paul in paris ".repeat(8));
    let body = line.repeat(3000);
    let asked = std::thread::scope(|scope| {
        let answered = scope.spawn(|| {
            receive(server.send(
                "POST",
                "/ner/stream",
                "content-type: application/x-ndjson\r\n",
                &body,
            ))
        });
        let mut most = 0.0_f64;
        while !answered.is_finished() {
            most = most.max(server.held());
        }
        let answered = answered.join().unwrap();
        assert_eq!(answered.body.matches("\"line\":").count(), 3000);
        most
    });
    assert!(asked <= LIMIT as f64, "{asked} bytes were held");
    assert_eq!(server.held(), 0.0);
}

#[test]
fn a_stream_is_in_flight_until_its_last_byte() {
    const HEAD: &str = "POST /ner/stream HTTP/1.1\r\nhost: test\r\nconnection: close\r\ntransfer-encoding: chunked\r\ncontent-type: application/x-ndjson\r\n\r\n";
    let server = Server::start(Script::default(), |config| config.http.idle_timeout_ms = 700).ready();
    let outcome = |outcome: &str| server.metric(&format!("nerve_outcomes_total{{outcome=\"{outcome}\"}}"));
    let exact = |in_flight: f64| {
        let text = server.get("/metrics").body;
        let value = |name: &str| -> f64 {
            let lines = text.lines().filter(|line| line.starts_with(name));
            lines
                .map(|line| line.rsplit(' ').next().unwrap().parse::<f64>().unwrap())
                .sum()
        };
        assert_eq!(value("nerve_in_flight "), in_flight + 1.0);
        assert_eq!(
            value("nerve_received_total "),
            value("nerve_outcomes_total{") + value("nerve_in_flight ")
        );
    };
    let begin = || {
        let mut stream = TcpStream::connect(server.address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        stream.write_all(HEAD.as_bytes()).unwrap();
        stream.write_all(b"11\r\n{\"text\": \"paul\"}\n\r\n").unwrap();
        let mut answers = BufReader::new(stream.try_clone().unwrap());
        let mut line = String::new();
        while !line.contains("\"line\":1") {
            line.clear();
            assert!(answers.read_line(&mut line).unwrap() > 0);
        }
        (stream, answers)
    };
    // In the middle of a stream, and after its end.
    let (mut stream, mut answers) = begin();
    exact(1.0);
    let answered = outcome("answered");
    stream.write_all(b"0\r\n\r\n").unwrap();
    answers.read_to_end(&mut Vec::new()).unwrap();
    exact(0.0);
    // Two scrapes, and the stream.
    assert_eq!(outcome("answered") - answered, 3.0);
    // After a stream that is cut because its client sends nothing, and one whose client leaves.
    for leaves in [false, true] {
        let cancelled = outcome("cancelled");
        let (stream, mut answers) = begin();
        match leaves {
            true => drop((stream, answers)),
            false => drop(answers.read_to_end(&mut Vec::new())),
        }
        eventually(|| outcome("cancelled") == cancelled + 1.0);
        exact(0.0);
    }
    assert_eq!(
        server.metric("nerve_requests_total{route=\"/ner/stream\",status=\"499\"}"),
        2.0
    );
    assert_eq!(
        server.metric("nerve_requests_total{route=\"/ner/stream\",status=\"200\"}"),
        1.0
    );
}

#[test]
fn large_answers_are_the_same_on_every_route() {
    let server = Server::start(Script::default(), |config| {
        config.engine.texts.max_words = 1 << 20;
    })
    .ready();
    let text = "paul met \\ \"paris\" in paris 😀 . ".repeat(2000);
    let words = |answer: &Value| answer["words"].as_array().map(Vec::len);
    let one = server.post("/ner", &json!({"text": text}).to_string()).json();
    assert!(words(&one) > Some(15_000));
    let batch = server.post(
        "/ner/batch",
        &json!({"items": [{"text": text}, 5, {"text": "paul"}]}).to_string(),
    );
    let batch = batch.json();
    assert_eq!(
        (&batch["results"][0]["words"], &batch["results"][0]["entities"]),
        (&one["words"], &one["entities"])
    );
    assert_eq!(
        (&batch["results"][1]["error"]["code"], words(&batch["results"][2])),
        (&json!("invalid_request"), Some(1))
    );
    let line = json!({"id": "x", "text": text}).to_string();
    let streamed = receive(server.send(
        "POST",
        "/ner/stream",
        "content-type: application/x-ndjson\r\n",
        &line,
    ));
    let streamed: Value = serde_json::from_str(&super::stream::unchunked(&streamed.body).0).unwrap();
    assert_eq!(
        (&streamed["words"], &streamed["id"]),
        (&one["words"], &json!("x"))
    );
    for binary in [false, true] {
        let body = json!({
            "inputs": [{"name": "text", "shape": [2], "datatype": "BYTES", "data": [text, "paul"]}],
            "parameters": {"binary_data_output": binary}
        });
        let answer = exchange(
            &server,
            "POST",
            "/v2/models/test/infer",
            "",
            body.to_string().as_bytes(),
        );
        let elements: Vec<Value> = match answer.header("inference-header-content-length") {
            None => {
                let outputs = answer.json();
                let outputs = outputs["outputs"].as_array().unwrap().clone();
                let data = outputs
                    .iter()
                    .flat_map(|output| output["data"].as_array().unwrap().clone());
                data.map(|element| serde_json::from_str(element.as_str().unwrap()).unwrap())
                    .collect()
            }
            Some(length) => {
                let (head, mut bytes) = answer.body.split_at(length.parse().unwrap());
                let head: Value = serde_json::from_slice(head).unwrap();
                let sizes = head["outputs"].as_array().unwrap().iter();
                let sizes = sizes.map(|output| output["parameters"]["binary_data_size"].as_u64().unwrap());
                assert_eq!(sizes.sum::<u64>(), bytes.len() as u64);
                let mut elements = Vec::new();
                while let Some((length, rest)) = bytes.split_first_chunk::<4>() {
                    let (element, rest) = rest.split_at(u32::from_le_bytes(*length) as usize);
                    elements.push(serde_json::from_slice(element).unwrap());
                    bytes = rest;
                }
                elements
            }
        };
        assert_eq!(elements.len(), 4);
        assert_eq!((&elements[0], &elements[2]), (&one["entities"], &one["words"]));
        assert_eq!(elements[3].as_array().unwrap().len(), 1);
    }
    let classified = server.post(
        "/",
        &json!({"inputs": [text], "parameters": {"stride": 2}}).to_string(),
    );
    assert!(classified.json()[0].as_array().unwrap().len() > 2000);
    assert_eq!(server.held(), 0.0);
}
