mod augmenting;
mod averaging;
mod crf;
mod data;
mod distilling;
mod ends;
mod events;
mod resuming;
mod scaling;
mod selection;
mod settings;
mod several;

use super::*;

use std::path::{Path, PathBuf};

use candle_core::Device;

use crate::evaluate::checkpoint::CheckpointTagger;
use crate::evaluate::evaluate;
use crate::testing::{tiny_options as options, write_corpus};
use crate::train::hook::StepEvent;
use crate::train::notice::Notice;
use crate::train::options::TrainOptions;
use crate::train::record::{EvaluationRecord, StepRecord, TestedCheckpoint};
use crate::train::subwords::LabeledSubwords;

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
    assert!(run_dir.join("best/README.md").is_file());
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

/// Makes one tag of the dev split wrong, so that no model is right about all of it.
fn spoil_dev(dir: &Path) {
    let path = dir.join("dev.conll");
    let dev = std::fs::read_to_string(&path).unwrap();
    std::fs::write(path, dev.replacen("sees\tO", "sees\tB-per", 1)).unwrap();
}

#[test]
fn a_temperature_without_an_optimum_is_not_written_and_the_report_says_why() {
    let dir = tempfile::tempdir().unwrap();
    write_corpus(dir.path());
    let report = run(options(dir.path(), "run")).unwrap();
    assert_eq!(report.best_record().unwrap().dev_entity.f1, 1.0);
    assert!(!report.best.join("calibration.json").exists());
    let reason = report.notices.last().unwrap();
    assert!(
        matches!(reason, Notice::NoTemperature(_)) && reason.is_warning(),
        "{reason}"
    );
    let page = std::fs::read_to_string(dir.path().join("run/report.html")).unwrap();
    assert!(page.contains("no temperature is written"));
    let card = std::fs::read_to_string(report.best.join("README.md")).unwrap();
    assert!(!card.contains("calibrated"), "{card}");
    spoil_dev(dir.path());
    let report = run(options(dir.path(), "spoilt")).unwrap();
    assert!(report.best.join("calibration.json").is_file());
    assert!(
        !report
            .notices
            .iter()
            .any(|notice| matches!(notice, Notice::NoTemperature(_)))
    );
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
    let mut best = CheckpointTagger::open(&report.best, None, 1).unwrap();
    let dev = Corpus::read(&dir.path().join("dev.conll")).unwrap();
    let kept = crate::evaluate::calibrate(&mut best, &dev).unwrap().before.nll;
    let recorded = report.best_record().unwrap().dev_loss.unwrap();
    assert!((kept - recorded).abs() < 1e-6, "{kept} {recorded}");
    let page = std::fs::read_to_string(dir.path().join("run/report.html")).unwrap();
    assert!(page.contains("dev, negative log-likelihood"));
}

#[test]
fn the_best_checkpoint_is_kept_and_only_two_are() {
    let dir = tempfile::tempdir().unwrap();
    write_corpus(dir.path());
    let report = run(options(dir.path(), "run")).unwrap();
    // Of evaluations of the same score, the one with the lowest loss on dev.
    let highest = report
        .records
        .iter()
        .map(|record| record.dev_entity.f1)
        .fold(0.0, f64::max);
    let ties = report
        .records
        .iter()
        .filter(|record| record.dev_entity.f1 == highest);
    let lowest = ties
        .clone()
        .min_by(|a, b| a.dev_loss.unwrap().total_cmp(&b.dev_loss.unwrap()));
    assert!(ties.count() > 1);
    let best = report.best_record().unwrap().step;
    assert_eq!(best, lowest.unwrap().step);
    let run_dir = dir.path().join("run");
    let target = std::fs::read_link(run_dir.join("best")).unwrap();
    assert_eq!(target, PathBuf::from(format!("checkpoints/step-{best:06}")));
    let kept = std::fs::read_dir(run_dir.join("checkpoints")).unwrap().count();
    assert_eq!(kept, if best == report.steps.len() { 1 } else { 2 });
    assert!(run_dir.join("last/training/optimiser.safetensors").is_file());
}

#[test]
fn the_user_is_told_of_types_that_cannot_be_learnt() {
    let dir = tempfile::tempdir().unwrap();
    write_corpus(dir.path());
    let once = |out: &str| TrainOptions {
        epochs: Some(1),
        ..options(dir.path(), out)
    };
    let dev = dir.path().join("dev.conll");
    let text = std::fs::read_to_string(&dev).unwrap();
    std::fs::write(&dev, text + "Rome\tB-loc\n").unwrap();
    let report = run(once("untrained")).unwrap();
    let untrained = Notice::UntrainedTypes {
        path: dev.clone(),
        types: vec!["loc".to_owned()],
    };
    assert!(report.notices.contains(&untrained), "{:?}", report.notices);
    let page = std::fs::read_to_string(dir.path().join("untrained/report.html")).unwrap();
    assert!(page.contains("types that no training sentence has (loc)"));
    let without_entities = |file: &str| {
        let path = dir.path().join(file);
        let text = std::fs::read_to_string(&path).unwrap();
        let outside = text.replace("B-per", "O").replace("B-loc", "O");
        std::fs::write(&path, outside).unwrap();
        path
    };
    let path = without_entities("dev.conll");
    let report = run(once("dev-run")).unwrap();
    assert!(
        report.notices.contains(&Notice::NoEntities { path }),
        "{:?}",
        report.notices
    );
    without_entities("train.conll");
    let error = run(once("train-run")).unwrap_err().to_string();
    assert!(
        error.contains("train.conll is O: there is no entity to learn"),
        "{error}"
    );
    assert!(!dir.path().join("train-run").exists());
}

