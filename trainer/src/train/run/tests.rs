use super::*;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};

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
    train(&TrainConfig::new(options).unwrap(), Beginning::New, &mut ())
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
    assert_eq!(evaluate(&mut best, &dev).unwrap().score.entity.f1, 1.0);
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

/// Stops a training: after a step it asks it to, before one it fails as a killed process would.
struct Stop {
    after: Option<usize>,
    dies_at: Option<usize>,
    steps: AtomicUsize,
}

impl Stop {
    fn after(step: usize) -> Self {
        Self {
            after: Some(step),
            dies_at: None,
            steps: AtomicUsize::new(0),
        }
    }

    fn dies_at(step: usize) -> Self {
        Self {
            after: None,
            dies_at: Some(step),
            steps: AtomicUsize::new(0),
        }
    }
}

impl Progress for Stop {
    fn begin(&mut self, plan: &Plan) {
        self.steps = AtomicUsize::new(plan.done);
    }

    fn step(&mut self, _loss: f64, _tokens_per_second: f64) {
        let step = self.steps.fetch_add(1, Ordering::Relaxed) + 1;
        assert_ne!(Some(step), self.dies_at, "killed");
    }

    fn evaluation(&mut self, _record: &EvaluationRecord, _timing: &Timing) {}

    fn is_interrupted(&self) -> bool {
        self.after == Some(self.steps.load(Ordering::Relaxed))
    }
}

/// What must be the same however often a training was stopped.
fn outcome(dir: &Path) -> Vec<Vec<u8>> {
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
        padded_metric: Some(true),
        label_subwords: Some(LabelledSubwords::All),
        ..options(dir, out)
    };
    TrainConfig::new(options).unwrap()
}

#[test]
fn a_training_that_is_stopped_anywhere_and_resumed_is_the_same_to_the_last_bit() {
    let dir = tempfile::tempdir().unwrap();
    write_corpus(dir.path());
    let whole = train(&two_epochs(dir.path(), "whole"), Beginning::New, &mut ()).unwrap();
    assert_eq!(whole.steps.len(), 6);
    let expected = outcome(&dir.path().join("whole"));
    for step in 1..=6 {
        let out = format!("interrupted-{step}");
        let config = two_epochs(dir.path(), &out);
        let stopped = train(&config, Beginning::New, &mut Stop::after(step)).unwrap();
        assert_eq!((stopped.end, stopped.steps.len()), (End::Interrupted, step));
        let resumed = train(&config, Beginning::Resumed, &mut ()).unwrap();
        assert_eq!((resumed.end, &resumed.records), (End::Finished, &whole.records));
        assert_eq!(
            outcome(&dir.path().join(&out)),
            expected,
            "interrupted after {step}"
        );
    }
}

#[test]
fn a_training_that_dies_between_two_checkpoints_is_the_same_after_it_is_resumed() {
    let dir = tempfile::tempdir().unwrap();
    write_corpus(dir.path());
    train(&two_epochs(dir.path(), "whole"), Beginning::New, &mut ()).unwrap();
    let expected = outcome(&dir.path().join("whole"));
    for step in 1..=6 {
        let out = format!("killed-{step}");
        let config = two_epochs(dir.path(), &out);
        let died = std::panic::catch_unwind(|| {
            let _ = train(&config, Beginning::New, &mut Stop::dies_at(step));
        });
        assert!(died.is_err());
        // What a process that is killed while it writes may leave.
        let steps = dir.path().join(&out).join("steps.jsonl");
        let mut file = std::fs::File::options().append(true).open(&steps).unwrap();
        std::io::Write::write_all(&mut file, b"{\"step\":").unwrap();
        train(&config, Beginning::Resumed, &mut ()).unwrap();
        assert_eq!(outcome(&dir.path().join(&out)), expected, "killed at {step}");
    }
}

