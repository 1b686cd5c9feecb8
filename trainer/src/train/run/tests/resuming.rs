//! What is left of a training that was stopped, and how it goes on.

use super::*;
use crate::model::checkpoint::ModelDir;
use crate::model::checkpoint::outside_bias::OutsideBias;
use crate::ops::precision::Precision;
use crate::train::resume::{resumed_config, resumed_seed_configs};

pub(super) struct Stop {
    after: Option<usize>,
    dies_at: Option<usize>,
    steps: usize,
}

impl Stop {
    pub(super) fn after(step: usize) -> Self {
        Self {
            after: Some(step),
            dies_at: None,
            steps: 0,
        }
    }

    pub(super) fn dies_at(step: usize) -> Self {
        Self {
            after: None,
            dies_at: Some(step),
            steps: 0,
        }
    }
}

impl TrainingHook for Stop {
    fn on_start(&mut self, plan: &Plan, _evaluations: &[EvaluationRecord]) -> Result<(), TrainError> {
        self.steps = plan.done;
        Ok(())
    }

    fn on_step(&mut self, _step: &StepEvent<'_>) -> Result<(), TrainError> {
        self.steps += 1;
        assert_ne!(Some(self.steps), self.dies_at, "killed");
        Ok(())
    }

    fn stop(&self) -> Option<End> {
        (self.after == Some(self.steps)).then_some(End::Interrupted)
    }
}

/// What must be the same however often a training was stopped.
pub(super) fn outcome(dir: &Path) -> Vec<Vec<u8>> {
    let files = [
        "steps.jsonl",
        "records.jsonl",
        "last/model.safetensors",
        "best/model.safetensors",
    ];
    files.map(|file| std::fs::read(dir.join(file)).unwrap()).to_vec()
}

fn two_epochs(dir: &Path, out: &str) -> TrainConfig {
    let options = TrainOptions {
        epochs: Some(2),
        accumulate: Some(2),
        evaluate_every: Some(2),
        label_subwords: Some(LabeledSubwords::All),
        ..options(dir, out)
    };
    TrainConfig::new(options).unwrap()
}

#[test]
fn a_training_that_is_stopped_anywhere_and_resumed_is_the_same_to_the_last_bit() {
    let dir = tempfile::tempdir().unwrap();
    write_corpus(dir.path());
    let whole = train(&two_epochs(dir.path(), "whole"), Beginning::New, &mut []).unwrap();
    assert_eq!(whole.steps.len(), 6);
    let expected = outcome(&dir.path().join("whole"));
    for step in 1..=6 {
        let out = format!("interrupted-{step}");
        let config = two_epochs(dir.path(), &out);
        let stopped = train(&config, Beginning::New, &mut [&mut Stop::after(step)]).unwrap();
        assert_eq!((stopped.end, stopped.steps.len()), (End::Interrupted, step));
        // A process that is killed while it removes an earlier checkpoint leaves a part of it.
        let earlier = config.out.join("checkpoints/step-000000");
        std::fs::create_dir(&earlier).unwrap();
        let resumed = train(&config, Beginning::Resumed, &mut []).unwrap();
        assert!(!earlier.exists());
        assert_eq!((resumed.end, &resumed.records), (End::Finished, &whole.records));
        assert_eq!(
            outcome(&dir.path().join(&out)),
            expected,
            "interrupted after {step}"
        );
    }
}

#[test]
fn a_resumed_training_continues_from_the_trained_bias() {
    let dir = tempfile::tempdir().unwrap();
    write_corpus(dir.path());
    train(&two_epochs(dir.path(), "whole"), Beginning::New, &mut []).unwrap();
    let config = two_epochs(dir.path(), "changed");
    train(&config, Beginning::New, &mut [&mut Stop::after(3)]).unwrap();
    let last = config.out.join("last");
    let labels = ModelDir::open(&last).unwrap().labels().unwrap();
    let bias = OutsideBias::read(&last, labels.outside()).unwrap();
    bias.write(-1.0).unwrap();
    train(&config, Beginning::Resumed, &mut []).unwrap();
    let [whole, changed] = ["whole", "changed"].map(|out| outcome(&dir.path().join(out)));
    assert_eq!(changed[..3], whole[..3]);
}

