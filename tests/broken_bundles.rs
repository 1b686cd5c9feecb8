//! A bundle that is broken in each way is refused, each with its own error.

use std::fs;
use std::path::{Path, PathBuf};

use nerve_inference::{GraphError, Model, ModelError};
use nerve_repository::{ConfigError, LocateError, ManifestError};
use serde_json::Value;
use sha2::{Digest, Sha256};
use tempfile::TempDir;

use crate::fixture::tiny;

/// A copy of the fp32 bundle, to break.
fn copy() -> (TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let bundle = dir.path().join("bundle");
    fs::create_dir(&bundle).unwrap();
    for entry in fs::read_dir(tiny().bundle("fp32")).unwrap() {
        let entry = entry.unwrap();
        fs::copy(entry.path(), bundle.join(entry.file_name())).unwrap();
    }
    (dir, bundle)
}

fn edit(path: &Path, change: impl FnOnce(&mut Value)) {
    let mut value = serde_json::from_slice(&fs::read(path).unwrap()).unwrap();
    change(&mut value);
    fs::write(path, value.to_string()).unwrap();
}

fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

/// Makes the manifest describe the files as they now are.
fn seal(bundle: &Path) {
    edit(&bundle.join("manifest.json"), |manifest| {
        let mut hashes = String::new();
        for name in [
            "config.json",
            "model.onnx",
            "tokenizer.json",
            "tokenizer_config.json",
        ] {
            let bytes = fs::read(bundle.join(name)).unwrap();
            manifest["files"][name] = serde_json::json!({"size": bytes.len(), "sha256": sha256(&bytes)});
            hashes += &format!("{name} {}\n", sha256(&bytes));
        }
        manifest["version"] = Value::String(sha256(hashes.as_bytes())[..16].to_owned());
    });
}

fn error(bundle: &Path) -> ModelError {
    Model::open(bundle).err().expect("a broken bundle is refused")
}

fn manifest_error(bundle: &Path) -> ManifestError {
    match error(bundle) {
        ModelError::Manifest(error) => error,
        other => panic!("{other}"),
    }
}

#[test]
fn a_whole_copy_opens() {
    let (_dir, bundle) = copy();
    seal(&bundle);
    Model::open(&bundle).unwrap();
}

#[test]
fn a_truncated_file() {
    let (_dir, bundle) = copy();
    let model = bundle.join("model.onnx");
    let bytes = fs::read(&model).unwrap();
    fs::write(&model, &bytes[..bytes.len() - 1]).unwrap();
    let error = manifest_error(&bundle);
    assert!(matches!(error, ManifestError::Size { .. }), "{error}");
    assert!(error.to_string().contains("model.onnx"));
}

#[test]
fn a_changed_byte() {
    let (_dir, bundle) = copy();
    let model = bundle.join("model.onnx");
    let mut bytes = fs::read(&model).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&model, bytes).unwrap();
    assert!(matches!(manifest_error(&bundle), ManifestError::Hash { .. }));
}

#[test]
fn a_missing_file() {
    let (_dir, bundle) = copy();
    fs::remove_file(bundle.join("tokenizer.json")).unwrap();
    assert!(matches!(manifest_error(&bundle), ManifestError::Read { .. }));
}

#[test]
fn a_manifest_of_another_format_or_shape() {
    let (_dir, bundle) = copy();
    let path = bundle.join("manifest.json");
    edit(&path, |manifest| manifest["format_version"] = 2.into());
    assert!(matches!(
        manifest_error(&bundle),
        ManifestError::Format { found: 2, .. }
    ));
    fs::write(&path, "{\"format_version\": 1}").unwrap();
    assert!(matches!(manifest_error(&bundle), ManifestError::Parse { .. }));
    fs::write(&path, "{").unwrap();
    assert!(matches!(manifest_error(&bundle), ManifestError::Parse { .. }));
}

#[test]
fn a_manifest_that_forgets_a_file_or_lies_about_its_version() {
    let (_dir, bundle) = copy();
    let path = bundle.join("manifest.json");
    edit(&path, |manifest| manifest["version"] = "0123456789abcdef".into());
    assert!(matches!(manifest_error(&bundle), ManifestError::Version { .. }));
    edit(&path, |manifest| {
        manifest["files"].as_object_mut().unwrap().remove("model.onnx");
    });
    assert!(matches!(
        manifest_error(&bundle),
        ManifestError::Unlisted {
            file: "model.onnx",
            ..
        }
    ));
}

#[test]
fn a_temperature_that_is_none_or_not_the_versions() {
    let (_dir, bundle) = copy();
    let path = bundle.join("manifest.json");
    for temperature in [0.0, -1.5] {
        edit(&path, |manifest| manifest["temperature"] = temperature.into());
        let error = manifest_error(&bundle);
        assert!(matches!(error, ManifestError::Temperature { .. }), "{error}");
        assert!(
            error.to_string().contains("manifest.json: temperature is"),
            "{error}"
        );
    }
    edit(&path, |manifest| manifest["temperature"] = 1.5.into());
    assert!(matches!(manifest_error(&bundle), ManifestError::Version { .. }));
    edit(&path, |manifest| manifest["temperature"] = Value::Null);
    Model::open(&bundle).unwrap();
}

#[test]
fn labels_that_contradict_the_configuration() {
    let (_dir, bundle) = copy();
    edit(&bundle.join("manifest.json"), |manifest| {
        manifest["labels"][1] = "B-planet".into();
    });
    assert!(matches!(manifest_error(&bundle), ManifestError::Labels { .. }));
    edit(&bundle.join("config.json"), |config| {
        config["id2label"]["0"] = "B-planet".into();
    });
    seal(&bundle);
    assert!(matches!(
        error(&bundle),
        ModelError::Config(ConfigError::Labels { .. })
    ));
}

#[test]
fn fewer_labels_than_the_logits_are_wide() {
    let (_dir, bundle) = copy();
    edit(&bundle.join("config.json"), |config| {
        config["id2label"].as_object_mut().unwrap().remove("4");
    });
    edit(&bundle.join("manifest.json"), |manifest| {
        manifest["labels"].as_array_mut().unwrap().truncate(4);
    });
    seal(&bundle);
    let error = error(&bundle);
    assert!(
        matches!(
            error,
            ModelError::Graph(GraphError::LabelCount {
                labels: 4,
                logits: 5,
                ..
            })
        ),
        "{error}"
    );
}

#[test]
fn a_graph_that_is_no_graph() {
    let (_dir, bundle) = copy();
    fs::write(bundle.join("model.onnx"), b"not a graph").unwrap();
    seal(&bundle);
    let error = error(&bundle);
    assert!(
        matches!(error, ModelError::Graph(GraphError::NotOnnx { .. })),
        "{error}"
    );
}

#[test]
fn a_directory_of_something_else() {
    let dir = tempfile::tempdir().unwrap();
    assert!(matches!(
        error(dir.path()),
        ModelError::Locate(LocateError::Unknown { .. })
    ));
    assert!(matches!(
        error(&dir.path().join("absent")),
        ModelError::Locate(LocateError::Open { .. })
    ));
}

#[test]
fn an_operator_of_nobody() {
    let (_dir, bundle) = copy();
    edit(&bundle.join("manifest.json"), |manifest| {
        let operators = manifest["graph"]["operators"].as_array_mut().unwrap();
        operators.push("nerve.FusedAttention".into());
    });
    match error(&bundle) {
        ModelError::Operator { operator, .. } => assert_eq!(operator, "nerve.FusedAttention"),
        other => panic!("{other}"),
    }
}
