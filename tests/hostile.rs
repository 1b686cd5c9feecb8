//! The seeds of the fuzz targets, which include all earlier findings.

use crate::fixture::repository;

#[path = "../fuzz/src/files.rs"]
#[allow(unreachable_pub)]
mod files;

fn seeds(target: &str, run: fn(&[u8])) {
    let dir = repository().join("fuzz/seeds").join(target);
    let mut tried = 0;
    for entry in std::fs::read_dir(&dir).unwrap() {
        run(&std::fs::read(entry.unwrap().path()).unwrap());
        tried += 1;
    }
    assert!(tried > 0, "{}", dir.display());
}

#[test]
fn hostile_tokenizers_are_refused_or_read() {
    seeds("tokenizer", files::tokenizer);
}

#[test]
fn hostile_configurations_are_refused_or_read() {
    seeds("config", files::config);
}

#[test]
fn hostile_manifests_are_refused_or_read() {
    seeds("manifest", files::manifest);
}

#[test]
fn hostile_graphs_are_refused_or_read() {
    seeds("graph", files::graph);
}

#[test]
fn hostile_graphs_are_refused_or_run() {
    seeds("session", files::session);
}
