//! Words without tokens and invisible characters, on every route.

use serde_json::{Value, json};

use crate::fixture::{binary, succeed, tiny};
use crate::server::Server;

const TEXT: &str = "In Rome , I met Ann \u{200b} Lee\u{200b} today !";
const ENTITY: &str = "Ann \u{200b} Lee";

/// The person of an answer: text, first and last code point, and the words.
fn person(answer: &Value) -> Value {
    let entities = answer["entities"].as_array().unwrap();
    let people = entities.iter().filter(|entity| entity["type"] == "person");
    let shown: Vec<Value> = people
        .map(|entity| json!([entity["text"], entity["start"], entity["end"], entity["words"]]))
        .collect();
    json!(shown)
}

#[test]
fn an_entity_with_an_invisible_word_inside_is_one_on_every_route() {
    let server = Server::start(&tiny().bundle("fp32"), &[]);
    let expected = json!([[ENTITY, 16, 25, [5, 8]]]);
    let answer = server.post("/ner", &json!({"text": TEXT})).body;
    assert_eq!(person(&answer), expected, "{answer}");
    let (word, entity) = (&answer["words"][6], &answer["entities"][1]);
    assert_eq!(
        (&word["text"], &word["label"]),
        (&json!("\u{200b}"), &json!("I-person"))
    );
    assert_eq!(word["score"], entity["score"]);
    // The entity has the score that it has without the word.
    let without = server
        .post("/ner", &json!({"text": TEXT.replace(" \u{200b}", "")}))
        .body;
    let score = |entity: &Value| entity["score"].as_f64().unwrap();
    assert!(
        (score(entity) - score(&without["entities"][1])).abs() < 1e-6,
        "{answer} {without}"
    );

    let line = json!({"text": TEXT}).to_string();
    let streamed = server.post_as("/ner/stream", "application/x-ndjson", &line).body;
    assert_eq!(person(&streamed), expected);

    let input = json!({"name": "text", "shape": [1], "datatype": "BYTES", "data": [TEXT]});
    let inferred = server
        .post(
            "/v2/models/tiny/infer",
            &json!({"inputs": [input], "outputs": [{"name": "entities"}]}),
        )
        .body;
    let entities: Value = serde_json::from_str(inferred["outputs"][0]["data"][0].as_str().unwrap()).unwrap();
    assert_eq!(person(&json!({"entities": entities})), expected, "{inferred}");

    // The pipeline leaves such words out, so that the tokens around them are neighbors.
    let groups = server.post("/", &json!({"inputs": TEXT})).body;
    let people: Vec<&Value> = groups
        .as_array()
        .unwrap()
        .iter()
        .filter(|group| group["entity_group"] == "person")
        .collect();
    assert_eq!(people.len(), 1, "{groups}");
    assert_eq!((&people[0]["start"], &people[0]["end"]), (&json!(16), &json!(25)));

    // Each token is an entity of its own, and the word has none.
    let tokens = server
        .post("/ner", &json!({"text": TEXT, "aggregation": "none"}))
        .body;
    let unseen = tokens["words"]
        .as_array()
        .unwrap()
        .iter()
        .find(|word| word["text"] == "\u{200b}");
    assert_eq!(unseen.unwrap()["label"], "O", "{tokens}");
}

#[test]
fn files_are_tagged_and_evaluated_as_texts_are_answered() {
    let dir = tempfile::tempdir().unwrap();
    let gold = dir.path().join("gold.conll");
    let tags = "In\tO\nRome\tB-location\n,\tO\nI\tO\nmet\tO\nAnn\tB-person\n\u{200b}\tI-person\nLee\tI-person\n\u{a0}\tO\ntoday\tO\n!\tO\n\n";
    std::fs::write(&gold, tags).unwrap();
    for model in [["--checkpoint", "run/best"], ["--bundle", "fp32"]] {
        let trainer = |name: &str| {
            let mut command = binary("nerve-trainer");
            command.arg(name).arg(model[0]).arg(tiny().path(model[1]));
            command
        };
        assert_eq!(succeed(trainer("tag").arg(&gold)), tags);
        let report = dir.path().join("report.json");
        succeed(
            trainer("evaluate")
                .arg("--data")
                .arg(&gold)
                .arg("--json")
                .arg(&report),
        );
        let found: Value = serde_json::from_slice(&std::fs::read(&report).unwrap()).unwrap();
        assert_eq!(
            (&found["entity"]["f1"], &found["token_accuracy"]),
            (&json!(1.0), &json!(1.0))
        );
    }
    let text = dir.path().join("text.txt");
    std::fs::write(&text, format!("{TEXT}\n")).unwrap();
    let mut server = binary("nerve-server");
    server
        .arg("tag")
        .arg(&text)
        .arg("--model")
        .arg(tiny().bundle("fp32"));
    let line: Value = serde_json::from_str(&succeed(&mut server)).unwrap();
    assert_eq!(person(&line), json!([[ENTITY, 16, 25, [5, 8]]]));
    let mut trainer = binary("nerve-trainer");
    trainer
        .arg("tag")
        .arg(&text)
        .args(["--output", "ndjson", "--bundle"])
        .arg(tiny().bundle("fp32"));
    let line: Value = serde_json::from_str(&succeed(&mut trainer)).unwrap();
    assert_eq!(person(&line), json!([[ENTITY, 16, 25, [5, 8]]]));
}