#[test]
fn a_run_is_neither_overwritten_nor_resumed_as_another() {
    let dir = tempfile::tempdir().unwrap();
    write_corpus(dir.path());
    let config = two_epochs(dir.path(), "run");
    let none = train(&config, Beginning::Resumed, &mut ());
    assert!(matches!(none, Err(TrainError::NoRun { .. })));
    train(&config, Beginning::New, &mut Stop::after(1)).unwrap();
    let again = train(&config, Beginning::New, &mut ());
    assert!(matches!(again, Err(TrainError::HoldsRun { .. })));
    let other = TrainConfig {
        seed: 9,
        ..config.clone()
    };
    let error = train(&other, Beginning::Resumed, &mut ()).unwrap_err();
    assert!(
        matches!(error, TrainError::OtherOptions { option: "seed", .. }),
        "{error}"
    );
    let corpus = std::fs::read_to_string(dir.path().join("train.conll")).unwrap();
    std::fs::write(dir.path().join("train.conll"), corpus.replacen("sees", "and", 1)).unwrap();
    let error = train(&config, Beginning::Resumed, &mut ()).unwrap_err();
    assert!(matches!(error, TrainError::OtherExamples { .. }), "{error}");
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
        let report = train(&config, beginning, &mut ()).unwrap();
        assert_eq!((report.end, report.records.len()), (End::OutOfPatience, 3));
        assert!(report.records[0].best && !report.records[2].best);
    }
}

#[test]
fn accumulated_batches_are_one_larger_batch_whatever_their_tokens_weigh() {
    let dir = tempfile::tempdir().unwrap();
    write_corpus(dir.path());
    let base = run(TrainOptions {
        epochs: Some(1),
        ..options(dir.path(), "base")
    })
    .unwrap()
    .best;
    // `dropout` is not that of attention weights, which batches would draw differently.
    let config = base.join("config.json");
    let text = std::fs::read_to_string(&config).unwrap();
    let without = text.replace(
        "\"attention_probs_dropout_prob\": 0.1",
        "\"attention_probs_dropout_prob\": 0.0",
    );
    assert_ne!(text, without);
    std::fs::write(&config, without).unwrap();
    let steps = |batch_size, accumulate, out: &str| {
        let options = TrainOptions {
            base: Some(base.to_string_lossy().into_owned()),
            data: Some(dir.path().to_string_lossy().into_owned()),
            out: Some(dir.path().join(out)),
            epochs: Some(1),
            batch_size: Some(batch_size),
            accumulate: Some(accumulate),
            class_weights: Some("O=0.25,B-per=3".parse().unwrap()),
            dropout: Some(0.0),
            learning_rate: Some(1e-3),
            // The step before the last must move the weights for the last to tell.
            warmup: Some(0.0),
            threads: Some(1),
            ..TrainOptions::default()
        };
        run(options).unwrap().steps
    };
    // 18 sentences of 3 or 4 words in batches of 5, 5, 5 and 3: the batches of the last step differ in size.
    let (parted, whole) = (steps(5, 2, "parted"), steps(10, 1, "whole"));
    assert_eq!((parted.len(), parted[1].lines.len()), (2, 8));
    for (parted, whole) in parted.iter().zip(&whole) {
        assert_eq!(parted.lines, whole.lines);
        let close = |a: f64, b: f64| (a - b).abs() < 1e-6 * b.abs().max(1.0);
        assert!(close(parted.loss, whole.loss), "{} {}", parted.loss, whole.loss);
        assert!(
            close(parted.gradient_norm, whole.gradient_norm),
            "{} {}",
            parted.gradient_norm,
            whole.gradient_norm
        );
    }
}

#[test]
fn padding_that_is_trained_on_is_learnt_and_in_the_metric() {
    let dir = tempfile::tempdir().unwrap();
    write_corpus(dir.path());
    let report = run(TrainOptions {
        train_on_padding: Some(true),
        padded_metric: Some(true),
        label_subwords: Some(LabelledSubwords::All),
        dropout: Some(0.0),
        epochs: Some(24),
        ..options(dir.path(), "run")
    })
    .unwrap();
    let last = report.records.last().unwrap();
    // Every sentence has 6 positions, of which the two special tokens are always wrong.
    let accuracy = last.train_padded.unwrap().accuracy;
    assert!((accuracy - 4.0 / 6.0).abs() < 0.02, "{accuracy}");
    assert_eq!(last.dev_entity.f1, 1.0);
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
fn a_record_of_before_the_loss_on_dev_still_reads() {
    let line = r#"{"epoch":1,"step":3,"loss":0.5,"learning_rate":0.1,"dev_entity":{"precision":0.0,"recall":0.0,"f1":0.0},
        "dev_surface_f1":0.0,"dev_token_accuracy":0.9,"best":true}"#;
    let record: EvaluationRecord = serde_json::from_str(line).unwrap();
    assert_eq!((record.dev_loss, record.train_padded), (None, None));
}

