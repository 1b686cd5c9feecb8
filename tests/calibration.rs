//! A temperature is fitted by `nerve-trainer calibrate`, exported, and applied to the server's scores.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use crate::fixture::{binary, copy_files, fail, succeed, tiny};
use crate::server::Server;

fn export(checkpoint: &Path, out: &Path) {
    succeed(
        binary("nerve-export")
            .args(["--precision", "fp32", "--max-length", "48", "--name", "tiny"])
            .arg("--checkpoint")
            .arg(checkpoint)
            .arg("--out")
            .arg(out),
    );
}

/// Writes a temperature into the calibration of a checkpoint.
fn set_temperature(checkpoint: &Path, temperature: f64) {
    let path = checkpoint.join("calibration.json");
    let mut calibration: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    calibration["temperature"] = temperature.into();
    fs::write(&path, calibration.to_string()).unwrap();
}

fn labels_and_scores(words: &Value) -> (Vec<&str>, Vec<f64>) {
    let words = words.as_array().unwrap();
    let labels = words.iter().map(|word| word["label"].as_str().unwrap());
    let scores = words.iter().map(|word| word["score"].as_f64().unwrap());
    (labels.collect(), scores.collect())
}

#[test]
fn a_fitted_temperature_reaches_every_score_and_no_label() {
    let dir = tempfile::tempdir().unwrap();
    let checkpoint = dir.path().join("checkpoint");
    copy_files(&tiny().checkpoint(), &checkpoint);
    let calibrate = |corpus: &Path| {
        let mut command = binary("nerve-trainer");
        command.args(["calibrate", "--data"]).arg(corpus);
        command.arg("--checkpoint").arg(&checkpoint);
        command
    };
    // The tagger is right about every word of its own corpus, which any low temperature fits.
    let refused = fail(&mut calibrate(&tiny().corpus()));
    assert!(refused.contains("every word is tagged right"), "{refused}");
    assert!(!checkpoint.join("calibration.json").exists());
    let corpus = dir.path().join("dev.conll");
    let text = fs::read_to_string(tiny().corpus()).unwrap();
    fs::write(&corpus, text.replacen("went\tO", "went\tB-person", 3)).unwrap();
    let printed = succeed(&mut calibrate(&corpus));
    assert!(
        printed.contains("negative log-likelihood") && printed.contains("calibration.json"),
        "{printed}"
    );
    let fitted: Value =
        serde_json::from_slice(&fs::read(checkpoint.join("calibration.json")).unwrap()).unwrap();
    assert_eq!(fitted["split"], "dev");
    assert!(
        fitted["after"]["nll"].as_f64() <= fitted["before"]["nll"].as_f64(),
        "{fitted}"
    );

    // A temperature with a visible effect on the scores, independent of the fitted one.
    set_temperature(&checkpoint, 2.5);
    let (warm, plain) = (dir.path().join("warm"), tiny().bundle("fp32"));
    export(&checkpoint, &warm);
    let manifest = |bundle: &Path| -> Value {
        serde_json::from_slice(&fs::read(bundle.join("manifest.json")).unwrap()).unwrap()
    };
    assert_eq!(manifest(&warm)["temperature"], 2.5);
    assert!(manifest(&plain).get("temperature").is_none());
    assert_eq!(manifest(&warm)["files"], manifest(&plain)["files"]);
    assert_ne!(manifest(&warm)["version"], manifest(&plain)["version"]);

    let (warm, plain) = (Server::start(&warm, &[]), Server::start(&plain, &[]));
    assert_eq!(warm.get("/info").body["model"]["temperature"], 2.5);
    assert_eq!(plain.get("/info").body["model"]["temperature"], 1.0);
    let text = json!({"text": "Ann Lee went to São Paulo. In Rome, I met Zoë today!", "include_words": true});
    let (warm_answer, plain_answer) = (warm.post("/ner", &text).body, plain.post("/ner", &text).body);
    let (warm_labels, warm_scores) = labels_and_scores(&warm_answer["words"]);
    let (plain_labels, plain_scores) = labels_and_scores(&plain_answer["words"]);
    assert_eq!(warm_labels, plain_labels);
    assert!(
        warm_scores
            .iter()
            .zip(&plain_scores)
            .all(|(warm, plain)| warm < plain),
        "{warm_answer}"
    );
    // `POST /` applies no temperature, like the pipeline of `transformers`.
    let inputs = json!({"inputs": "Ann Lee went to São Paulo."});
    assert_eq!(warm.post("/", &inputs).body, plain.post("/", &inputs).body);

    // The checkpoint has the same scores as its bundle.
    let file = dir.path().join("text.txt");
    fs::write(&file, "Ann Lee went to São Paulo. In Rome, I met Zoë today!\n").unwrap();
    let tagged = succeed(
        binary("nerve-trainer")
            .args(["tag", "--output", "ndjson", "--max-length", "48", "--checkpoint"])
            .arg(&checkpoint)
            .arg(&file),
    );
    let tagged: Value = serde_json::from_str(&tagged).unwrap();
    let (labels, scores) = labels_and_scores(&tagged["words"]);
    assert_eq!(labels, warm_labels);
    for (checkpoint, bundle) in scores.iter().zip(&warm_scores) {
        assert!((checkpoint - bundle).abs() < 1e-3, "{checkpoint} {bundle}");
    }
}