#[test]
fn a_training_in_bf16_is_the_same_after_it_is_resumed_and_is_not_resumed_in_f32() {
    let dir = tempfile::tempdir().unwrap();
    write_corpus(dir.path());
    let config = |out: &str, precision| {
        let options = TrainOptions {
            precision: Some(precision),
            ..two_epochs(dir.path(), out).options().clone()
        };
        TrainConfig::new(options).unwrap()
    };
    let whole = train(&config("whole", Precision::Bf16), Beginning::New, &mut []);
    let whole = match whole {
        Err(TrainError::Precision(missing)) => return eprintln!("skipped: {missing}"),
        whole => whole.unwrap(),
    };
    let again = train(&config("again", Precision::Bf16), Beginning::New, &mut []);
    assert_eq!(again.unwrap().records, whole.records);
    let expected = outcome(&dir.path().join("whole"));
    assert_eq!(outcome(&dir.path().join("again")), expected);
    let stopped = config("stopped", Precision::Bf16);
    train(&stopped, Beginning::New, &mut [&mut Stop::after(3)]).unwrap();
    let other = train(&config("stopped", Precision::F32), Beginning::Resumed, &mut []);
    let error = other.unwrap_err().to_string();
    assert!(error.contains("`precision` \"bf16\", not \"f32\""), "{error}");
    train(&stopped, Beginning::Resumed, &mut []).unwrap();
    assert_eq!(outcome(&stopped.out), expected);
    train(&config("f32", Precision::F32), Beginning::New, &mut []).unwrap();
    assert_ne!(outcome(&dir.path().join("f32")), expected);
}

#[test]
fn a_training_that_dies_between_two_checkpoints_is_the_same_after_it_is_resumed() {
    let dir = tempfile::tempdir().unwrap();
    write_corpus(dir.path());
    train(&two_epochs(dir.path(), "whole"), Beginning::New, &mut []).unwrap();
    let expected = outcome(&dir.path().join("whole"));
    for step in 1..=6 {
        let out = format!("killed-{step}");
        let config = two_epochs(dir.path(), &out);
        let died = std::panic::catch_unwind(|| {
            let _ = train(&config, Beginning::New, &mut [&mut Stop::dies_at(step)]);
        });
        assert!(died.is_err());
        // What a process that is killed while it writes may leave.
        let steps = dir.path().join(&out).join("steps.jsonl");
        let mut file = std::fs::File::options().append(true).open(&steps).unwrap();
        std::io::Write::write_all(&mut file, b"{\"step\":").unwrap();
        train(&config, Beginning::Resumed, &mut []).unwrap();
        assert_eq!(outcome(&dir.path().join(&out)), expected, "killed at {step}");
    }
}

#[test]
fn a_run_is_neither_overwritten_nor_resumed_as_another() {
    let dir = tempfile::tempdir().unwrap();
    write_corpus(dir.path());
    let config = two_epochs(dir.path(), "run");
    let none = train(&config, Beginning::Resumed, &mut []);
    assert!(matches!(none, Err(TrainError::NoRun { .. })));
    train(&config, Beginning::New, &mut [&mut Stop::after(1)]).unwrap();
    let again = train(&config, Beginning::New, &mut []);
    assert!(matches!(again, Err(TrainError::HoldsRun { .. })));
    let other = TrainOptions {
        seed: Some(9),
        ..config.options().clone()
    };
    let other = TrainConfig::new(other).unwrap();
    let error = train(&other, Beginning::Resumed, &mut []).unwrap_err();
    assert!(error.to_string().contains("`seed` 42, not 9"), "{error}");
    let corpus = std::fs::read_to_string(dir.path().join("train.conll")).unwrap();
    std::fs::write(dir.path().join("train.conll"), corpus.replacen("sees", "and", 1)).unwrap();
    let error = train(&config, Beginning::Resumed, &mut []).unwrap_err();
    assert!(matches!(error, TrainError::OtherExamples { .. }), "{error}");
}

