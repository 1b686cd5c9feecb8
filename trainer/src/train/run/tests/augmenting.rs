//! Trainings on sentences that are changed in each epoch.

use super::resuming::{Stop, outcome};
use super::*;

/// A corpus whose tokenizer tells upper from lower case.
fn write_cased_corpus(dir: &Path) {
    write_corpus(dir);
    let specials = "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\n";
    let words = "Ann\nBob\nann\nbob\nANN\nsees\nand\na\nA\ndog\nDOG\n#\n##B\n";
    std::fs::write(dir.join("vocab.txt"), format!("{specials}{words}")).unwrap();
    std::fs::write(dir.join("tokenizer_config.json"), r#"{"do_lower_case": false}"#).unwrap();
}

fn losses(report: &TrainReport) -> Vec<u64> {
    report.steps.iter().map(|step| step.loss.to_bits()).collect()
}

#[test]
fn every_kind_of_augmentation_changes_the_examples_and_not_the_steps() {
    let dir = tempfile::tempdir().unwrap();
    write_cased_corpus(dir.path());
    let of = |text: &str, out: &str| {
        let augmentation: TrainOptions = toml::from_str(text).unwrap();
        let options = TrainOptions {
            epochs: Some(2),
            ..options(dir.path(), out)
        };
        run(augmentation.or(options)).unwrap()
    };
    let plain = of("", "plain");
    let zero = of("word_dropout = 0.0\nsymbol_noise = 0.0", "zero");
    assert_eq!(losses(&plain), losses(&zero));
    let mut found = vec![losses(&plain)];
    for option in [
        "word_dropout",
        "mention_replacement",
        "case_noise",
        "hashtag_noise",
        "symbol_noise",
    ] {
        let text = format!("{option} = 0.8");
        let first = of(&text, option);
        assert_eq!(losses(&first), losses(&of(&text, &format!("{option}-again"))));
        // The same sentences, in the same order.
        let lines = |report: &TrainReport| -> Vec<Vec<usize>> {
            report.steps.iter().map(|step| step.lines.clone()).collect()
        };
        assert_eq!(lines(&first), lines(&plain), "{option}");
        assert!(!found.contains(&losses(&first)), "{option}");
        found.push(losses(&first));
    }
}

#[test]
fn an_augmented_training_is_resumed_to_the_last_bit() {
    let dir = tempfile::tempdir().unwrap();
    write_cased_corpus(dir.path());
    let of = |out: &str| {
        let options = TrainOptions {
            epochs: Some(2),
            evaluate_every: Some(2),
            group_by_length: Some(true),
            // A window holds four of the words, so that some sentences have other windows than they had.
            max_length: Some(6),
            word_dropout: Some(0.2),
            mention_replacement: Some(0.5),
            case_noise: Some(0.5),
            hashtag_noise: Some(0.3),
            symbol_noise: Some(0.3),
            ..options(dir.path(), out)
        };
        TrainConfig::new(options).unwrap()
    };
    let whole = train(&of("whole"), Beginning::New, &mut []).unwrap();
    assert_eq!(whole.steps.len(), 10);
    let expected = outcome(&dir.path().join("whole"));
    for step in [1, 3, 5, 6, 9] {
        let out = format!("interrupted-{step}");
        train(&of(&out), Beginning::New, &mut [&mut Stop::after(step)]).unwrap();
        train(&of(&out), Beginning::Resumed, &mut []).unwrap();
        assert_eq!(
            outcome(&dir.path().join(&out)),
            expected,
            "interrupted after {step}"
        );
    }
}

#[test]
fn case_noise_is_refused_where_case_does_not_matter() {
    let dir = tempfile::tempdir().unwrap();
    write_corpus(dir.path());
    let error = run(TrainOptions {
        case_noise: Some(0.1),
        ..options(dir.path(), "run")
    });
    let error = error.unwrap_err();
    assert!(matches!(error, TrainError::NoCase), "{error}");
}

#[test]
fn words_that_share_their_tokens_are_told_apart_when_a_run_is_resumed() {
    let dir = tempfile::tempdir().unwrap();
    write_corpus(dir.path());
    let train_file = dir.path().join("train.conll");
    let text = std::fs::read_to_string(&train_file).unwrap();
    std::fs::write(&train_file, text.replacen("dog", "cat", 1)).unwrap();
    let config = TrainConfig::new(TrainOptions {
        symbol_noise: Some(0.5),
        ..options(dir.path(), "run")
    })
    .unwrap();
    train(&config, Beginning::New, &mut [&mut Stop::after(1)]).unwrap();
    // Neither `cat` nor `cow` is in the vocabulary.
    std::fs::write(&train_file, text.replacen("dog", "cow", 1)).unwrap();
    let error = train(&config, Beginning::Resumed, &mut []).unwrap_err();
    assert!(matches!(error, TrainError::OtherExamples { .. }), "{error}");
}
