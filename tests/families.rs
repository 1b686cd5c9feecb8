//! Each model family, from a base directory to a served bundle.
//!
//! `tests/families/make_fixtures.py` creates the fixtures.

use std::fs;
use std::path::{Path, PathBuf};

use nerve_inference::{Model, Runtime, SessionOptions};
use nerve_repository::Family;
use serde_json::{Value, json};

use crate::fixture::{binary, fail, repository, succeed, tiny_corpus};
use crate::server::Server;

/// The maximum length of every fixture, in tokens.
const LONGEST: &str = "40";

pub(crate) fn base(family: Family) -> PathBuf {
    named_base(family.model_type())
}

fn named_base(name: &str) -> PathBuf {
    repository().join("tests/families/fixtures").join(name)
}

/// The token ids and logits of `transformers` for sentences of given words.
fn expected(base: &Path) -> Vec<Value> {
    let text = fs::read(base.join("expected.json")).unwrap();
    serde_json::from_slice(&text).unwrap()
}

fn export(checkpoint: &Path, out: &Path, precision: &str, calibration: &Path) {
    export_windows(LONGEST, checkpoint, out, precision, calibration);
}

fn export_windows(max_length: &str, checkpoint: &Path, out: &Path, precision: &str, calibration: &Path) {
    succeed(
        binary("nerve-export")
            .args(["--precision", precision, "--max-length", max_length])
            .arg("--checkpoint")
            .arg(checkpoint)
            .arg("--out")
            .arg(out)
            .arg("--calibration")
            .arg(calibration),
    );
}

fn verify(bundle: &Path, checkpoint: &Path) -> Value {
    let mut command = binary("nerve-export");
    command
        .arg("verify")
        .arg(bundle)
        // Of a few hundred tokens of a tiny network, int8 may decide a few otherwise.
        .args(["--min-agreement", "0.95"])
        .arg("--checkpoint")
        .arg(checkpoint);
    serde_json::from_str(&succeed(&mut command)).unwrap()
}

#[test]
fn the_exported_graph_has_the_logits_of_transformers() {
    let dir = tempfile::tempdir().unwrap();
    tiny_corpus(dir.path());
    let runtime = Runtime::load(None).unwrap();
    let mut bases: Vec<(PathBuf, &str)> = Family::ALL
        .into_iter()
        .map(|family| (base(family), LONGEST))
        .collect();
    // With distances that share a position bias, with embeddings as wide as the hidden states, with several groups of layers that
    // share weights, and with other options of relative attention.
    for (name, longest) in [
        ("mpnet-long", "300"),
        ("electra-wide", LONGEST),
        ("albert-groups", LONGEST),
        ("deberta-v2-long", "300"),
        ("deberta-v2-own", LONGEST),
        ("deberta-v2-c2p", LONGEST),
        ("deberta-v2-p2c", LONGEST),
    ] {
        bases.push((named_base(name), longest));
    }
    for (base, max_length) in bases {
        let bundle = dir.path().join(base.file_name().unwrap());
        let corpus = dir.path().join("dev.conll");
        export_windows(max_length, &base, &bundle, "fp32", &corpus);
        let model = Model::open(&bundle).unwrap();
        let mut session = model.session(&runtime, &SessionOptions::default()).unwrap();
        let cases = expected(&base);
        let ids: Vec<Vec<u32>> = cases
            .iter()
            .map(|case| serde_json::from_value(case["ids"].clone()).unwrap())
            .collect();
        // In one batch, so that the shorter ones are padded.
        let batch: Vec<&[u32]> = ids.iter().map(Vec::as_slice).collect();
        let logits = session.run(&batch).unwrap();
        for (sequence, case) in cases.iter().enumerate() {
            let rows: Vec<Vec<f32>> = serde_json::from_value(case["logits"].clone()).unwrap();
            for (position, expected) in rows.iter().enumerate() {
                let found = logits.row(sequence, position).unwrap();
                for (found, expected) in found.iter().zip(expected) {
                    assert!(
                        (found - expected).abs() < 1e-4,
                        "{}: {found} {expected}",
                        base.display()
                    );
                }
            }
        }
    }
}

#[test]
fn a_base_is_trained_evaluated_exported_verified_and_served() {
    for family in Family::ALL {
        train_to_serve(family);
    }
}

