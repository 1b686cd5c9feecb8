//! No entity consists of symbols: the default model on lines with emoji, list marks and other symbols, and a model that takes a
//! symbol for an entity.

use std::path::Path;

use serde_json::Value;

use crate::fixture::{binary, repository, succeed, tiny_corpus, train};

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

/// The counts in what `nerve-trainer tag` answers to the lines of a text file.
fn trainer(model: &Path, lines: &Path, options: &[&str]) -> (usize, usize) {
    let mut command = binary("nerve-trainer");
    command.arg("tag").arg("--bundle").arg(model);
    command.args(["--output", "ndjson"]).args(options);
    count(&succeed(command.arg(lines)))
}

/// The counts in what `nerve-server tag` answers to the lines of a text file.
fn server(model: &Path, lines: &Path, options: &[&str]) -> (usize, usize) {
    let dir = tempfile::tempdir().unwrap();
    let input = dir.path().join("in.jsonl");
    let text = std::fs::read_to_string(lines).unwrap();
    let records = text
        .lines()
        .map(|line| serde_json::json!({"text": line}).to_string() + "\n");
    std::fs::write(&input, records.collect::<String>()).unwrap();
    let mut command = binary("nerve-server");
    command.arg("tag").arg(&input).arg("--model").arg(model);
    count(&succeed(command.args(options)))
}

#[test]
fn no_entity_of_the_default_model_consists_of_symbols() {
    let model = repository().join("models/default");
    let lines = repository().join("bench/symbols.txt");
    for found in [
        trainer(&model, &lines, &[]),
        server(&model, &lines, &[]),
        server(&model, &lines, &["--aggregation", "max"]),
    ] {
        assert!(found.0 == 0 && found.1 > 100, "{found:?}");
    }
}

#[test]
fn constraints_remove_the_symbols_that_a_model_takes_for_entities() {
    let dir = tempfile::tempdir().unwrap();
    tiny_corpus(dir.path());
    for split in ["train", "dev", "test"] {
        let path = dir.path().join(format!("{split}.conll"));
        let text = std::fs::read_to_string(&path).unwrap();
        std::fs::write(&path, text.replace("!\tO", "!\tB-person")).unwrap();
    }
    let (run, bundle) = (dir.path().join("run"), dir.path().join("bundle"));
    succeed(&mut train(dir.path(), &run));
    let mut export = binary("nerve-export");
    export.arg("--checkpoint").arg(run.join("best"));
    succeed(export.arg("--out").arg(&bundle).args(["--precision", "fp32"]));
    let lines = dir.path().join("lines.txt");
    std::fs::write(&lines, "In Oslo , I met Bob today !\n".repeat(10)).unwrap();
    for of in [trainer, server] {
        assert_eq!(of(&bundle, &lines, &["--unconstrained"]), (10, 30));
        assert_eq!(of(&bundle, &lines, &[]), (0, 20));
    }
}