#[test]
fn every_option_that_must_not_change_is_named_with_both_values() {
    let dir = tempfile::tempdir().unwrap();
    write_corpus(dir.path());
    let config = two_epochs(dir.path(), "run");
    train(&config, Beginning::New, &mut [&mut Stop::after(1)]).unwrap();
    let given = TrainOptions {
        out: Some(config.out.clone()),
        seed: Some(9),
        // Label smoothing, which is on record, has no effect with it.
        loss: Some(crate::train::LossKind::L1),
        ..TrainOptions::default()
    };
    let text = resumed_config(given).unwrap_err().to_string();
    let lines: Vec<&str> = text.lines().skip(1).collect();
    assert_eq!(
        lines,
        ["  `loss` \"cross-entropy\", not \"l1\"", "  `seed` 42, not 9"]
    );
}

#[test]
fn a_path_may_be_spelled_in_another_way() {
    let dir = tempfile::tempdir().unwrap();
    write_corpus(dir.path());
    let config = two_epochs(dir.path(), "run");
    train(&config, Beginning::New, &mut [&mut Stop::after(1)]).unwrap();
    let other = |name: &str| TrainOptions {
        data: Some(dir.path().join(name).to_string_lossy().into_owned()),
        vocab: Some(dir.path().join(name)),
        ..config.options().clone()
    };
    let respelled = TrainConfig::new(other("run/..")).unwrap();
    train(&respelled, Beginning::Resumed, &mut [&mut Stop::after(2)]).unwrap();
    std::fs::create_dir(dir.path().join("copy")).unwrap();
    write_corpus(&dir.path().join("copy"));
    let copied = TrainConfig::new(other("copy")).unwrap();
    let error = train(&copied, Beginning::Resumed, &mut []).unwrap_err();
    assert!(
        matches!(&error, TrainError::OtherOptions { differences, .. } if differences.len() == 2),
        "{error}"
    );
}

#[test]
fn a_run_is_not_resumed_for_fewer_epochs_than_it_has_begun() {
    let dir = tempfile::tempdir().unwrap();
    write_corpus(dir.path());
    let config = two_epochs(dir.path(), "run");
    let for_one = TrainConfig::new(TrainOptions {
        epochs: Some(1),
        ..config.options().clone()
    })
    .unwrap();
    // An epoch has three steps.
    train(&config, Beginning::New, &mut [&mut Stop::after(4)]).unwrap();
    let error = train(&for_one, Beginning::Resumed, &mut []).unwrap_err();
    assert!(
        matches!(
            error,
            TrainError::FewerEpochs {
                epochs: 1,
                begun: 2,
                ..
            }
        ),
        "{error}"
    );
    let kept = TrainOptions::read(&config.out.join("config.toml")).unwrap();
    assert_eq!(kept.epochs, Some(2));
}

#[test]
fn an_option_that_is_not_given_has_the_value_that_the_run_was_started_with() {
    let dir = tempfile::tempdir().unwrap();
    write_corpus(dir.path());
    let config = TrainConfig::new(TrainOptions {
        learning_rate: None,
        evaluate_test: Some(true),
        ..two_epochs(dir.path(), "run").options().clone()
    })
    .unwrap();
    let none = resumed_config(config.options().clone());
    assert!(matches!(none, Err(TrainError::NoRun { .. })));
    train(&config, Beginning::New, &mut [&mut Stop::after(1)]).unwrap();
    // The default of an earlier version was another one.
    let file = config.out.join("config.toml");
    let kept = std::fs::read_to_string(&file).unwrap();
    let old = kept.replace("learning_rate = 0.0002\n", "learning_rate = 0.00005\n");
    assert_ne!(old, kept);
    std::fs::write(&file, old).unwrap();
    let out_alone = TrainOptions {
        out: Some(config.out.clone()),
        ..TrainOptions::default()
    };
    for given in [config.options().clone(), out_alone.clone()] {
        let resumed = resumed_config(given).unwrap();
        assert_eq!(resumed.optimization.learning_rate, Some(5e-5));
        assert_eq!((resumed.epochs, resumed.evaluate_test), (2, true));
    }
    let untested = TrainOptions {
        evaluate_test: Some(false),
        ..out_alone
    };
    let resumed = resumed_config(untested).unwrap();
    let report = train(&resumed, Beginning::Resumed, &mut []).unwrap();
    assert_eq!((report.end, report.steps.len()), (End::Finished, 6));
}

