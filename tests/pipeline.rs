//! From training to a response: a tagger is trained, exported and served.

use serde_json::{Value, json};

use crate::fixture::{binary, succeed, tiny, tiny_corpus, train};
use crate::server::Server;

fn entities(body: &Value) -> Vec<(String, String)> {
    let field = |entity: &Value, name: &str| entity[name].as_str().unwrap().to_owned();
    let list = body["entities"].as_array().unwrap();
    list.iter()
        .map(|entity| (field(entity, "type"), field(entity, "text")))
        .collect()
}

fn pair(a: &str, b: &str) -> (String, String) {
    (a.to_owned(), b.to_owned())
}

#[test]
fn a_tagger_trained_from_scratch_finds_its_entities() {
    let server = Server::start(&tiny().bundle("int8"), &[]);
    let answer = server.post(
        "/ner",
        &json!({"text": "Ann Lee went to São Paulo. In Rome, I met Zoë today!"}),
    );
    assert_eq!(answer.status, 200, "{}", answer.body);
    assert_eq!(
        entities(&answer.body),
        [
            pair("person", "Ann Lee"),
            pair("location", "São Paulo"),
            pair("location", "Rome"),
            pair("person", "Zoë")
        ]
    );
    assert_eq!(answer.body["model"]["name"], "tiny");
    let info = server.get("/info").body;
    assert_eq!(info["model"]["precision"], "int8", "{info}");
    assert_eq!(server.terminate(), Some(0));
}

#[test]
fn offsets_slice_the_text_in_every_unit() {
    let server = Server::start(&tiny().bundle("fp32"), &[]);
    let text = "😀 Zoë went to São Paulo !";
    for unit in ["codepoint", "byte", "utf16"] {
        let answer = server.post("/ner", &json!({"text": text, "offsets": unit})).body;
        let found = answer["entities"].as_array().unwrap();
        assert_eq!(found.len(), 2, "{answer}");
        for entity in found {
            let at = |name: &str| entity[name].as_u64().unwrap() as usize;
            let (start, end) = (at("start"), at("end"));
            let slice = match unit {
                "byte" => text[start..end].to_owned(),
                "utf16" => {
                    let units: Vec<u16> = text.encode_utf16().collect();
                    String::from_utf16(&units[start..end]).unwrap()
                }
                _ => text.chars().skip(start).take(end - start).collect(),
            };
            assert_eq!(slice, entity["text"].as_str().unwrap(), "{unit}");
        }
    }
}

#[test]
fn one_bad_item_does_not_spoil_a_batch() {
    let server = Server::start(&tiny().bundle("fp32"), &[]);
    let items = json!({"items": [{"text": "Bob went to Ulm ."}, {}, {"words": ["Ida", "went", "", "to", "New", "York"]}]});
    let answer = server.post("/ner/batch", &items);
    assert_eq!(answer.status, 200, "{}", answer.body);
    let results = answer.body["results"].as_array().unwrap();
    assert_eq!(
        entities(&results[0]),
        [pair("person", "Bob"), pair("location", "Ulm")]
    );
    assert!(results[1]["error"]["code"].is_string(), "{}", results[1]);
    assert_eq!(
        entities(&results[2]),
        [pair("person", "Ida"), pair("location", "New York")]
    );
    assert_eq!(results[2]["words"].as_array().unwrap().len(), 6);
}

#[test]
fn a_text_of_many_windows_is_answered_whole() {
    let server = Server::start(&tiny().bundle("fp32"), &[]);
    let sentences = 60;
    let text = "Bob went to Ulm . ".repeat(sentences);
    let answer = server.post("/ner", &json!({"text": text})).body;
    let found = entities(&answer);
    assert_eq!(found.len(), 2 * sentences);
    assert!(
        found
            .chunks(2)
            .all(|two| two == [pair("person", "Bob"), pair("location", "Ulm")])
    );
}

#[test]
fn every_refusal_is_a_json_error_of_the_right_status() {
    let server = Server::start(
        &tiny().bundle("fp32"),
        &["--max-windows", "3", "--max-body-bytes", "20000"],
    );
    let post = |route: &str, body: Value| server.post(route, &body);
    let cases = [
        (404, server.get("/nowhere")),
        (405, server.get("/ner")),
        (415, server.post_as("/ner", "text/plain", "{}")),
        (400, server.post_as("/ner", "application/json", "{\"text\":")),
        (422, post("/ner", json!({"text": "a", "unknown": 1}))),
        (422, post("/ner", json!({}))),
        (422, post("/ner", json!({"text": "a", "words": ["a"]}))),
        (422, post("/ner", json!({"text": "a", "labels": ["planet"]}))),
        (422, post("/ner", json!({"text": "a", "threshold": 1.5}))),
        (413, post("/ner", json!({"text": "went ".repeat(300)}))),
        (413, post("/ner", json!({"text": "a".repeat(30_000)}))),
    ];
    for (status, answer) in &cases {
        assert_eq!(answer.status, *status, "{}", answer.body);
        assert!(answer.body["error"]["code"].is_string(), "{}", answer.body);
        assert!(!answer.request_id.is_empty());
    }
    assert!(
        cases[7].1.body["error"]["message"]
            .as_str()
            .unwrap()
            .contains("person")
    );
    assert_eq!(post("/ner", json!({"text": ""})).body["entities"], json!([]));
}

#[test]
fn a_device_that_is_not_there_is_refused_at_start() {
    let bundle = tiny().bundle("fp32");
    let message = crate::fixture::fail(binary("nerve-server").arg("--model").arg(bundle).args([
        "--listen",
        "127.0.0.1:0",
        "--device",
        "cuda",
    ]));
    assert!(message.to_lowercase().contains("cuda"), "{message}");
}

#[test]
fn the_same_seed_and_threads_give_the_same_losses() {
    let dir = tempfile::tempdir().unwrap();
    tiny_corpus(dir.path());
    let losses = |run: &str| -> Vec<String> {
        let out = dir.path().join(run);
        succeed(train(dir.path(), &out).args(["--epochs", "2"]));
        let records = std::fs::read_to_string(out.join("records.jsonl")).unwrap();
        let loss = |line: &str| serde_json::from_str::<Value>(line).unwrap()["loss"].to_string();
        records.lines().map(loss).collect()
    };
    let first = losses("a");
    assert_eq!(first.len(), 2);
    assert_eq!(first, losses("b"));
}
