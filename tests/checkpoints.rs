//! Checkpoints as other programs write them: labels of any scheme, shards, and pickled weights.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use crate::fixture::{binary, copy_files, fail, succeed, tiny};
use crate::server::Server;

/// A copy of the tiny checkpoint with another configuration.
fn checkpoint(edit: impl FnOnce(&mut Value)) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    copy_files(&tiny().checkpoint(), dir.path());
    // The temperature is for other labels.
    let _ = fs::remove_file(dir.path().join("calibration.json"));
    let path = dir.path().join("config.json");
    let mut config: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    edit(&mut config);
    fs::write(&path, config.to_string()).unwrap();
    dir
}

fn export(checkpoint: &Path, out: &Path) -> std::process::Command {
    let mut command = binary("nerve-export");
    command
        .arg("--checkpoint")
        .arg(checkpoint)
        .arg("--out")
        .arg(out)
        .args(["--precision", "fp32", "--name", "tiny"]);
    command
}

fn evaluation(model: [&str; 1], dir: &Path, report: &Path) -> Value {
    let mut command = binary("nerve-trainer");
    command
        .arg("evaluate")
        .args(model)
        .arg(dir)
        .arg("--data")
        .arg(tiny().corpus())
        .arg("--json")
        .arg(report);
    succeed(&mut command);
    serde_json::from_slice(&fs::read(report).unwrap()).unwrap()
}

#[test]
fn labels_of_every_scheme_are_exported_and_evaluated() {
    for (scheme, names) in [
        ("io", ["O", "I-person", "I-b", "I-location", "I-d"]),
        ("iob1", ["O", "B-person", "I-person", "I-location", "I-org"]),
        ("iobes", ["O", "B-person", "I-person", "E-person", "S-person"]),
        (
            "iobes",
            ["O", "B-location", "I-location", "L-location", "U-location"],
        ),
        ("plain", ["O", "person", "PER", "location", "LOC"]),
    ] {
        let dir = checkpoint(|config| {
            let map: serde_json::Map<String, Value> = (0..)
                .zip(names)
                .map(|(id, name)| (name.to_owned(), json!(id)))
                .collect();
            config["label2id"] = json!(map);
            config.as_object_mut().unwrap().remove("id2label");
        });
        let bundle = dir.path().join("bundle");
        succeed(&mut export(dir.path(), &bundle));
        let manifest: Value =
            serde_json::from_slice(&fs::read(bundle.join("manifest.json")).unwrap()).unwrap();
        assert_eq!(manifest["labels"], json!(names), "{scheme}");
        let report = dir.path().join("report.json");
        let of_checkpoint = evaluation(["--checkpoint"], dir.path(), &report);
        assert_eq!(
            of_checkpoint,
            evaluation(["--bundle"], &bundle, &report),
            "{scheme}"
        );
        let server = Server::start(&bundle, &[]);
        let answer = server.post("/ner", &json!({"text": "Ann Lee went to Rome ."}));
        assert_eq!(answer.status, 200, "{}", answer.body);
    }
}

#[test]
fn shards_are_exported_and_pickled_weights_refused() {
    let dir = checkpoint(|_| ());
    let bundle = dir.path().join("bundle");
    let weights = dir.path().join("model.safetensors");
    fs::rename(&weights, dir.path().join("model-00001-of-00001.safetensors")).unwrap();
    fs::write(dir.path().join("pytorch_model.bin"), b"").unwrap();
    let message = fail(&mut export(dir.path(), &bundle));
    assert!(
        message.contains("pytorch_model.bin: only pickled weights")
            && message.contains("t.AutoModelForTokenClassification.from_pretrained('"),
        "{message}"
    );
    let index = json!({"weight_map": {"classifier.weight": "model-00001-of-00001.safetensors"}});
    fs::write(dir.path().join("model.safetensors.index.json"), index.to_string()).unwrap();
    succeed(&mut export(dir.path(), &bundle));
    let report = dir.path().join("report.json");
    assert_eq!(
        evaluation(["--checkpoint"], dir.path(), &report),
        evaluation(["--checkpoint"], &tiny().checkpoint(), &report)
    );
}