#[test]
fn seeds_are_resumed_with_the_options_that_the_first_was_started_with() {
    let dir = tempfile::tempdir().unwrap();
    write_corpus(dir.path());
    let config = two_epochs(dir.path(), "run/seed-42");
    train(&config, Beginning::New, &mut [&mut Stop::after(1)]).unwrap();
    let given = TrainOptions {
        out: Some(dir.path().join("run")),
        seeds: Some(vec![7, 42]),
        ..TrainOptions::default()
    };
    let configs = resumed_seed_configs(&given).unwrap();
    let expected = TrainOptions {
        seed: Some(7),
        out: Some(dir.path().join("run/seed-7")),
        ..config.options().clone()
    };
    assert_eq!(configs, [TrainConfig::new(expected).unwrap(), config]);
}

#[test]
fn a_run_goes_on_with_other_threads_more_epochs_and_without_reports() {
    let dir = tempfile::tempdir().unwrap();
    write_corpus(dir.path());
    let config = two_epochs(dir.path(), "run");
    train(&config, Beginning::New, &mut [&mut Stop::after(1)]).unwrap();
    let other = TrainConfig::new(TrainOptions {
        threads: Some(1),
        epochs: Some(3),
        reports: Some(false),
        patience: Some(9),
        evaluate_test: Some(true),
        ..config.options().clone()
    })
    .unwrap();
    let report = train(&other, Beginning::Resumed, &mut []).unwrap();
    assert_eq!((report.end, report.steps.len()), (End::Finished, 9));
    assert!(report.test.is_some() && !dir.path().join("run/report.html").exists());
    let kept = TrainOptions::read(&dir.path().join("run/config.toml")).unwrap();
    assert_eq!((kept.epochs, kept.threads), (Some(3), Some(1)));
}

#[test]
fn patience_ends_a_training_and_resuming_it_changes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    write_corpus(dir.path());
    let config = TrainConfig::new(TrainOptions {
        patience: Some(2),
        learning_rate: Some(1e-12),
        ..options(dir.path(), "run")
    })
    .unwrap();
    for beginning in [Beginning::New, Beginning::Resumed] {
        let report = train(&config, beginning, &mut []).unwrap();
        assert_eq!((report.end, report.records.len()), (End::OutOfPatience, 3));
        assert!(report.records[0].best && !report.records[2].best);
        let told = report.notices.contains(&Notice::OutOfPatience {
            patience: 2,
            measure: "dev entity F1".to_owned(),
        });
        assert_eq!(told, beginning == Beginning::Resumed);
    }
}

#[test]
fn a_record_of_before_the_loss_on_dev_still_reads() {
    let line = r#"{"epoch":1,"step":3,"loss":0.5,"learning_rate":0.1,"dev_entity":{"precision":0.0,"recall":0.0,"f1":0.0},
        "dev_surface_f1":0.0,"dev_token_accuracy":0.9,"best":true}"#;
    let record: EvaluationRecord = serde_json::from_str(line).unwrap();
    assert_eq!(
        (record.dev_loss, record.dev_types.len(), record.averaged),
        (None, 0, false)
    );
}

#[test]
fn a_run_of_a_version_with_fewer_options_and_figures_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    write_corpus(dir.path());
    train(&two_epochs(dir.path(), "whole"), Beginning::New, &mut []).unwrap();
    let config = two_epochs(dir.path(), "run");
    train(&config, Beginning::New, &mut [&mut Stop::after(2)]).unwrap();
    let run_dir = dir.path().join("run");
    let kept = std::fs::read_to_string(run_dir.join("config.toml")).unwrap();
    let is_old = |line: &&str| !line.starts_with("freeze_layers");
    let mut old: Vec<&str> = kept.lines().filter(is_old).collect();
    assert_eq!(old.len() + 1, kept.lines().count());
    old.push("train_on_padding = false");
    std::fs::write(run_dir.join("config.toml"), old.join("\n")).unwrap();
    let path = run_dir.join("last/training/state.json");
    let mut state: serde_json::Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    let fields = state.as_object_mut().unwrap();
    fields.insert(
        "confusion".to_owned(),
        serde_json::json!({"labels": 3, "counts": []}),
    );
    std::fs::write(&path, serde_json::to_vec(&state).unwrap()).unwrap();
    train(&config, Beginning::Resumed, &mut []).unwrap();
    assert_eq!(outcome(&run_dir), outcome(&dir.path().join("whole")));
}