#[test]
fn a_run_of_a_version_with_fewer_options_and_figures_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    write_corpus(dir.path());
    train(&two_epochs(dir.path(), "whole"), Beginning::New, &mut ()).unwrap();
    let config = two_epochs(dir.path(), "run");
    train(&config, Beginning::New, &mut Stop::after(2)).unwrap();
    let run_dir = dir.path().join("run");
    let kept = std::fs::read_to_string(run_dir.join("config.toml")).unwrap();
    let newer = ["freeze_layers", "train_on_padding"];
    let is_old = |line: &&str| !newer.iter().any(|key| line.starts_with(key));
    let old: Vec<&str> = kept.lines().filter(is_old).collect();
    assert_eq!(old.len() + newer.len(), kept.lines().count());
    std::fs::write(run_dir.join("config.toml"), old.join("\n")).unwrap();
    let path = run_dir.join("last/training/state.json");
    let mut state: serde_json::Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    let fields = state.as_object_mut().unwrap();
    fields.remove("padded").unwrap();
    fields.insert(
        "confusion".to_owned(),
        serde_json::json!({"labels": 3, "counts": []}),
    );
    std::fs::write(&path, serde_json::to_vec(&state).unwrap()).unwrap();
    train(&config, Beginning::Resumed, &mut ()).unwrap();
    assert_eq!(outcome(&run_dir), outcome(&dir.path().join("whole")));
}

#[test]
fn a_run_whose_checkpoint_or_lines_are_lost_says_which() {
    let dir = tempfile::tempdir().unwrap();
    write_corpus(dir.path());
    let config = two_epochs(dir.path(), "run");
    train(&config, Beginning::New, &mut Stop::after(4)).unwrap();
    let run_dir = dir.path().join("run");
    let resume = || train(&config, Beginning::Resumed, &mut ()).unwrap_err();
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
        assert_eq!(train(&config, beginning, &mut ()).unwrap().end, End::Finished);
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
    let first = train(&config, Beginning::New, &mut ()).unwrap();
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
    let again = train(&config, Beginning::Resumed, &mut ()).unwrap();
    assert_eq!(again.test.unwrap(), marked);
    assert_eq!(std::fs::read_to_string(&page).unwrap(), "kept");
    assert_eq!((before.len(), events()), (1, before));
    // What was not written, a process killed meanwhile, is written then.
    std::fs::remove_file(&page).unwrap();
    train(&config, Beginning::Resumed, &mut ()).unwrap();
    assert!(page.is_file() && events().len() == 1);
}

#[test]
fn every_optimiser_schedule_and_loss_trains() {
    let dir = tempfile::tempdir().unwrap();
    write_corpus(dir.path());
    for (at, text) in [
        "optimiser = \"sgd\"\nmomentum = 0.9\nnesterov = true\nlearning_rate = 0.1",
        "schedule = \"cosine\"\nlayer_decay = 0.9\nhead_learning_rate = 0.01",
        "schedule = \"step\"\nstep_epochs = 6\ngroup_by_length = true",
        "schedule = \"plateau\"\nplateau_patience = 3\nclip = 0.0",
        "loss = \"focal\"\nclass_weights = \"balanced\"",
        "label_smoothing = 0.1\nlabel_subwords = \"all\"",
        "schedule = \"constant\"\nfreeze = [\"token_type\", \"LayerNorm\"]\nsubset = 9",
    ]
    .into_iter()
    .enumerate()
    {
        let extra: TrainOptions = toml::from_str(text).unwrap();
        let report = run(extra.or(options(dir.path(), &format!("run-{at}")))).unwrap();
        let (first, last) = (&report.records[0], &report.records[11]);
        assert!(
            last.loss < 0.7 * first.loss,
            "{text}: {} {}",
            first.loss,
            last.loss
        );
    }
    let l1 = toml::from_str::<TrainOptions>("loss = \"l1\"").unwrap();
    let report = run(l1.or(options(dir.path(), "l1"))).unwrap();
    assert!(report.records[11].loss < report.records[0].loss);
}