fn train_to_serve(family: Family) {
    let dir = tempfile::tempdir().unwrap();
    tiny_corpus(dir.path());
    let corpus = dir.path().join("dev.conll");
    let run = dir.path().join("run");
    let mut train = binary("nerve-trainer");
    train
        .args(["train", "--max-length", LONGEST, "--threads", "2", "--seed", "1"])
        .args(["--epochs", "24", "--batch-size", "8", "--learning-rate", "1e-2"])
        .args(["--dropout", "0"])
        .arg("--base")
        .arg(base(family))
        .arg("--data")
        .arg(dir.path())
        .arg("--out")
        .arg(&run);
    succeed(&mut train);
    let records = fs::read_to_string(run.join("records.jsonl")).unwrap();
    let losses: Vec<f64> = records
        .lines()
        .map(|line| {
            serde_json::from_str::<Value>(line).unwrap()["loss"]
                .as_f64()
                .unwrap()
        })
        .collect();
    assert!(losses[3] < 0.9 * losses[0], "{family:?}: {losses:?}");

    let best = run.join("best");
    let written: Value = serde_json::from_slice(&fs::read(best.join("config.json")).unwrap()).unwrap();
    assert_eq!(written["model_type"], family.model_type());
    let score = |kind: &str, model: &Path| -> Value {
        let report = dir.path().join("report.json");
        let mut command = binary("nerve-trainer");
        command
            .args(["evaluate", kind])
            .arg(model)
            .arg("--data")
            .arg(&corpus);
        if kind == "--checkpoint" {
            command.args(["--max-length", LONGEST]);
        }
        succeed(command.arg("--json").arg(&report));
        serde_json::from_slice(&fs::read(report).unwrap()).unwrap()
    };
    let fp32 = dir.path().join("fp32");
    let int8 = dir.path().join("int8");
    for (precision, bundle) in [("fp32", &fp32), ("int8", &int8)] {
        export(&best, bundle, precision, &corpus);
        let found = verify(bundle, &best);
        let agreement = found["label_agreement"].as_f64().unwrap();
        assert!(agreement > 0.9, "{family:?} {precision}: {found}");
    }
    // candle and ONNX Runtime find the same entities, because tokens and windows are the same in both.
    let (trained, exported) = (score("--checkpoint", &best), score("--bundle", &fp32));
    assert_eq!(trained["entity"], exported["entity"], "{family:?}");
    assert!(
        trained["entity"]["f1"].as_f64().unwrap() > 0.5,
        "{family:?}: {trained}"
    );

    let words = ["In", "São", "Paulo", ",", "I", "met", "Cy", "Dahl", "today", "!"];
    let text = dir.path().join("text.txt");
    fs::write(&text, words.join(" ")).unwrap();
    let tagged = succeed(
        binary("nerve-trainer")
            .args(["tag", "--max-length", LONGEST, "--checkpoint"])
            .arg(&best)
            .arg(&text),
    );
    let server = Server::start(&fp32, &[]);
    let answer = server.post("/ner", &json!({"words": words}));
    assert_eq!(answer.status, 200, "{}", answer.body);
    let served: Vec<String> = answer.body["words"]
        .as_array()
        .unwrap()
        .iter()
        .map(|word| {
            format!(
                "{}\t{}",
                word["text"].as_str().unwrap(),
                word["label"].as_str().unwrap()
            )
        })
        .collect();
    let tagged: Vec<&str> = tagged.lines().filter(|line| !line.is_empty()).collect();
    assert_eq!(served, tagged, "{family:?}");
}

#[test]
fn a_base_that_shares_or_projects_is_pre_trained_and_then_trained() {
    for (family, class, dense) in [
        (
            Family::Electra,
            "ElectraForMaskedLM",
            "generator_predictions.dense.weight",
        ),
        (Family::Albert, "AlbertForMaskedLM", "predictions.dense.weight"),
    ] {
        let dir = tempfile::tempdir().unwrap();
        tiny_corpus(dir.path());
        let (pretrained, run) = (dir.path().join("pretrained"), dir.path().join("run"));
        let mut pretrain = binary("nerve-trainer");
        pretrain
            .args([
                "pretrain",
                "--max-length",
                LONGEST,
                "--threads",
                "2",
                "--epochs",
                "2",
            ])
            .arg("--base")
            .arg(base(family))
            .arg("--text")
            .arg(dir.path().join("train.conll"))
            .arg("--out")
            .arg(&pretrained);
        succeed(&mut pretrain);
        let last = pretrained.join("last");
        let config: Value = serde_json::from_slice(&fs::read(last.join("config.json")).unwrap()).unwrap();
        assert_eq!(config["architectures"], json!([class]));
        let weights = fs::read(last.join("model.safetensors")).unwrap();
        let length = u64::from_le_bytes(*weights.first_chunk().unwrap()) as usize;
        let header: Value = serde_json::from_slice(&weights[8..8 + length]).unwrap();
        // To the width of the embeddings.
        assert_eq!(header[dense]["shape"], json!([12, 16]));
        let mut train = binary("nerve-trainer");
        train
            .args([
                "train",
                "--max-length",
                LONGEST,
                "--threads",
                "2",
                "--epochs",
                "1",
            ])
            .arg("--base")
            .arg(&last)
            .arg("--data")
            .arg(dir.path())
            .arg("--out")
            .arg(&run);
        succeed(&mut train);
    }
}

#[test]
fn layers_of_several_groups_are_not_cut_off() {
    let dir = tempfile::tempdir().unwrap();
    tiny_corpus(dir.path());
    let train = |name: &str, layers: &str| {
        let mut command = binary("nerve-trainer");
        command
            .args([
                "train",
                "--max-length",
                LONGEST,
                "--threads",
                "2",
                "--epochs",
                "1",
                "--layers",
                layers,
            ])
            .arg("--base")
            .arg(named_base(name))
            .arg("--data")
            .arg(dir.path())
            .arg("--out")
            .arg(dir.path().join(format!("{name}-{layers}")));
        command
    };
    succeed(&mut train("albert", "1"));
    let message = fail(&mut train("albert-groups", "2"));
    assert!(message.contains("num_hidden_groups"), "{message}");
}

#[test]
fn a_length_beyond_the_positions_left_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    tiny_corpus(dir.path());
    // The table has 42 positions, of which the first two are never used.
    let base = base(Family::Roberta);
    let mut train = binary("nerve-trainer");
    train
        .args(["train", "--max-length", "41"])
        .arg("--base")
        .arg(&base)
        .arg("--data")
        .arg(dir.path())
        .arg("--out")
        .arg(dir.path().join("run"));
    let message = fail(&mut train);
    assert!(message.contains("40 positions"), "{message}");
    let mut export = binary("nerve-export");
    export
        .args(["--precision", "fp32", "--max-length", "41"])
        .arg("--checkpoint")
        .arg(&base)
        .arg("--out")
        .arg(dir.path().join("bundle"));
    let message = fail(&mut export);
    assert!(message.contains("40 positions"), "{message}");
}
