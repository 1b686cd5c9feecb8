//! Stores and plain exports open as bundles do.

use std::fs;

use serde_json::json;

use crate::fixture::{binary, fail, succeed, tiny};
use crate::server::Server;

fn publish(bundle: &std::path::Path, store: &std::path::Path) -> String {
    succeed(
        binary("nerve-export")
            .arg("publish")
            .arg(bundle)
            .arg("--store")
            .arg(store),
    )
}

#[test]
fn publishing_makes_a_version_current() {
    let dir = tempfile::tempdir().unwrap();
    let store = dir.path().join("store");
    let first = publish(&tiny().bundle("fp32"), &store);
    let second = publish(&tiny().bundle("int8"), &store);
    assert_ne!(first, second);
    let current = fs::canonicalize(store.join("current")).unwrap();
    assert_eq!(current, fs::canonicalize(second.trim()).unwrap());
    publish(&tiny().bundle("fp32"), &store);
    assert_eq!(
        fs::canonicalize(store.join("current")).unwrap(),
        fs::canonicalize(first.trim()).unwrap()
    );
    assert_eq!(fs::read_dir(store.join("versions")).unwrap().count(), 2);
    let server = Server::start(&store, &[]);
    assert_eq!(server.get("/info").body["model"]["precision"], "fp32");
}

#[test]
fn a_plain_export_is_read_by_its_own_pre_tokens() {
    let dir = tempfile::tempdir().unwrap();
    let bundle = tiny().bundle("fp32");
    fs::create_dir(dir.path().join("onnx")).unwrap();
    fs::copy(bundle.join("model.onnx"), dir.path().join("onnx/model.onnx")).unwrap();
    for name in ["config.json", "tokenizer.json"] {
        fs::copy(bundle.join(name), dir.path().join(name)).unwrap();
    }
    let server = Server::start(dir.path(), &[]);
    assert_eq!(server.get("/info").body["model"]["splitter"], "bert");
    let answer = server
        .post("/ner", &json!({"text": "In Rome, I met Bob today!"}))
        .body;
    let found: Vec<_> = answer["entities"]
        .as_array()
        .unwrap()
        .iter()
        .map(|e| e["text"].clone())
        .collect();
    assert_eq!(found, ["Rome", "Bob"], "{answer}");
}

#[test]
fn a_target_that_exists_is_left_alone() {
    let tiny = tiny();
    let message = fail(
        binary("nerve-export")
            .args(["--precision", "fp32", "--max-length", "48"])
            .arg("--checkpoint")
            .arg(tiny.checkpoint())
            .arg("--out")
            .arg(tiny.bundle("int8")),
    );
    assert!(message.contains("exists already"), "{message}");
}
