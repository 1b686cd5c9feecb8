//! All commands read a corpus in the same way in every format.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};

use crate::fixture::{binary, fail, output, succeed, tiny, tiny_corpus, train};

/// The tiny corpus in other formats, by file name, with the same sentences and entities.
fn formats(dir: &Path) -> Vec<PathBuf> {
    let columns = fs::read_to_string(tiny().corpus()).unwrap();
    let iobes = iobes(&columns);
    let files = [
        ("columns.txt", columns.clone()),
        ("iobes.conll", iobes.clone()),
        ("words.jsonl", json_lines(&columns)),
        ("iobes.jsonl", json_lines(&iobes)),
    ];
    files
        .into_iter()
        .map(|(name, text)| {
            let path = dir.join(name);
            fs::write(&path, text).unwrap();
            path
        })
        .collect()
}

/// CoNLL text with IOB2 tags, converted to IOBES.
fn iobes(columns: &str) -> String {
    let lines: Vec<&str> = columns.lines().collect();
    let continues = |at: usize| lines.get(at + 1).is_some_and(|next| next.contains("\tI-"));
    let convert = |(at, line): (usize, &&str)| match (line.contains("\tB-"), continues(at)) {
        (true, false) => line.replace("\tB-", "\tS-"),
        (false, false) => line.replace("\tI-", "\tE-"),
        (_, true) => (*line).to_owned(),
    };
    lines
        .iter()
        .enumerate()
        .map(convert)
        .collect::<Vec<_>>()
        .join("\n")
        + "\n"
}

/// CoNLL text, converted to JSON lines of words and tags.
fn json_lines(columns: &str) -> String {
    let sentence = |text: &str| {
        let rows = text.lines().map(|line| line.split_once('\t').unwrap());
        let (words, tags): (Vec<&str>, Vec<&str>) = rows.unzip();
        json!({"words": words, "tags": tags}).to_string() + "\n"
    };
    columns.trim().split("\n\n").map(sentence).collect()
}

fn manifest(bundle: &Path) -> Value {
    serde_json::from_slice(&fs::read(bundle.join("manifest.json")).unwrap()).unwrap()
}

#[test]
fn int8_ranges_and_scores_do_not_depend_on_the_format() {
    let dir = tempfile::tempdir().unwrap();
    let expected = manifest(&tiny().bundle("int8"));
    for (index, file) in formats(dir.path()).into_iter().enumerate() {
        let out = dir.path().join(format!("bundle-{index}"));
        succeed(
            binary("nerve-export")
                .args(["--precision", "int8", "--max-length", "48", "--name", "tiny"])
                .arg("--checkpoint")
                .arg(tiny().checkpoint())
                .arg("--out")
                .arg(&out)
                .arg("--calibration")
                .arg(&file)
                .arg("--evaluate")
                .arg(&file),
        );
        let found = manifest(&out);
        assert_eq!(found["version"], expected["version"], "{}", file.display());
        assert_eq!(
            found["evaluation"]["f1"],
            expected["evaluation"]["f1"],
            "{}",
            file.display()
        );
    }
}

#[test]
fn verification_runs_the_sentences_of_json_lines() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("texts.jsonl");
    fs::write(
        &file,
        "{\"text\": \"I met Bob\"}\n{\"words\": [\"in\", \"Rome\"]}\n",
    )
    .unwrap();
    let verify = |file: &Path| {
        let mut command = binary("nerve-export");
        command
            .arg("verify")
            .arg(tiny().bundle("fp32"))
            .arg("--calibration")
            .arg(file);
        command
    };
    let found: Value = serde_json::from_str(&succeed(&mut verify(&file))).unwrap();
    assert_eq!(found["batch_invariant_windows"], 2);
    fs::write(&file, "{\"text\": \"I met Bob\"}\n{\"id\": 2}\n").unwrap();
    let message = fail(&mut verify(&file));
    assert!(
        message.contains("texts.jsonl:2: expected an object with `words`"),
        "{message}"
    );
}

