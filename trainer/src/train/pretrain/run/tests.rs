use std::path::Path;

use super::*;
use crate::evaluate::checkpoint::CheckpointTagger;
use crate::testing::write_corpus;
use crate::train::config::TrainConfig;
use crate::train::options::{Init, TrainOptions};
use crate::train::pretrain::options::PretrainOptions;
use crate::train::run::train;

/// A base model with random weights, as `train` leaves it, and text in which each word follows from those before it.
fn write_base(dir: &Path) {
    write_corpus(dir);
    let options = TrainOptions {
        data: Some(dir.to_string_lossy().into_owned()),
        out: Some(dir.join("base")),
        init: Some(Init::Scratch),
        vocab: Some(dir.to_owned()),
        hidden_size: Some(32),
        epochs: Some(1),
        reports: Some(false),
        threads: Some(1),
        ..TrainOptions::default()
    };
    train(&TrainConfig::new(options).unwrap(), Beginning::New, &mut []).unwrap();
    let mut text = String::new();
    for repeats in 1..=40 {
        text += &"ann sees a dog and bob sees a dog ".repeat(1 + repeats % 5);
        text += &"and ann ".repeat(1 + repeats / 5);
        text.push('\n');
    }
    std::fs::write(dir.join("text.txt"), text).unwrap();
}

fn options(dir: &Path, out: &str) -> PretrainOptions {
    PretrainOptions {
        base: Some(dir.join("base/best").to_string_lossy().into_owned()),
        text: Some(vec![dir.join("text.txt")]),
        out: Some(dir.join(out)),
        epochs: Some(4),
        batch_size: Some(8),
        learning_rate: Some(5e-3),
        held_out: Some(0.2),
        evaluate_every: Some(3),
        max_length: Some(48),
        threads: Some(2),
        ..PretrainOptions::default()
    }
}

/// Runs a pre-training, which is interrupted after it has told `stop` things.
fn run(
    settings: &PretrainSettings,
    beginning: Beginning,
    stop: usize,
) -> Result<PretrainReport, PretrainError> {
    let interrupted = AtomicBool::new(false);
    let mut told = 0;
    pretrain(settings, beginning, &interrupted, |_| {
        told += 1;
        interrupted.store(told >= stop, Ordering::Relaxed);
    })
}

fn outcome(dir: &Path) -> Vec<Vec<u8>> {
    [STEPS, RECORDS, "last/model.safetensors"]
        .map(|file| std::fs::read(dir.join(file)).unwrap())
        .to_vec()
}

#[test]
fn perplexity_falls_and_the_model_is_a_base_for_train() {
    let dir = tempfile::tempdir().unwrap();
    write_base(dir.path());
    let settings = PretrainSettings::new(PretrainOptions {
        epochs: Some(12),
        ..options(dir.path(), "run")
    })
    .unwrap();
    let report = run(&settings, Beginning::New, usize::MAX).unwrap();
    let (first, last) = (&report.records[0], report.records.last().unwrap());
    assert_eq!((first.step, first.loss), (0, None));
    assert!(last.perplexity < 0.6 * first.perplexity, "{:?}", report.records);
    let config = std::fs::read_to_string(dir.path().join("run/last/config.json")).unwrap();
    assert!(
        config.contains("BertForMaskedLM") && !config.contains("id2label"),
        "{config}"
    );
    let options = TrainOptions {
        data: Some(dir.path().to_string_lossy().into_owned()),
        base: Some(dir.path().join("run/last").to_string_lossy().into_owned()),
        out: Some(dir.path().join("tuned")),
        epochs: Some(1),
        reports: Some(false),
        ..TrainOptions::default()
    };
    train(&TrainConfig::new(options).unwrap(), Beginning::New, &mut []).unwrap();
    CheckpointTagger::open(&dir.path().join("tuned/best"), None, 1).unwrap();
    // The head of the pre-trained model is kept when it is pre-trained again: its perplexity is where it was.
    let again = PretrainOptions {
        base: Some(dir.path().join("run/last").to_string_lossy().into_owned()),
        epochs: Some(1),
        ..self::options(dir.path(), "again")
    };
    let again = run(&PretrainSettings::new(again).unwrap(), Beginning::New, usize::MAX).unwrap();
    assert_eq!(again.records[0].perplexity, last.perplexity);
}