#[test]
fn a_bias_of_outside_reaches_the_bundle_and_can_be_taken_back() {
    let dir = tempfile::tempdir().unwrap();
    let checkpoint = dir.path().join("checkpoint");
    copy_files(&tiny().checkpoint(), &checkpoint);
    let corpus = dir.path().join("dev.conll");
    let text = fs::read_to_string(tiny().corpus()).unwrap();
    fs::write(&corpus, text.replacen("went\tO", "went\tB-person", 3)).unwrap();
    let calibrate = |bias: &str| {
        let mut command = binary("nerve-trainer");
        command
            .args(["calibrate", "--outside-bias", bias, "--data"])
            .arg(&corpus);
        command.arg("--checkpoint").arg(&checkpoint);
        command
    };
    let text = dir.path().join("text.txt");
    fs::write(&text, "Ann Lee went to São Paulo.\n").unwrap();
    let answer = |model: &[&str], path: &Path| -> Value {
        let mut command = binary("nerve-trainer");
        command
            .args(["tag", "--output", "ndjson"])
            .args(model)
            .arg(path)
            .arg(&text);
        serde_json::from_str(&succeed(&mut command)).unwrap()
    };
    let of_checkpoint = ["--max-length", "48", "--checkpoint"];
    let weights = || fs::read(checkpoint.join("model.safetensors")).unwrap();
    let trained = weights();

    // With every word an entity, no temperature fits, and the checkpoint stays as it is.
    let refused = fail(&mut calibrate("-100"));
    assert!(refused.contains("no temperature is written"), "{refused}");
    assert_eq!(weights(), trained);

    let printed = succeed(&mut calibrate("f1"));
    assert_eq!(printed.matches(" *\n").count(), 1, "{printed}");
    succeed(&mut calibrate("-1.5"));
    set_temperature(&checkpoint, 1.0);
    let bundle = dir.path().join("bundle");
    export(&checkpoint, &bundle);
    let (changed, exported) = (
        answer(&of_checkpoint, &checkpoint),
        answer(&["--bundle"], &bundle),
    );
    let plain = answer(&of_checkpoint, &tiny().checkpoint());
    let words = [&plain, &changed, &exported].map(|answer| labels_and_scores(&answer["words"]));
    let [(labels, plain), (after, changed), (of_bundle, exported)] = &words;
    assert_eq!((labels, labels), (after, of_bundle));
    for (at, label) in labels.iter().enumerate().filter(|(_, label)| **label == "O") {
        assert!(changed[at] < plain[at], "{label}: {} {}", plain[at], changed[at]);
    }
    assert!(labels.contains(&"O"));
    for (checkpoint, bundle) in changed.iter().zip(exported) {
        assert!((checkpoint - bundle).abs() < 1e-3, "{checkpoint} {bundle}");
    }

    succeed(&mut calibrate("0"));
    assert_eq!(weights(), trained);
}

#[test]
fn a_temperature_that_is_none_stops_the_export() {
    let dir = tempfile::tempdir().unwrap();
    let checkpoint = dir.path().join("checkpoint");
    copy_files(&tiny().checkpoint(), &checkpoint);
    fs::write(
        checkpoint.join("calibration.json"),
        json!({
            "temperature": 0.0, "split": "dev", "words": 1,
            "before": {"nll": 0.0, "ece": 0.0}, "after": {"nll": 0.0, "ece": 0.0}
        })
        .to_string(),
    )
    .unwrap();
    let message = fail(
        binary("nerve-export")
            .args(["--precision", "fp32", "--max-length", "48"])
            .arg("--checkpoint")
            .arg(&checkpoint)
            .arg("--out")
            .arg(dir.path().join("out")),
    );
    assert!(
        message.contains("calibration.json: temperature is 0"),
        "{message}"
    );
    assert!(!dir.path().join("out").exists());
}
