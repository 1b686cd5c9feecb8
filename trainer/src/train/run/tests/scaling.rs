//! Runs with a scale of the loss, and with gradient checkpointing.

use super::resuming::{Stop, outcome};
use super::*;
use serde_json::{Value, json};

/// Gives the run in a directory a scale at which every gradient is infinite in f32 too.
fn overflow(run: &Path) {
    let path = run.join("last/training/state.json");
    let mut state: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    assert!(state.get("loss_scale").is_none());
    state["loss_scale"] = json!({"scale": 2f64.powi(130), "finite_steps": 7, "skipped_steps": 0});
    std::fs::write(path, serde_json::to_vec(&state).unwrap()).unwrap();
}

#[test]
fn a_step_with_an_infinite_gradient_is_skipped_and_the_run_is_resumed_with_its_scale() {
    let dir = tempfile::tempdir().unwrap();
    write_corpus(dir.path());
    let config = |out: &str| {
        let options = TrainOptions {
            epochs: Some(2),
            ..options(dir.path(), out)
        };
        TrainConfig::new(options).unwrap()
    };
    let (whole, parted) = (config("whole"), config("parted"));
    for config in [&whole, &parted] {
        train(config, Beginning::New, &mut [&mut Stop::after(2)]).unwrap();
        overflow(&config.out);
    }
    let weights = |run: &Path| std::fs::read(run.join("last/model.safetensors")).unwrap();
    let before = weights(&parted.out);
    let report = train(&parted, Beginning::Resumed, &mut [&mut Stop::after(4)]).unwrap();
    assert_eq!(weights(&parted.out), before);
    for (at, step) in report.steps[2..4].iter().enumerate() {
        assert!(step.skipped && step.gradient_norm == 0.0 && step.loss.is_finite());
        let scale = 2f64.powi(129 - at as i32);
        let notice = Notice::SkippedStep { step: at + 3, scale };
        assert!(report.notices.contains(&notice), "{notice}");
    }
    let state = std::fs::read(parted.out.join("last/training/state.json")).unwrap();
    let state: Value = serde_json::from_slice(&state).unwrap();
    let expected = json!({"scale": 2f64.powi(128), "finite_steps": 0, "skipped_steps": 2});
    assert_eq!(state["loss_scale"], expected);
    let parted_report = train(&parted, Beginning::Resumed, &mut []).unwrap();
    let whole_report = train(&whole, Beginning::Resumed, &mut []).unwrap();
    assert!(whole_report.steps.iter().any(|step| step.skipped));
    assert!(!whole_report.steps.last().unwrap().skipped);
    assert_eq!(parted_report.steps, whole_report.steps);
    assert_eq!(outcome(&parted.out), outcome(&whole.out));
}

#[test]
fn gradient_checkpointing_changes_nothing_but_memory_and_may_change_in_a_resumed_run() {
    let dir = tempfile::tempdir().unwrap();
    write_corpus(dir.path());
    let config = |out: &str, gradient_checkpointing| {
        let options = TrainOptions {
            epochs: Some(2),
            gradient_checkpointing,
            ..options(dir.path(), out)
        };
        TrainConfig::new(options).unwrap()
    };
    train(&config("without", None), Beginning::New, &mut []).unwrap();
    let expected = outcome(&dir.path().join("without"));
    let with = config("with", Some(true));
    train(&with, Beginning::New, &mut [&mut Stop::after(3)]).unwrap();
    train(
        &config("with", Some(false)),
        Beginning::Resumed,
        &mut [&mut Stop::after(5)],
    )
    .unwrap();
    train(&with, Beginning::Resumed, &mut []).unwrap();
    assert_eq!(outcome(&with.out), expected);
}