#[test]
fn a_pre_training_that_is_stopped_and_resumed_is_the_same_to_the_last_bit() {
    let dir = tempfile::tempdir().unwrap();
    write_base(dir.path());
    let whole = PretrainSettings::new(options(dir.path(), "whole")).unwrap();
    run(&whole, Beginning::New, usize::MAX).unwrap();
    let settings = PretrainSettings::new(options(dir.path(), "stopped")).unwrap();
    // Told before the first step, so that it stops after it; then at an evaluation and between two of them.
    let mut steps = Vec::new();
    for (beginning, stop) in [
        (Beginning::New, 1),
        (Beginning::Resumed, 2),
        (Beginning::Resumed, 1),
    ] {
        let report = run(&settings, beginning, stop).unwrap();
        assert!(report.is_interrupted);
        steps.push(report.steps);
    }
    assert_eq!(steps, [1, 3, 4]);
    // What a process that is killed leaves: a step after the last checkpoint, and a part of a line.
    let mut file = std::fs::File::options()
        .append(true)
        .open(dir.path().join("stopped").join(STEPS))
        .unwrap();
    std::io::Write::write_all(&mut file, b"{\"step\":5}\n{\"st").unwrap();
    let out_alone = PretrainOptions {
        out: Some(dir.path().join("stopped")),
        ..PretrainOptions::default()
    };
    let resumed = PretrainSettings::resumed(&out_alone).unwrap();
    assert_eq!(resumed, settings);
    let report = run(&resumed, Beginning::Resumed, usize::MAX).unwrap();
    assert!(!report.is_interrupted);
    assert_eq!(
        outcome(&dir.path().join("stopped")),
        outcome(&dir.path().join("whole"))
    );
    let other = PretrainOptions {
        mask_probability: Some(0.3),
        ..out_alone
    };
    let error = PretrainSettings::resumed(&other).unwrap_err().to_string();
    assert!(error.contains("`mask_probability` 0.15, not 0.3"), "{error}");
    let error = run(&settings, Beginning::New, usize::MAX).unwrap_err();
    assert!(error.to_string().contains("holds a run already"), "{error}");
    std::fs::write(dir.path().join("text.txt"), "ann sees a dog\nbob sees a dog\n").unwrap();
    let error = run(&settings, Beginning::Resumed, usize::MAX).unwrap_err();
    assert!(matches!(error, PretrainError::OtherTexts { .. }), "{error}");
}

#[test]
fn mistakes_are_named() {
    let dir = tempfile::tempdir().unwrap();
    let error = |change: fn(&mut PretrainOptions)| {
        let mut options = options(dir.path(), "run");
        change(&mut options);
        PretrainSettings::new(options).unwrap_err().to_string()
    };
    assert!(error(|of| of.text = None).contains("`text` is missing"));
    assert!(
        error(|of| of.mask_probability = Some(1.0)).contains("`mask_probability` is 1; it must be above 0")
    );
    assert!(error(|of| of.held_out = Some(0.0)).contains("`held_out`"));
    assert!(error(|of| of.epochs = Some(0)).contains("`epochs` is 0"));
    assert!(error(|of| of.learning_rate = Some(0.0)).contains("`learning_rate`"));
    assert!(error(|of| of.warmup = Some(1.5)).contains("`warmup`"));
    write_base(dir.path());
    std::fs::write(dir.path().join("text.txt"), "ann\nann\n").unwrap();
    let settings = PretrainSettings::new(options(dir.path(), "run")).unwrap();
    let error = run(&settings, Beginning::New, usize::MAX).unwrap_err();
    assert!(
        matches!(error, PretrainError::TooFewSentences { sentences: 1 }),
        "{error}"
    );
}
