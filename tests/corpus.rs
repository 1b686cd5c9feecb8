//! The default model and the commands on the WNUT-17 corpus. Skipped unless `WNUT17_DIR` names its directory.

use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::fixture::{binary, repository, succeed};

/// The directory of the corpus. Prints a message and returns `None` if it is not set.
pub(crate) fn wnut17() -> Option<PathBuf> {
    let dir = std::env::var_os("WNUT17_DIR");
    if dir.is_none() {
        println!("skipped: WNUT17_DIR is not set");
    }
    // The variable is relative to the repository, and tests run in the directory of their package.
    dir.map(|dir| repository().join(dir))
}

fn default_model() -> PathBuf {
    repository().join("models/default")
}

/// The report of `nerve-trainer evaluate` for the default model on a file.
fn evaluation(data: &Path, raw: bool) -> Value {
    let json = tempfile::NamedTempFile::new().unwrap();
    let mut command = binary("nerve-trainer");
    command.arg("evaluate").arg("--bundle").arg(default_model());
    command.arg("--data").arg(data).arg("--json").arg(json.path());
    if raw {
        command.arg("--raw");
    }
    succeed(&mut command);
    serde_json::from_slice(&std::fs::read(json.path()).unwrap()).unwrap()
}

fn f1(evaluation: &Value) -> f64 {
    evaluation["entity"]["f1"].as_f64().unwrap()
}

#[test]
fn corpus_counts_are_the_published_ones() {
    let Some(dir) = wnut17() else { return };
    for (split, sentences, words, entities) in [
        ("train", 3394, 62_730, 1975),
        ("dev", 1009, 15_733, 836),
        ("test", 1287, 23_394, 1079),
    ] {
        let file = dir.join(format!("{split}.conll"));
        let mut command = binary("nerve-trainer");
        command
            .arg("score")
            .arg("--gold")
            .arg(&file)
            .arg("--pred")
            .arg(&file)
            .arg("--json");
        let score: Value = serde_json::from_str(&succeed(&mut command)).unwrap();
        assert_eq!(score["sentences"], sentences, "{split}");
        assert_eq!(score["words"], words, "{split}");
        assert_eq!(score["counts"]["gold"], entities, "{split}");
        assert_eq!(score["entity"]["f1"], 1.0);
    }
}

#[test]
fn corpus_score_of_the_default_model_is_what_its_manifest_says() {
    let Some(dir) = wnut17() else { return };
    let manifest: Value =
        serde_json::from_slice(&std::fs::read(default_model().join("manifest.json")).unwrap()).unwrap();
    assert_eq!(manifest["evaluation"]["split"], "dev");
    let stated = manifest["evaluation"]["f1"].as_f64().unwrap();
    let found = f1(&evaluation(&dir.join("dev.conll"), false));
    // Integer products are exact, but float operators round differently on processors with other vector units.
    assert!(
        (found - stated).abs() < 0.003,
        "measured {found}, manifest {stated}"
    );
}

#[test]
fn corpus_words_and_running_text_score_alike() {
    let Some(dir) = wnut17() else { return };
    let file = dir.join("test.conll");
    let (words, text) = (f1(&evaluation(&file, false)), f1(&evaluation(&file, true)));
    assert!((words - text).abs() <= 0.01, "words {words}, running text {text}");
}
