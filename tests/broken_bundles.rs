//! Broken bundles are refused, each defect with its own error.

use std::fs;
use std::path::{Path, PathBuf};

use nerve_inference::{GraphError, Model, ModelError};
use nerve_repository::{ConfigError, LocateError, Manifest, ManifestError};
use serde_json::Value;
use sha2::{Digest, Sha256};
use tempfile::TempDir;

use crate::fixture::{binary, copy_files, fail, succeed, tiny};

/// A copy of the fp32 bundle that a test can damage.
fn copy() -> (TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let bundle = dir.path().join("bundle");
    copy_files(&tiny().bundle("fp32"), &bundle);
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

/// Edits the manifest and updates its version.
fn edit_manifest(bundle: &Path, change: impl FnOnce(&mut Value)) {
    edit(&bundle.join("manifest.json"), |manifest| {
        change(manifest);
        let read: Manifest = serde_json::from_value(manifest.clone()).unwrap();
        manifest["version"] = read.content_version().unwrap().into();
    });
}

/// Updates the sizes, hashes and version in the manifest to the current files.
fn seal(bundle: &Path) {
    edit_manifest(bundle, |manifest| {
        for name in [
            "config.json",
            "model.onnx",
            "tokenizer.json",
            "tokenizer_config.json",
        ] {
            let bytes = fs::read(bundle.join(name)).unwrap();
            manifest["files"][name] = serde_json::json!({"size": bytes.len(), "sha256": sha256(&bytes)});
        }
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
    for format in [0, 3] {
        edit(&path, |manifest| manifest["format_version"] = format.into());
        assert!(matches!(
            manifest_error(&bundle),
            ManifestError::Format { found, .. } if found == format
        ));
    }
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
fn a_manifest_whose_settings_were_changed() {
    let (_dir, bundle) = copy();
    let path = bundle.join("manifest.json");
    let whole = fs::read(&path).unwrap();
    let changes: [(&str, Value); 4] = [
        ("max_length", 32.into()),
        ("splitter", "whitespace".into()),
        ("name", "another".into()),
        ("precision", "fp16".into()),
    ];
    for (field, value) in changes {
        edit(&path, |manifest| manifest[field] = value);
        let error = manifest_error(&bundle);
        assert!(matches!(error, ManifestError::Version { .. }), "{field}: {error}");
        fs::write(&path, &whole).unwrap();
    }
}

#[test]
fn a_bundle_of_the_first_format_opens() {
    let (_dir, bundle) = copy();
    edit_manifest(&bundle, |manifest| manifest["format_version"] = 1.into());
    let manifest = Manifest::read(&bundle).unwrap();
    let of_second = Manifest::read(&tiny().bundle("fp32")).unwrap();
    assert_ne!(manifest.version, of_second.version);
    assert_eq!(Model::open(&bundle).unwrap().info().version, manifest.version);
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
    edit_manifest(&bundle, |manifest| {
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

/// The error of `nerve-export verify` for a bundle that must fail.
fn verification_failure(bundle: &Path, checkpoint: Option<&Path>) -> String {
    let mut verify = binary("nerve-export");
    verify.arg("verify").arg(bundle);
    if let Some(checkpoint) = checkpoint {
        verify.arg("--checkpoint").arg(checkpoint);
    }
    verify.arg("--calibration").arg(tiny().corpus());
    fail(&mut verify)
}

/// The bytes of the classifier biases in a `model.safetensors`.
fn head_bias(weights: &[u8]) -> std::ops::Range<usize> {
    let header = u64::from_le_bytes(weights[..8].try_into().unwrap()) as usize + 8;
    let fields: Value = serde_json::from_slice(&weights[8..header]).unwrap();
    let end = |at: usize| header + fields["classifier.bias"]["data_offsets"][at].as_u64().unwrap() as usize;
    end(0)..end(1)
}

#[test]
fn a_bundle_of_another_checkpoint_fails_verification_in_every_precision() {
    let dir = tempfile::tempdir().unwrap();
    let other = dir.path().join("checkpoint");
    copy_files(&tiny().checkpoint(), &other);
    // A different bias of `O` changes labels, but no shape.
    let path = other.join("model.safetensors");
    let mut weights = fs::read(&path).unwrap();
    let bias = head_bias(&weights);
    weights[bias][..4].copy_from_slice(&100.0f32.to_le_bytes());
    fs::write(&path, weights).unwrap();
    for precision in ["fp32", "fp16"] {
        let message = verification_failure(&tiny().bundle(precision), Some(&other));
        assert!(
            message.contains("logits differ from the checkpoint's"),
            "{message}"
        );
    }
    let message = verification_failure(&tiny().bundle("int8"), Some(&other));
    assert!(message.contains("at least 0.99 is required"), "{message}");
    let mut lenient = binary("nerve-export");
    lenient
        .args(["verify", "--min-agreement", "0"])
        .arg(tiny().bundle("int8"));
    succeed(
        lenient
            .arg("--checkpoint")
            .arg(&other)
            .arg("--calibration")
            .arg(tiny().corpus()),
    );
    let mut wrong = binary("nerve-export");
    wrong
        .args(["verify", "--min-agreement", "99"])
        .arg(tiny().bundle("int8"));
    let refused = wrong.arg("--checkpoint").arg(&other).output().unwrap();
    assert!(String::from_utf8_lossy(&refused.stderr).contains("not a number from 0 to 1"));
}

#[test]
fn logits_that_are_not_finite_fail_verification_in_every_precision() {
    let weights = fs::read(tiny().checkpoint().join("model.safetensors")).unwrap();
    let bias = &weights[head_bias(&weights)];
    for precision in ["fp32", "fp16", "int8"] {
        let dir = tempfile::tempdir().unwrap();
        let bundle = dir.path().join("bundle");
        copy_files(&tiny().bundle(precision), &bundle);
        let path = bundle.join("model.onnx");
        let mut graph = fs::read(&path).unwrap();
        let at = graph.windows(bias.len()).position(|bytes| bytes == bias).unwrap();
        graph[at..at + 4].copy_from_slice(&f32::NAN.to_le_bytes());
        fs::write(&path, graph).unwrap();
        seal(&bundle);
        for checkpoint in [None, Some(tiny().checkpoint())] {
            let message = verification_failure(&bundle, checkpoint.as_deref());
            assert!(
                message.contains("logits that are not finite"),
                "{precision}: {message}"
            );
        }
    }
}

#[test]
fn texts_without_a_token_verify_nothing() {
    let dir = tempfile::tempdir().unwrap();
    // A zero-width joiner alone has no token.
    let texts = dir.path().join("joiner.txt");
    fs::write(&texts, "\u{200d}\n").unwrap();
    let mut verify = binary("nerve-export");
    verify
        .arg("verify")
        .arg(tiny().bundle("int8"))
        .arg("--calibration")
        .arg(&texts);
    assert!(fail(&mut verify).contains("nothing can be verified"));
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
    edit_manifest(&bundle, |manifest| {
        let operators = manifest["graph"]["operators"].as_array_mut().unwrap();
        operators.push("nerve.FusedAttention".into());
    });
    match error(&bundle) {
        ModelError::Operator { operator, .. } => assert_eq!(operator, "nerve.FusedAttention"),
        other => panic!("{other}"),
    }
}