#[test]
fn a_run_whose_checkpoint_or_lines_are_lost_says_which() {
    let dir = tempfile::tempdir().unwrap();
    write_corpus(dir.path());
    let config = two_epochs(dir.path(), "run");
    train(&config, Beginning::New, &mut [&mut Stop::after(4)]).unwrap();
    let run_dir = dir.path().join("run");
    let resume = || train(&config, Beginning::Resumed, &mut []).unwrap_err();
    for file in ["records.jsonl", "steps.jsonl"] {
        let kept = std::fs::read(run_dir.join(file)).unwrap();
        // The last line without its end is no whole line.
        std::fs::write(run_dir.join(file), &kept[..kept.len() - 1]).unwrap();
        let error = resume();
        assert!(
            matches!(&error, TrainError::LostLines { path, .. } if path.ends_with(file)),
            "{error}"
        );
        std::fs::write(run_dir.join(file), &kept).unwrap();
    }
    let records = std::fs::read(run_dir.join("records.jsonl")).unwrap();
    std::fs::remove_dir_all(run_dir.join("checkpoints")).unwrap();
    let error = resume();
    assert!(
        matches!(&error, TrainError::LostCheckpoint { link, target }
            if link.ends_with("last") && target.ends_with("step-000004")),
        "{error}"
    );
    assert_eq!(std::fs::read(run_dir.join("records.jsonl")).unwrap(), records);
}

#[test]
fn patience_that_runs_out_with_the_last_step_has_ended_nothing() {
    let dir = tempfile::tempdir().unwrap();
    write_corpus(dir.path());
    let config = TrainConfig::new(TrainOptions {
        patience: Some(2),
        epochs: Some(3),
        learning_rate: Some(1e-12),
        ..options(dir.path(), "run")
    })
    .unwrap();
    for beginning in [Beginning::New, Beginning::Resumed] {
        assert_eq!(train(&config, beginning, &mut []).unwrap().end, End::Finished);
    }
    let page = std::fs::read_to_string(dir.path().join("run/report.html")).unwrap();
    assert!(!page.contains("ended early"));
}

#[test]
fn the_last_checkpoint_can_be_the_tested_one_and_what_is_done_is_not_done_again() {
    let dir = tempfile::tempdir().unwrap();
    write_corpus(dir.path());
    let config = TrainConfig::new(TrainOptions {
        evaluate_test: Some(true),
        test_checkpoint: Some(TestedCheckpoint::Last),
        epochs: Some(2),
        // The first evaluation is as good as the second: the best checkpoint is not the last.
        learning_rate: Some(1e-12),
        ..options(dir.path(), "run")
    })
    .unwrap();
    let first = train(&config, Beginning::New, &mut []).unwrap();
    let tested = first.test.unwrap();
    assert_eq!(
        (tested.checkpoint, tested.step),
        (TestedCheckpoint::Last, first.steps.len())
    );
    assert_ne!(
        first.records.iter().find(|record| record.best).unwrap().step,
        tested.step
    );
    let run_dir = dir.path().join("run");
    let events = || {
        let entries = std::fs::read_dir(run_dir.join("tensorboard")).unwrap();
        entries.map(|entry| entry.unwrap().path()).collect::<Vec<_>>()
    };
    let before = events();
    let page = run_dir.join("report.html");
    std::fs::write(&page, "kept").unwrap();
    let kept = std::fs::read_to_string(run_dir.join("test.json")).unwrap();
    let mut marked: crate::train::Tested = serde_json::from_str(&kept).unwrap();
    assert_eq!(marked, tested);
    marked.evaluation.score.token_accuracy = 0.125;
    std::fs::write(run_dir.join("test.json"), serde_json::to_vec(&marked).unwrap()).unwrap();
    let again = train(&config, Beginning::Resumed, &mut []).unwrap();
    assert_eq!(again.test.unwrap(), marked);
    assert_eq!(std::fs::read_to_string(&page).unwrap(), "kept");
    assert_eq!((before.len(), events()), (1, before));
    // What was not written, a process killed meanwhile, is written then.
    std::fs::remove_file(&page).unwrap();
    train(&config, Beginning::Resumed, &mut []).unwrap();
    assert!(page.is_file() && events().len() == 1);
}
