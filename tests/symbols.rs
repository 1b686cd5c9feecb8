//! No entity consists of symbols: the default model on lines with emoji, list marks and other symbols.

use std::path::PathBuf;

use serde_json::Value;

use crate::fixture::{binary, repository, succeed};

fn lines() -> PathBuf {
    repository().join("bench/symbols.txt")
}

/// The numbers of entities without a letter or digit and of all entities in answers, a JSON object a line.
fn count(answers: &str) -> (usize, usize) {
    let entities: Vec<Value> = answers
        .lines()
        .flat_map(|line| {
            let answer: Value = serde_json::from_str(line).unwrap();
            answer["entities"].as_array().unwrap().clone()
        })
        .collect();
    let is_silly = |entity: &&Value| !entity["text"].as_str().unwrap().contains(char::is_alphanumeric);
    (entities.iter().filter(is_silly).count(), entities.len())
}

#[test]
fn no_entity_consists_of_symbols() {
    let model = repository().join("models/default");
    let trainer = |options: &[&str]| {
        let mut command = binary("nerve-trainer");
        command
            .arg("tag")
            .arg("--bundle")
            .arg(&model)
            .args(["--output", "ndjson"]);
        count(&succeed(command.args(options).arg(lines())))
    };
    let server = |options: &[&str]| {
        let dir = tempfile::tempdir().unwrap();
        let input = dir.path().join("in.jsonl");
        let text = std::fs::read_to_string(lines()).unwrap();
        let input_lines = text
            .lines()
            .map(|line| serde_json::json!({"text": line}).to_string() + "\n");
        std::fs::write(&input, input_lines.collect::<String>()).unwrap();
        let mut command = binary("nerve-server");
        command.arg("tag").arg(&input).arg("--model").arg(&model);
        count(&succeed(command.args(options)))
    };
    for found in [trainer(&[]), server(&[]), server(&["--aggregation", "max"])] {
        assert!(found.0 == 0 && found.1 > 100, "{found:?}");
    }
    // Without constraints, the model finds such an entity in these lines.
    for found in [trainer(&["--unconstrained"]), server(&["--unconstrained"])] {
        assert!(found.0 > 0, "{found:?}");
    }
}
