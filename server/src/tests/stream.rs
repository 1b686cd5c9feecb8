//! `POST /ner/stream`.

use super::*;
use std::io::{BufRead, BufReader, ErrorKind};

const JSON_LINES: &str = "content-type: application/x-ndjson\r\n";

/// A chunked body without its framing, and whether it is whole.
pub(super) fn unchunked(mut body: &str) -> (String, bool) {
    let mut text = String::new();
    while let Some((size, rest)) = body.split_once("\r\n") {
        let size = usize::from_str_radix(size, 16).unwrap();
        if size == 0 {
            return (text, true);
        }
        let Some(chunk) = rest.get(..size) else {
            break;
        };
        text.push_str(chunk);
        body = rest[size..].strip_prefix("\r\n").unwrap_or_default();
    }
    (text, false)
}

fn lines(response: &Response) -> Vec<Value> {
    assert_eq!(response.status, 200, "{}", response.body);
    let (body, whole) = unchunked(&response.body);
    assert!(whole, "the answer was broken off");
    body.lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

fn stream(server: &Server, query: &str, body: &str) -> Response {
    receive(server.send("POST", &format!("/ner/stream{query}"), JSON_LINES, body))
}

/// A request whose body is still to be sent, in chunks.
fn open(server: &Server) -> TcpStream {
    let mut stream = TcpStream::connect(server.address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let head = "POST /ner/stream HTTP/1.1\r\nhost: test\r\ntransfer-encoding: chunked\r\n";
    stream
        .write_all(format!("{head}{JSON_LINES}\r\n").as_bytes())
        .unwrap();
    stream
}

fn send_chunk(stream: &mut TcpStream, chunk: &str) {
    write!(stream, "{:x}\r\n{chunk}\r\n", chunk.len()).unwrap();
}

#[test]
fn every_line_is_answered_in_order_with_its_id_or_its_error() {
    let server = Server::start(Script::default(), |config| {
        config.engine.texts.max_line_bytes = 100;
        config.engine.texts.max_text_bytes = 50;
    })
    .ready();
    let (large, long) = ("a".repeat(51), "a".repeat(200));
    let body = format!(
        "{{\"id\": \"a\", \"text\": \"paul\"}}\n\n  \r\n{{\"words\": [\"in\", \"paris\"], \"id\": 7.50}}\nnonsense\n\
         {{\"id\": 3, \"tekst\": \"x\"}}\n{{\"id\": 4, \"text\": \"{large}\"}}\n{{\"text\": \"{long}\"}}\n\
         {{\"id\": 5, \"text\": \"nan\"}}\n{{\"text\": \"\"}}"
    );
    let response = stream(&server, "", &body);
    assert_eq!(response.header("content-type"), Some("application/x-ndjson"));
    assert!(response.body.contains("\"id\":7.50,"), "{}", response.body);
    let shown: Vec<_> = lines(&response)
        .iter()
        .map(|line| {
            json!([
                line["line"],
                line["id"],
                line["error"]["code"],
                line["entities"][0]["type"]
            ])
        })
        .collect();
    assert_eq!(
        json!(shown),
        json!([
            [1, "a", null, "person"],
            [4, 7.5, null, "location"],
            [5, null, "malformed_json", null],
            [6, 3, "invalid_request", null],
            [7, 4, "text_too_large", null],
            [8, null, "line_too_large", null],
            [9, 5, "inference_failed", null],
            [10, null, null, null]
        ])
    );
    assert_eq!(server.metric("nerve_refused_total{reason=\"line_bytes\"}"), 1.0);
    assert_eq!(server.metric("nerve_entities_total{type=\"person\"}"), 1.0);
}

#[test]
fn the_query_has_the_options() {
    let server = Server::plain();
    let body = r#"{"text": "😀 paris paul"}"#;
    let answer = stream(
        &server,
        "?offsets=utf16&labels=location&include_words=false",
        body,
    );
    let line = &lines(&answer)[0];
    assert_eq!(line["entities"][0]["start"], 3);
    assert_eq!(line["entities"].as_array().unwrap().len(), 1);
    assert!(line.get("words").is_none());
    assert!(lines(&stream(&server, "", "")).is_empty());
    for query in ["?threshold=2", "?treshold=1", "?labels=planet"] {
        let refused = stream(&server, query, body);
        assert_eq!(
            (refused.status, refused.code().as_str()),
            (422, "invalid_request"),
            "{query}"
        );
    }
    let refused = server.post("/ner/stream", body);
    assert_eq!(
        (refused.status, refused.code().as_str()),
        (415, "unsupported_media_type")
    );
}

#[test]
fn a_line_is_answered_before_the_next_is_sent() {
    let server = Server::plain();
    let mut stream = open(&server);
    let mut answers = BufReader::new(stream.try_clone().unwrap());
    for number in 1..=3 {
        send_chunk(&mut stream, "{\"text\": \"paul\"}\n");
        let mut line = String::new();
        while !line.starts_with('{') {
            line.clear();
            assert!(answers.read_line(&mut line).unwrap() > 0);
        }
        let answer: Value = serde_json::from_str(&line).unwrap();
        assert_eq!(answer["line"], number);
    }
}

#[test]
fn its_own_load_never_refuses_it() {
    let server = Server::start(Script::default(), |config| {
        config.engine.queue.windows = 2;
        config.engine.queue.tokens = 40;
    })
    .ready();
    let body = "{\"text\": \"paul met paul\"}\n".repeat(500);
    let answers = lines(&stream(&server, "", &body));
    assert_eq!(answers.len(), 500);
    for (line, answer) in (1..).zip(&answers) {
        assert_eq!(answer["line"], line);
        assert_eq!(answer["entities"].as_array().map(Vec::len), Some(2), "{answer}");
    }
    let long = json!({"text": "in ".repeat(100)}).to_string();
    let answers = lines(&stream(&server, "", &long));
    assert_eq!(answers[0]["words"].as_array().map(Vec::len), Some(100));
}

#[test]
fn streams_wait_for_memory_and_refuse_only_what_never_fits() {
    const BUDGET: usize = 200_000;
    let server = Server::start(Script::default(), |config| {
        config.http.max_inflight_bytes = BUDGET;
    })
    .ready();
    let line = |id: usize, words: Vec<&str>| json!({"id": id, "words": words}).to_string();
    let mut body = String::new();
    for id in 0..40 {
        // One of ten has too many words, one is too long, and all others together exceed the budget several times.
        let words = match id % 10 {
            3 => vec![""; 5000],
            7 => vec!["in"; BUDGET / 10],
            _ => vec!["in"; 150],
        };
        body.push_str(&line(id, words));
        body.push('\n');
    }
    let most = std::thread::scope(|scope| {
        let clients: Vec<_> = (0..6)
            .map(|_| scope.spawn(|| lines(&stream(&server, "", &body))))
            .collect();
        let mut most: f64 = 0.0;
        while !clients.iter().all(std::thread::ScopedJoinHandle::is_finished) {
            most = most.max(server.metric("nerve_inflight_bytes"));
        }
        for client in clients {
            let answers = client.join().unwrap();
            assert_eq!(answers.len(), 40);
            for (id, answer) in answers.iter().enumerate() {
                assert_eq!(answer["line"], id + 1);
                let code = answer["error"]["code"].as_str();
                match id % 10 {
                    3 => assert_eq!((code, &answer["id"]), (Some("request_too_large"), &json!(id))),
                    7 => assert_eq!(code, Some("request_too_large"), "{answer}"),
                    _ => assert_eq!(answer["words"].as_array().map(Vec::len), Some(150)),
                }
            }
        }
        most
    });
    assert!(most <= BUDGET as f64, "{most}");
    let refused = server.metric("nerve_refused_total{reason=\"body_memory\"}");
    assert_eq!(refused, 6.0 * 8.0);
    assert_eq!(server.metric("nerve_inflight_bytes"), 0.0);
}

#[test]
fn a_panic_on_one_line_does_not_end_the_stream() {
    let server = Server::start(Script::default(), |config| {
        config.engine.batching.max_batch = Some(1);
    })
    .ready();
    let mut body = "{\"text\": \"panic\"}\n".to_owned();
    body.push_str(&"{\"text\": \"paul\"}\n".repeat(100));
    let answers = lines(&stream(&server, "", &body));
    assert_eq!(answers.len(), 101);
    assert_eq!(answers[0]["error"]["code"], "inference_failed");
    for answer in &answers[1..] {
        assert_eq!(answer["entities"][0]["type"], "person", "{answer}");
    }
}

#[test]
fn the_request_is_read_only_as_answers_are_written_and_dropped_with_its_client() {
    const LINE: &str = "{\"text\": \"slow\"}\n";
    let server = Server::start(slow(), |_| ()).ready();
    let mut stream = TcpStream::connect(server.address).unwrap();
    let head = "POST /ner/stream HTTP/1.1\r\nhost: test\r\ncontent-length: 10000000000\r\n";
    stream
        .write_all(format!("{head}{JSON_LINES}\r\n").as_bytes())
        .unwrap();
    stream
        .set_write_timeout(Some(Duration::from_millis(500)))
        .unwrap();
    let block = LINE.repeat(4096);
    let mut sent = 0;
    let blocked = loop {
        match stream.write(block.as_bytes()) {
            Ok(bytes) => sent += bytes,
            Err(error) => break error,
        }
        // What a socket's buffers hold, and no more.
        assert!(sent < 64 << 20, "{sent} bytes were taken");
    };
    assert!(
        matches!(blocked.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut),
        "{blocked}"
    );
    let in_flight = 8.0 * 16.0;
    assert!(server.metric("nerve_queue_windows") <= in_flight);

    drop(stream);
    server.script.slow_waits.store(false, Ordering::SeqCst);
    let tokens = || server.metric("nerve_tokens_total{kind=\"real\"}");
    let rest = || {
        let before = tokens();
        std::thread::sleep(Duration::from_millis(100));
        tokens() == before && server.metric("nerve_queue_windows") == 0.0
    };
    eventually(rest);
    let lines = (sent / LINE.len()) as f64;
    assert!(
        tokens() < lines,
        "{} tokens of {lines} lines were computed",
        tokens()
    );
    assert_eq!(server.ner("paul").status, 200);
}

#[test]
fn a_stream_is_broken_off_when_the_drain_deadline_passes() {
    let mut server = Server::start(slow(), |config| config.http.drain_deadline_ms = 200).ready();
    let body = "{\"text\": \"slow\"}\n".repeat(40);
    let streaming = server.send("POST", "/ner/stream", JSON_LINES, &body);
    eventually(|| server.metric("nerve_queue_windows") > 0.0);
    drop(server.shutdown.take());
    let mut bytes = Vec::new();
    let mut streaming = streaming;
    let _reset_or_end = streaming.read_to_end(&mut bytes);
    let text = String::from_utf8(bytes).unwrap();
    let body = text.split_once("\r\n\r\n").map_or("", |(_, body)| body);
    assert!(!unchunked(body).1, "{text}");
    server.script.slow_waits.store(false, Ordering::SeqCst);
    assert!(server.stop().is_ok());
}

#[test]
fn a_stream_that_sends_nothing_for_too_long_is_cut() {
    let server = Server::start(Script::default(), |config| config.http.idle_timeout_ms = 150).ready();
    let mut stream = open(&server);
    for _ in 0..4 {
        // Silence of less than the limit is no silence, however often.
        std::thread::sleep(Duration::from_millis(75));
        send_chunk(&mut stream, "{\"text\": \"paul\"}\n");
    }
    let response = receive(stream);
    assert_eq!(response.status, 200);
    let (body, whole) = unchunked(&response.body);
    assert_eq!((body.lines().count(), whole), (4, false));
    assert!(server.accounts());
}

#[test]
fn a_client_that_does_not_read_its_answers_is_given_up() {
    let server = Server::start(Script::default(), |config| config.http.idle_timeout_ms = 300).ready();
    let mut stream = open(&server);
    let line = format!("{{\"text\": \"{}\"}}\n", "paul ".repeat(200));
    let began = Instant::now();
    stream.set_write_timeout(Some(Duration::from_secs(30))).unwrap();
    // What the system holds for the client is some megabytes; then the server reads no more, and then it hangs up.
    let failed = loop {
        let chunk = format!("{:x}\r\n{line}\r\n", line.len());
        if let Err(error) = stream.write_all(chunk.as_bytes()) {
            break error;
        }
    };
    assert!(
        matches!(failed.kind(), ErrorKind::ConnectionReset | ErrorKind::BrokenPipe),
        "{failed} after {:?}",
        began.elapsed()
    );
    assert_eq!(server.ner("paul").status, 200);
}