#[test]
fn a_training_on_any_format_is_published() {
    let dir = tempfile::tempdir().unwrap();
    tiny_corpus(dir.path());
    let columns = fs::read_to_string(dir.path().join("dev.conll")).unwrap();
    for split in ["train", "dev", "test"] {
        fs::remove_file(dir.path().join(format!("{split}.conll"))).unwrap();
    }
    fs::write(dir.path().join("train.jsonl"), json_lines(&iobes(&columns))).unwrap();
    fs::write(dir.path().join("dev.txt"), iobes(&columns)).unwrap();
    let (run, store) = (dir.path().join("run"), dir.path().join("store"));
    let publish = || {
        let mut command = train(dir.path(), &run);
        command.args(["--epochs", "1", "--publish"]).arg(&store);
        command
    };
    // The requirements of publishing are checked before training.
    let message = fail(publish().args(["--onnxruntime", "/nowhere/libonnxruntime.so"]));
    assert!(message.contains("/nowhere/libonnxruntime.so"), "{message}");
    assert!(!run.exists());

    succeed(&mut publish());
    let found = manifest(&store.join("current"));
    assert_eq!(found["evaluation"]["split"], "dev");
    // The reference: the same checkpoint, calibrated on the same sentences in CoNLL format.
    let (file, bundle) = (dir.path().join("columns.conll"), dir.path().join("bundle"));
    fs::write(&file, &columns).unwrap();
    succeed(
        binary("nerve-export")
            .args(["--precision", "int8", "--max-length", "48", "--name", "run"])
            .arg("--checkpoint")
            .arg(run.join("best"))
            .arg("--out")
            .arg(&bundle)
            .arg("--calibration")
            .arg(&file),
    );
    assert_eq!(manifest(&bundle)["version"], found["version"]);
}

#[test]
fn a_live_model_misses_the_entities_of_a_type_it_lacks() {
    let dir = tempfile::tempdir().unwrap();
    let (store, dev) = (dir.path().join("store"), dir.path().join("dev.conll"));
    fs::write(&dev, "I\tO\nmet\tO\nBob\tB-person\n\nsee\tO\nMars\tB-planet\n").unwrap();
    let publish = |bundle: &str| {
        let mut command = binary("nerve-export");
        command
            .arg("publish")
            .arg(tiny().bundle(bundle))
            .arg("--store")
            .arg(&store);
        command.arg("--only-if-better").arg(&dev);
        command
    };
    succeed(&mut publish("fp32"));
    let refused = output(&mut publish("int8"));
    let message = String::from_utf8_lossy(&refused.stderr);
    assert_eq!(refused.status.code(), Some(3), "{message}");
    assert!(
        message.contains("entity F1: bundle 0.6667, live version 0.6667"),
        "{message}"
    );
}

fn score(dir: &Path, gold: &str, predicted: &str) -> Command {
    let (a, b) = (dir.join("gold.conll"), dir.join("pred.conll"));
    fs::write(&a, gold).unwrap();
    fs::write(&b, predicted).unwrap();
    let mut command = binary("nerve-trainer");
    command
        .args(["score", "--json", "--gold"])
        .arg(a)
        .arg("--pred")
        .arg(b);
    command
}

#[test]
fn a_submission_whose_words_differ_is_scored_with_a_warning() {
    let dir = tempfile::tempdir().unwrap();
    let (gold, predicted) = ("&gt;\tO\nBob\tB-person\n", ">\tO\nBob\tB-person\n");
    let mut command = score(dir.path(), gold, predicted);
    let scored = output(&mut command);
    assert!(scored.status.success());
    let found: Value = serde_json::from_slice(&scored.stdout).unwrap();
    assert_eq!(found["entity"]["f1"], 1.0);
    let warning = String::from_utf8_lossy(&scored.stderr);
    assert!(warning.starts_with("warning: 1 of 2 words differ"), "{warning}");
    assert!(
        warning.contains("pred.conll:1: the word is `>`, but `&gt;` on line 1"),
        "{warning}"
    );
    let message = fail(command.arg("--same-words"));
    assert!(message.contains("pred.conll:1: the word is `>`"), "{message}");
}