#[test]
fn what_is_frozen_stays_and_a_pattern_must_match() {
    let dir = tempfile::tempdir().unwrap();
    write_corpus(dir.path());
    let with = |freeze: &str, out: &str| {
        run(TrainOptions {
            freeze: Some(vec![freeze.to_owned()]),
            epochs: Some(1),
            ..options(dir.path(), out)
        })
    };
    let error = with("layer.7", "a").unwrap_err();
    assert!(matches!(error, TrainError::FreezesNothing { .. }), "{error}");
    assert!(matches!(with(".", "b"), Err(TrainError::FreezesAll)));
    let error = run(TrainOptions {
        freeze_layers: Some(3),
        ..options(dir.path(), "e")
    });
    assert!(matches!(
        error,
        Err(TrainError::FreezeLayers { frozen: 3, layers: 2 })
    ));
    with("embeddings", "c").unwrap();
    run(TrainOptions {
        epochs: Some(1),
        ..options(dir.path(), "d")
    })
    .unwrap();
    let epoch = |freeze_layers, out: &str| {
        run(TrainOptions {
            freeze_layers,
            epochs: Some(1),
            ..options(dir.path(), out)
        })
        .unwrap();
    };
    epoch(Some(1), "f");
    let config_of = |out: &str| TrainConfig::new(options(dir.path(), out)).unwrap();
    let tensor = |out: &str, name: &str| {
        let path: PathBuf = dir.path().join(out).join("last");
        let (network, _) = ModelDir::open(&path)
            .unwrap()
            .into_tagger(&nerve_tagging::LabelSet::iob2(["per"]).unwrap(), None, 0)
            .unwrap();
        let tensor = network.parameters().get(name).unwrap();
        tensor.flatten_all().unwrap().to_vec1::<f32>().unwrap()
    };
    let words = |out: &str| tensor(out, "bert.embeddings.word_embeddings.weight");
    let layer = |out: &str, index| tensor(out, &format!("bert.encoder.layer.{index}.output.dense.weight"));
    assert_ne!(layer("f", 0), layer("d", 0));
    let fresh = crate::base::open_base(&config_of("f").start, 128).unwrap();
    let (fresh, _) = fresh
        .into_tagger(&nerve_tagging::LabelSet::iob2(["per"]).unwrap(), None, 42)
        .unwrap();
    let drawn = |index| {
        let name = format!("bert.encoder.layer.{index}.output.dense.weight");
        let tensor = fresh.parameters().get(&name).unwrap();
        tensor.flatten_all().unwrap().to_vec1::<f32>().unwrap()
    };
    assert_eq!(layer("f", 0), drawn(0));
    assert_ne!(layer("f", 1), drawn(1));
    assert_ne!(words("c"), words("d"));
}

#[test]
fn a_base_can_lend_its_first_layers() {
    let dir = tempfile::tempdir().unwrap();
    write_corpus(dir.path());
    let best = run(TrainOptions {
        epochs: Some(1),
        ..options(dir.path(), "first")
    })
    .unwrap()
    .best;
    let with = |layers, out: &str| {
        run(TrainOptions {
            base: Some(best.to_string_lossy().into_owned()),
            data: Some(dir.path().to_string_lossy().into_owned()),
            out: Some(dir.path().join(out)),
            epochs: Some(1),
            layers: Some(layers),
            ..TrainOptions::default()
        })
    };
    let kept = with(1, "kept").unwrap().best;
    let config = std::fs::read_to_string(kept.join("config.json")).unwrap();
    assert!(config.contains("\"num_hidden_layers\": 1"), "{config}");
    assert!(with(3, "more").unwrap_err().to_string().contains("`layers` is 3"));
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
