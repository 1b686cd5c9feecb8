//! Averages of weights: what is evaluated and kept, and what of them a resumed run has.

use super::*;
use crate::train::run::tests::resuming::{Stop, outcome};

/// Two epochs of five steps with an evaluation after every second step, and other options as TOML.
fn config(dir: &Path, out: &str, text: &str) -> TrainConfig {
    let other: TrainOptions = toml::from_str(text).unwrap();
    let options = TrainOptions {
        epochs: Some(2),
        evaluate_every: Some(2),
        ..options(dir, out)
    };
    TrainConfig::new(other.or(options)).unwrap()
}

fn weights(checkpoint: &Path) -> Vec<u8> {
    std::fs::read(checkpoint.join("model.safetensors")).unwrap()
}

fn averaged(report: &TrainReport) -> Vec<bool> {
    report.records.iter().map(|record| record.averaged).collect()
}

#[test]
fn the_average_is_evaluated_and_best_and_the_steps_are_those_without_it() {
    let dir = tempfile::tempdir().unwrap();
    write_corpus(dir.path());
    let plain = train(&config(dir.path(), "plain", ""), Beginning::New, &mut []).unwrap();
    assert!(
        !std::fs::read_to_string(dir.path().join("plain/records.jsonl"))
            .unwrap()
            .contains("averaged")
    );
    let dev = Corpus::read(&dir.path().join("dev.conll")).unwrap();
    // The average of one step is its weights.
    for (out, text, expected, differs_after, last) in [
        ("ema", "ema = 0.6", [true; 5], 0, 10),
        ("swa", "swa = 0.5", [false, false, true, true, true], 6, 10),
        (
            "swa-4",
            "swa = 0.5\nswa_every = 4",
            [false, false, false, true, true],
            8,
            8,
        ),
    ] {
        let report = train(&config(dir.path(), out, text), Beginning::New, &mut []).unwrap();
        assert_eq!(averaged(&report), expected, "{out}");
        assert_eq!(report.steps, plain.steps);
        let run_dir = dir.path().join(out);
        assert_eq!(
            weights(&run_dir.join("last")),
            weights(&dir.path().join("plain/last"))
        );
        for (record, plain) in report.records.iter().zip(&plain.records) {
            let differs = record.dev_loss != plain.dev_loss;
            assert_eq!(differs, record.step > differs_after, "{out}: {record:?}");
        }
        // The evaluation of the last average has the lowest loss.
        let best = report.best_record().unwrap();
        assert!(best.averaged && best.step == last, "{best:?}");
        assert_ne!(weights(&report.best), weights(&run_dir.join("last")));
        let mut tagger = CheckpointTagger::open(&report.best, None, 1).unwrap();
        let found = crate::evaluate::calibrate(&mut tagger, &dev).unwrap().before.nll;
        assert!(
            (found - best.dev_loss.unwrap()).abs() < 1e-6,
            "{out}: {found} {best:?}"
        );
        let card = std::fs::read_to_string(report.best.join("README.md")).unwrap();
        let named = if out == "ema" {
            "exponential moving average (decay 0.6)"
        } else {
            "stochastic weight averaging"
        };
        assert!(
            card.contains(named) && card.contains(&format!("after step {last} of 10")),
            "{card}"
        );
        assert_eq!(std::fs::read_dir(run_dir.join("checkpoints")).unwrap().count(), 2);
    }
}

#[test]
fn a_run_with_an_average_or_regularization_that_is_stopped_anywhere_is_the_same_to_the_last_bit() {
    let dir = tempfile::tempdir().unwrap();
    write_corpus(dir.path());
    for (at, text) in [
        "ema = 0.6",
        "swa = 0.5",
        "swa = 0.7\nswa_every = 2\nschedule = \"plateau\"\nplateau_patience = 1\nselect_by = \"loss\"",
        "loss = \"crf\"\nema = 0.6\nr_drop = 1.0",
        "r_drop = 1.0\nadversarial = 0.5\nclass_weights = \"balanced\"\naccumulate = 2\nepochs = 4",
    ]
    .into_iter()
    .enumerate()
    {
        let whole = format!("whole-{at}");
        train(&config(dir.path(), &whole, text), Beginning::New, &mut []).unwrap();
        let expected = outcome(&dir.path().join(whole));
        for step in 1..=10 {
            let out = format!("stopped-{at}-{step}");
            let config = config(dir.path(), &out, text);
            train(&config, Beginning::New, &mut [&mut Stop::after(step)]).unwrap();
            if step < 10 {
                let died = std::panic::catch_unwind(|| {
                    let _ = train(&config, Beginning::Resumed, &mut [&mut Stop::dies_at(step + 1)]);
                });
                assert!(died.is_err());
            }
            train(&config, Beginning::Resumed, &mut []).unwrap();
            assert_eq!(outcome(&config.out), expected, "{text}, stopped after {step}");
        }
    }
}

#[test]
fn an_average_that_is_lost_or_has_no_step_is_an_error() {
    let dir = tempfile::tempdir().unwrap();
    write_corpus(dir.path());
    let kept = config(dir.path(), "lost", "ema = 0.6");
    train(&kept, Beginning::New, &mut [&mut Stop::after(3)]).unwrap();
    std::fs::remove_file(kept.out.join("last/training/average.safetensors")).unwrap();
    let error = train(&kept, Beginning::Resumed, &mut []).unwrap_err().to_string();
    assert!(error.contains("average.safetensors"), "{error}");
    let never = config(dir.path(), "never", "swa = 0.1\nswa_every = 4");
    let error = train(&never, Beginning::New, &mut []).unwrap_err();
    assert!(
        matches!(
            error,
            TrainError::NothingAveraged {
                every: 4,
                before: 9,
                steps: 10
            }
        ),
        "{error}"
    );
    assert!(!never.out.exists());
}

#[test]
fn a_longer_run_averages_the_last_part_of_its_new_steps() {
    let dir = tempfile::tempdir().unwrap();
    write_corpus(dir.path());
    let text = "swa = 0.25\nschedule = \"constant\"\nwarmup = 0.0";
    let longer = |out: &str| config(dir.path(), out, &format!("{text}\nepochs = 4"));
    train(&longer("whole"), Beginning::New, &mut []).unwrap();
    let first = config(dir.path(), "longer", text);
    let short = train(&first, Beginning::New, &mut []).unwrap();
    assert!(short.records.last().unwrap().averaged);
    let report = train(&longer("longer"), Beginning::Resumed, &mut []).unwrap();
    let averaged = averaged(&report);
    // Evaluations after steps 2 to 20: the first end was step 10, and the second average begins after step 15.
    assert_eq!(averaged[3..], [true, true, false, false, true, true, true]);
    assert_eq!(
        outcome(&dir.path().join("longer"))[2..],
        outcome(&dir.path().join("whole"))[2..]
    );
}
