//! Many runs by one command: sweeps, cross-validation, and their comparison.

use std::path::Path;
use std::process::Command;

use serde_json::Value;

use crate::fixture::{binary, fail, interrupted, succeed, tiny_corpus, train};

fn write_sweep(dir: &Path, grid: &str) {
    let corpus = dir.display();
    let text = format!(
        "seeds = [1, 2]\n[options]\ndata = \"{corpus}\"\nvocab = \"{corpus}\"\ninit = \"scratch\"\nhidden_size = 32\n\
         epochs = 3\nbatch_size = 8\nmax_length = 48\nthreads = 2\n[grid]\n{grid}\n"
    );
    std::fs::write(dir.join("sweep.toml"), text).unwrap();
}

fn sweep(dir: &Path, out: &Path) -> Command {
    let mut command = binary("nerve-trainer");
    command.arg("sweep").arg("--config").arg(dir.join("sweep.toml"));
    command.arg("--out").arg(out);
    command
}

#[test]
fn a_sweep_is_interrupted_continued_and_its_combinations_compared() {
    let dir = tempfile::tempdir().unwrap();
    tiny_corpus(dir.path());
    write_sweep(dir.path(), "lerning_rate = [1e-3]");
    let error = fail(&mut sweep(dir.path(), &dir.path().join("out")));
    assert!(
        error.contains("`lerning_rate`") && !dir.path().join("out").exists(),
        "{error}"
    );
    write_sweep(dir.path(), "learning_rate = [1e-3, 5e-3]");
    let (whole, stopped) = (dir.path().join("whole"), dir.path().join("stopped"));
    let printed = succeed(&mut sweep(dir.path(), &whole));
    let best = printed.lines().last().unwrap();
    assert!(
        best.starts_with("nerve-trainer train ") && best.contains("--seeds=1,2"),
        "{printed}"
    );
    let first = stopped.join("learning_rate=0.001/seed-1/steps.jsonl");
    interrupted(&mut sweep(dir.path(), &stopped), &first);
    succeed(&mut sweep(dir.path(), &stopped));
    for run in ["learning_rate=0.001/seed-1", "learning_rate=0.005/seed-2"] {
        for file in ["steps.jsonl", "records.jsonl", "best/model.safetensors"] {
            let read = |out: &Path| std::fs::read(out.join(run).join(file)).unwrap();
            assert!(read(&whole) == read(&stopped), "{run}/{file}");
        }
    }
    let page = dir.path().join("compared.html");
    let combination = |rate: &str| whole.join(format!("learning_rate={rate}"));
    let mut compare = binary("nerve-trainer");
    compare
        .arg("compare")
        .arg(combination("0.001"))
        .arg(combination("0.005"));
    compare.args(["--threads", "2", "--resamples", "1000"]);
    let table = succeed(compare.arg("--out").arg(&page));
    assert!(
        table.contains("95% interval") && table.contains("p = "),
        "{table}"
    );
    assert!(
        std::fs::read_to_string(&page)
            .unwrap()
            .contains("Settings that differ")
    );
    let found: Value = serde_json::from_str(&succeed(compare.arg("--json"))).unwrap();
    assert_eq!(found["runs"][1]["models"], 2);
    assert_eq!(found["settings"][0]["option"], "learning_rate");
    let figures: Value = serde_json::from_slice(&std::fs::read(whole.join("sweep.json")).unwrap()).unwrap();
    let outcomes = figures["outcomes"].as_array().unwrap();
    let outcome = outcomes
        .iter()
        .find(|of| of["name"] == "learning_rate=0.005")
        .unwrap();
    let same = |one: &Value, other: &Value| (one.as_f64().unwrap() - other.as_f64().unwrap()).abs() < 1e-9;
    assert!(same(
        &found["runs"][1]["entity"]["f1"],
        &outcome["dev_f1"]["mean"]
    ));
}

#[test]
fn a_cross_validation_prints_its_folds_and_is_not_published() {
    let dir = tempfile::tempdir().unwrap();
    tiny_corpus(dir.path());
    let out = dir.path().join("run");
    let of = |extra: &[&str]| {
        let mut command = train(dir.path(), &out);
        command.args(["--folds", "3", "--epochs", "2"]).args(extra);
        command
    };
    let table = succeed(&mut of(&[]));
    let names: Vec<&str> = table
        .lines()
        .filter_map(|line| line.split_whitespace().next())
        .collect();
    assert_eq!(names, ["fold", "1", "2", "3", "mean", "deviation"]);
    assert!(out.join("folds.json").is_file() && out.join("fold-3/best/model.safetensors").is_file());
    // Finished folds are not trained again.
    assert_eq!(succeed(&mut of(&["--resume"])), table);
    let mut resumed = binary("nerve-trainer");
    resumed.args(["train", "--resume", "--publish", "store", "--out"]);
    let error = fail(resumed.arg(out.join("fold-1")));
    assert!(error.contains("train without --folds"), "{error}");
}
