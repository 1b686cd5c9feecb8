mod events;
mod resuming;
mod settings;

use super::*;
use std::path::PathBuf;

use crate::testing::write_corpus;
use crate::train::{Init, LabelledSubwords, TrainOptions};

fn options(dir: &Path, out: &str) -> TrainOptions {
    TrainOptions {
        data: Some(dir.to_string_lossy().into_owned()),
        out: Some(dir.join(out)),
        init: Some(Init::Scratch),
        vocab: Some(dir.to_owned()),
        hidden_size: Some(32),
        epochs: Some(12),
        batch_size: Some(4),
        learning_rate: Some(5e-3),
        threads: Some(2),
        ..TrainOptions::default()
    }
}

fn run(options: TrainOptions) -> Result<TrainReport, TrainError> {
    train(&TrainConfig::new(options).unwrap(), Beginning::New, &mut [])
}

#[test]
fn a_fresh_model_learns_and_its_run_is_on_record() {
    let dir = tempfile::tempdir().unwrap();
    write_corpus(dir.path());
    let report = run(TrainOptions {
        evaluate_test: Some(true),
        ..options(dir.path(), "run")
    })
    .unwrap();
    assert_eq!(
        report.records.iter().map(|e| e.dev_entity.f1).fold(0.0, f64::max),
        1.0
    );
    // `Rome` is of a type never seen in training: one of two entities is missed, none is lost.
    let test = report.test.unwrap();
    let counts = test.evaluation.score.counts;
    assert_eq!((counts.gold, counts.correct), (2, 1));
    let best = report.records.iter().rev().find(|record| record.best).unwrap();
    assert_eq!((test.checkpoint, test.step), (TestedCheckpoint::Best, best.step));
    let run_dir = dir.path().join("run");
    let records = std::fs::read_to_string(run_dir.join("records.jsonl")).unwrap();
    assert_eq!(records.lines().count(), 12);
    let page = std::fs::read_to_string(run_dir.join("report.html")).unwrap();
    assert!(page.contains("tokens a second") && page.contains("Confusion (dev)"));
    assert_eq!(std::fs::read_dir(run_dir.join("tensorboard")).unwrap().count(), 1);
    for beside in ["README.md", "calibration.json"] {
        assert!(run_dir.join("best").join(beside).is_file(), "{beside}");
    }
    let again = TrainOptions::read(&run_dir.join("config.toml")).unwrap();
    assert_eq!(again.learning_rate, Some(5e-3));
    assert!(run_dir.join("last/model.safetensors").is_file() && run_dir.join("test.json").is_file());
    let mut best = CheckpointTagger::open(&report.best, 128, 1).unwrap();
    let dev = Corpus::read(&dir.path().join("dev.conll")).unwrap();
    assert_eq!(evaluate(&mut best, &dev.sentences).unwrap().score.entity.f1, 1.0);
}

#[test]
fn the_same_seed_and_threads_give_the_same_losses_to_the_last_bit() {
    let dir = tempfile::tempdir().unwrap();
    write_corpus(dir.path());
    let losses = |seed, out| {
        let seeded = TrainOptions {
            seed: Some(seed),
            epochs: Some(2),
            ..options(dir.path(), out)
        };
        let steps = run(seeded).unwrap().steps;
        let losses = steps.into_iter().map(|step| step.loss.to_bits());
        losses.collect::<Vec<u64>>()
    };
    let first = losses(7, "a");
    assert_eq!(first, losses(7, "b"));
    assert_ne!(first, losses(8, "c"));
}

#[test]
fn a_checkpoint_is_a_base_whose_head_is_kept() {
    let dir = tempfile::tempdir().unwrap();
    write_corpus(dir.path());
    let best = run(options(dir.path(), "first")).unwrap().best;
    let report = run(TrainOptions {
        base: Some(best.to_string_lossy().into_owned()),
        data: Some(dir.path().to_string_lossy().into_owned()),
        out: Some(dir.path().join("second")),
        epochs: Some(1),
        learning_rate: Some(1e-9),
        ..TrainOptions::default()
    })
    .unwrap();
    assert_eq!(report.records[0].dev_entity.f1, 1.0);
}

#[test]
fn a_loss_that_explodes_names_its_step() {
    let dir = tempfile::tempdir().unwrap();
    write_corpus(dir.path());
    let error = run(TrainOptions {
        learning_rate: Some(1e30),
        warmup: Some(0.0),
        ..options(dir.path(), "run")
    })
    .unwrap_err();
    assert!(matches!(error, TrainError::NotFinite { step: 2, .. }), "{error}");
}

#[test]
fn a_device_that_is_not_there_is_an_error() {
    let dir = tempfile::tempdir().unwrap();
    write_corpus(dir.path());
    let error = run(TrainOptions {
        device: Some("cuda:0".parse().unwrap()),
        ..options(dir.path(), "run")
    });
    let error = error.unwrap_err();
    assert!(matches!(error, TrainError::Device { .. }), "{error}");
    assert!(!dir.path().join("run").exists());
}

#[test]
fn what_cannot_be_trained_is_said_before_the_first_step() {
    let dir = tempfile::tempdir().unwrap();
    write_corpus(dir.path());
    std::fs::remove_file(dir.path().join("test.conll")).unwrap();
    let error = run(TrainOptions {
        evaluate_test: Some(true),
        ..options(dir.path(), "run")
    });
    assert!(matches!(error, Err(TrainError::NoTest { .. })));
    let missing = dir.path().join("absent").to_string_lossy().into_owned();
    let error = run(TrainOptions {
        data: Some(missing),
        ..options(dir.path(), "run")
    });
    assert!(error.unwrap_err().to_string().contains("no train split"));
}

#[test]
fn the_loss_on_dev_is_that_of_the_checkpoint() {
    let dir = tempfile::tempdir().unwrap();
    write_corpus(dir.path());
    let report = run(TrainOptions {
        loss: Some(crate::train::LossKind::L1),
        ..options(dir.path(), "run")
    })
    .unwrap();
    let calibration = std::fs::read(report.best.join("calibration.json")).unwrap();
    let calibration: serde_json::Value = serde_json::from_slice(&calibration).unwrap();
    let kept = calibration["before"]["nll"].as_f64().unwrap();
    let recorded = report.best_record().unwrap().dev_loss.unwrap();
    assert!((kept - recorded).abs() < 1e-6, "{kept} {recorded}");
    let page = std::fs::read_to_string(dir.path().join("run/report.html")).unwrap();
    assert!(page.contains("dev, negative log-likelihood"));
}

#[test]
fn the_first_best_checkpoint_is_kept_and_only_two_are() {
    let dir = tempfile::tempdir().unwrap();
    write_corpus(dir.path());
    let report = run(options(dir.path(), "run")).unwrap();
    let best = report.best_record().unwrap().step;
    let run_dir = dir.path().join("run");
    let target = std::fs::read_link(run_dir.join("best")).unwrap();
    assert_eq!(target, PathBuf::from(format!("checkpoints/step-{best:06}")));
    let kept = std::fs::read_dir(run_dir.join("checkpoints")).unwrap().count();
    assert_eq!(kept, if best == report.steps.len() { 1 } else { 2 });
    assert!(run_dir.join("last/training/optimiser.safetensors").is_file());
}
