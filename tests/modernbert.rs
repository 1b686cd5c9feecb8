//! ModernBERT in every precision and form of the graph, on the fixtures of `tests/families/make_fixtures.py`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use nerve_inference::{Model, Runtime, SessionOptions};
use serde_json::{Map, Value};

use crate::fixture::{binary, copy_files, fail, interrupted, repository, succeed, tiny_corpus};

fn fixture(name: &str) -> PathBuf {
    repository().join("tests/families/fixtures").join(name)
}

fn export(checkpoint: &Path, out: &Path, further: &[&str]) {
    succeed(
        binary("nerve-export")
            .args(["--max-length", "40", "--checkpoint"])
            .arg(checkpoint)
            .arg("--out")
            .arg(out)
            .args(further),
    );
}

/// The largest difference of the logits of a bundle from those of `transformers`, in one batch of several lengths, and alone.
fn difference(bundle: &Path, fixture: &Path) -> f32 {
    let runtime = Runtime::load(None).unwrap();
    let model = Model::open(bundle).unwrap();
    let mut session = model.session(&runtime, &SessionOptions::default()).unwrap();
    let cases: Vec<Value> =
        serde_json::from_slice(&fs::read(fixture.join("expected.json")).unwrap()).unwrap();
    let ids: Vec<Vec<u32>> = cases
        .iter()
        .map(|case| serde_json::from_value(case["ids"].clone()).unwrap())
        .collect();
    let batch: Vec<&[u32]> = ids.iter().map(Vec::as_slice).collect();
    let together = session.run(&batch).unwrap();
    let mut largest = 0f32;
    for (sequence, case) in cases.iter().enumerate() {
        let alone = session.run(&batch[sequence..=sequence]).unwrap();
        let rows: Vec<Vec<f32>> = serde_json::from_value(case["logits"].clone()).unwrap();
        for (position, expected) in rows.iter().enumerate() {
            let found = together.row(sequence, position).unwrap();
            assert_eq!(found, alone.row(0, position).unwrap(), "{}", bundle.display());
            for (found, expected) in found.iter().zip(expected) {
                assert!(found.is_finite(), "{}", bundle.display());
                largest = largest.max((found - expected).abs());
            }
        }
    }
    largest
}

#[test]
fn every_graph_has_the_logits_of_transformers_alone_and_in_a_batch() {
    let dir = tempfile::tempdir().unwrap();
    for name in ["modernbert", "modernbert-biased"] {
        for (precision, logits, most) in [
            ("fp32", "selected", 1e-4),
            ("fp32", "all", 1e-4),
            ("fp16", "selected", 0.05),
            ("fp16", "all", 0.05),
        ] {
            let bundle = dir.path().join(format!("{name}-{precision}-{logits}"));
            export(
                &fixture(name),
                &bundle,
                &["--precision", precision, "--logits", logits],
            );
            let apart = difference(&bundle, &fixture(name));
            println!("{name} {precision} {logits}: {apart:e}");
            assert!(apart < most, "{name} {precision} {logits}: {apart}");
        }
    }
}

/// Multiplies the tensors whose name ends so.
fn scale(checkpoint: &Path, ends: &str, factor: f32) {
    let path = checkpoint.join("model.safetensors");
    let mut bytes = fs::read(&path).unwrap();
    let length = u64::from_le_bytes(*bytes.first_chunk().unwrap()) as usize;
    let header: Map<String, Value> = serde_json::from_slice(&bytes[8..8 + length]).unwrap();
    for (_, tensor) in header.iter().filter(|(name, _)| name.ends_with(ends)) {
        let offsets: [usize; 2] = serde_json::from_value(tensor["data_offsets"].clone()).unwrap();
        for number in bytes[8 + length..][offsets[0]..offsets[1]].chunks_exact_mut(4) {
            let value = f32::from_le_bytes(*number.first_chunk().unwrap()) * factor;
            number.copy_from_slice(&value.to_le_bytes());
        }
    }
    fs::write(&path, bytes).unwrap();
}