#[test]
fn a_head_for_other_types_is_reported_and_keeps_what_it_knew() {
    let dir = tempfile::tempdir().unwrap();
    write_corpus(dir.path());
    let best = run(options(dir.path(), "first")).unwrap().best;
    for split in ["train", "dev"] {
        let path = dir.path().join(format!("{split}.conll"));
        let text = std::fs::read_to_string(&path).unwrap();
        std::fs::write(&path, text + "dog\tB-animal\n\n").unwrap();
    }
    let report = run(TrainOptions {
        base: Some(best.to_string_lossy().into_owned()),
        data: Some(dir.path().to_string_lossy().into_owned()),
        out: Some(dir.path().join("second")),
        epochs: Some(1),
        learning_rate: Some(1e-9),
        ..TrainOptions::default()
    })
    .unwrap();
    let [notice, ..] = &report.notices[..] else {
        panic!("no notice");
    };
    let expected = Notice::NewHead {
        new: vec!["animal".to_owned()],
        kept: vec!["per".to_owned()],
        dropped: Vec::new(),
    };
    assert_eq!(*notice, expected);
    // The rows of `per` and `O` are those that were trained: its three entities are found before anything is learnt.
    assert!(
        report.records[0].dev_entity.recall >= 0.75,
        "{:?}",
        report.records[0]
    );
}

#[test]
fn a_run_is_written_by_one_training_at_a_time() {
    struct Intruder(TrainConfig, Vec<Result<(), TrainError>>);
    impl TrainingHook for Intruder {
        fn on_step(&mut self, _step: &StepEvent<'_>) -> Result<(), TrainError> {
            if self.1.is_empty() {
                for beginning in [Beginning::New, Beginning::Resumed] {
                    self.1.push(train(&self.0, beginning, &mut []).map(drop));
                }
            }
            Ok(())
        }
    }
    let dir = tempfile::tempdir().unwrap();
    write_corpus(dir.path());
    let config = TrainConfig::new(TrainOptions {
        epochs: Some(1),
        ..options(dir.path(), "run")
    })
    .unwrap();
    let mut intruder = Intruder(config.clone(), Vec::new());
    train(&config, Beginning::New, &mut [&mut intruder]).unwrap();
    assert_eq!(intruder.1.len(), 2);
    for refused in intruder.1 {
        let error = refused.unwrap_err();
        assert!(
            matches!(&error, TrainError::InUse { dir } if *dir == config.out),
            "{error}"
        );
        assert!(error.to_string().contains("--out"), "{error}");
    }
    // Its end releases the directory.
    assert_eq!(
        train(&config, Beginning::Resumed, &mut []).unwrap().end,
        End::Finished
    );
}

#[test]
fn the_learning_rate_follows_from_the_size_of_the_model_and_the_user_is_told() {
    let dir = tempfile::tempdir().unwrap();
    write_corpus(dir.path());
    let of_size = |hidden_size, out: &str| {
        let report = run(TrainOptions {
            hidden_size: Some(hidden_size),
            learning_rate: None,
            layers: Some(1),
            warmup: Some(0.0),
            epochs: Some(1),
            ..options(dir.path(), out)
        })
        .unwrap();
        let kept = TrainOptions::read(&dir.path().join(out).join("config.toml")).unwrap();
        assert_eq!(kept.learning_rate, Some(report.steps[0].learning_rate));
        (report.steps[0].learning_rate, report.notices[0].to_string())
    };
    let (small, large) = (of_size(32, "small"), of_size(768, "large"));
    assert_eq!((small.0, large.0), (2e-4, 5e-5));
    assert!(large.1.contains("5e-5") && large.1.contains("768"), "{}", large.1);
}

#[test]
fn a_checkpoint_that_is_not_on_the_disk_does_not_become_the_last() {
    let dir = tempfile::tempdir().unwrap();
    let run = RunDir::new(dir.path());
    for step in [1, 2] {
        std::fs::create_dir_all(run.checkpoint(step).join("training")).unwrap();
    }
    run.commit(1, None).unwrap();
    // A file that cannot be opened cannot be synced either.
    std::fs::create_dir_all(run.checkpoint(2).join("training")).unwrap();
    std::os::unix::fs::symlink("absent", run.checkpoint(2).join("training/state.json")).unwrap();
    assert!(matches!(run.commit(2, None), Err(TrainError::Write { .. })));
    assert_eq!(
        std::fs::read_link(run.last()).unwrap(),
        Path::new("checkpoints/step-000001")
    );
}