#[test]
fn a_product_with_its_gate_beyond_half_precision_stays_finite() {
    let dir = tempfile::tempdir().unwrap();
    let (large, bundle) = (dir.path().join("large"), dir.path().join("bundle"));
    copy_files(&fixture("modernbert"), &large);
    scale(&large, "mlp.Wi.weight", 300.0);
    scale(&large, "mlp.Wo.weight", 1e-3);
    export(&large, &bundle, &["--precision", "fp16"]);
    // Compared with other weights, so that only finite logits matter.
    assert!(difference(&bundle, &fixture("modernbert")).is_finite());
}

#[test]
fn pre_training_and_unsupported_fields_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    tiny_corpus(dir.path());
    let message = fail(
        binary("nerve-trainer")
            .args(["pretrain", "--max-length", "40", "--base"])
            .arg(fixture("modernbert"))
            .arg("--text")
            .arg(dir.path().join("dev.conll"))
            .arg("--out")
            .arg(dir.path().join("run")),
    );
    assert!(message.contains("`pretrain` does not support"), "{message}");
    let edited = dir.path().join("edited");
    copy_files(&fixture("modernbert"), &edited);
    let mut config: Value = serde_json::from_slice(&fs::read(edited.join("config.json")).unwrap()).unwrap();
    config["rope_parameters"]["full_attention"]["rope_type"] = "yarn".into();
    fs::write(edited.join("config.json"), config.to_string()).unwrap();
    let message = fail(
        binary("nerve-export")
            .args(["--precision", "fp32", "--checkpoint"])
            .arg(&edited)
            .arg("--out")
            .arg(dir.path().join("bundle")),
    );
    assert!(message.contains("config.json: rope_parameters"), "{message}");
}

fn train(base: &Path, corpus: &Path, out: &Path, further: &[&str]) -> Command {
    let mut command = binary("nerve-trainer");
    command
        .args(["train", "--reports=false", "--max-length", "40", "--threads", "2"])
        .args(["--batch-size", "8", "--learning-rate", "1e-3", "--seed", "1"])
        .args(further)
        .arg("--base")
        .arg(base)
        .arg("--data")
        .arg(corpus)
        .arg("--out")
        .arg(out);
    command
}

#[test]
fn a_training_with_every_dropout_that_is_stopped_and_resumed_is_the_one_that_was_not() {
    let dir = tempfile::tempdir().unwrap();
    tiny_corpus(dir.path());
    let (whole, stopped) = (dir.path().join("whole"), dir.path().join("stopped"));
    let options = [
        "--epochs",
        "20",
        "--evaluate-every",
        "4",
        "--dropout",
        "0.2",
        "--r-drop",
        "0.5",
    ];
    let base = fixture("modernbert-biased");
    succeed(&mut train(&base, dir.path(), &whole, &options));
    interrupted(
        &mut train(&base, dir.path(), &stopped, &options),
        &stopped.join("steps.jsonl"),
    );
    succeed(
        binary("nerve-trainer")
            .args(["train", "--resume", "--out"])
            .arg(&stopped),
    );
    for file in [
        "steps.jsonl",
        "records.jsonl",
        "last/model.safetensors",
        "best/model.safetensors",
    ] {
        let read = |run: &Path| fs::read(run.join(file)).unwrap();
        assert!(read(&whole) == read(&stopped), "{file}");
    }
    let written: Value = serde_json::from_slice(&fs::read(whole.join("best/config.json")).unwrap()).unwrap();
    assert_eq!(written["embedding_dropout"], 0.2);
}

#[test]
fn it_teaches_another_family_and_learns_from_it() {
    let dir = tempfile::tempdir().unwrap();
    tiny_corpus(dir.path());
    for (teacher, student) in [("modernbert", "bert"), ("bert", "modernbert")] {
        let out = dir.path().join(student);
        let mut command = train(&fixture(student), dir.path(), &out, &["--epochs", "2"]);
        succeed(command.arg("--teacher").arg(fixture(teacher)));
        assert!(out.join("best/model.safetensors").is_file());
    }
}
