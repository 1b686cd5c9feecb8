use std::path::{Path, PathBuf};

use super::*;
use crate::testing::{tiny_options, write_corpus};
use crate::train::config::{TrainConfig, seed_configs};
use crate::train::options::TrainOptions;
use crate::train::{Beginning, TrainingHook, train, train_seeds};

fn options(dir: &Path, out: &str) -> TrainOptions {
    TrainOptions {
        epochs: Some(8),
        reports: Some(false),
        ..tiny_options(dir, out)
    }
}

fn compared(runs: &[PathBuf], data: Option<&Path>) -> Result<Comparison, CompareRunsError> {
    let read = nerve_corpus::ReadOptions::default();
    compare(
        runs,
        &CompareOptions {
            data: data.map(|data| (data, &read)),
            bootstrap: Bootstrap {
                resamples: 1000,
                seed: 1,
            },
            threads: 1,
        },
    )
}

#[test]
fn runs_and_seeds_are_compared_on_their_common_dev_split() {
    let dir = tempfile::tempdir().unwrap();
    write_corpus(dir.path());
    let mut hooks: [&mut dyn TrainingHook; 0] = [];
    let bad = TrainOptions {
        learning_rate: Some(1e-12),
        ..options(dir.path(), "bad")
    };
    train(&TrainConfig::new(bad).unwrap(), Beginning::New, &mut hooks).unwrap();
    let good = TrainOptions {
        seeds: Some(vec![1, 2]),
        ..options(dir.path(), "good")
    };
    let out = dir.path().join("good");
    let seeds = train_seeds(&seed_configs(&good).unwrap(), &out, Beginning::New, &mut hooks).unwrap();
    let runs = [dir.path().join("bad"), out.clone()];
    let found = compared(&runs, None).unwrap();
    assert_eq!((found.split.as_str(), found.sentences), ("dev", 3));
    let [bad, good] = &found.runs[..] else {
        panic!("{found:?}");
    };
    assert_eq!((bad.models, good.models, bad.deviation), (1, 2, None));
    // Of all seeds, as their own report has it.
    let spread = seeds.unwrap().dev_f1;
    assert!((good.entity.f1 - spread.mean).abs() < 1e-12);
    assert_eq!(good.deviation, spread.deviation);
    assert_eq!(good.curves.dev_f1.len(), 2);
    assert!((good.types["per"] - spread.mean).abs() < 1e-12);
    let [pair] = &found.pairs[..] else {
        panic!("{:?}", found.pairs);
    };
    assert!((pair.difference.f1 - (good.entity.f1 - bad.entity.f1)).abs() < 1e-12);
    let different: Vec<&str> = found
        .settings
        .iter()
        .map(|setting| setting.option.as_str())
        .collect();
    assert_eq!(different, ["learning_rate", "seed"]);
    assert_eq!(
        found.settings[1].values,
        [Some("42".to_owned()), Some("1, 2".to_owned())]
    );
    assert_eq!(found, compared(&runs, None).unwrap());
    assert!(found.html().contains("Is the difference real?"));

    // A checkpoint has no dev split, and another dev split is not compared.
    let checkpoint = dir.path().join("good/seed-1/best");
    let with_checkpoint = [runs[0].clone(), checkpoint.clone()];
    let error = compared(&with_checkpoint, None).unwrap_err();
    assert!(
        matches!(&error, CompareRunsError::NeedsData { path } if *path == checkpoint),
        "{error}"
    );
    let dev = dir.path().join("dev.conll");
    let on_file = compared(&with_checkpoint, Some(&dev)).unwrap();
    assert_eq!(on_file.runs[1].models, 1);

    let other = dir.path().join("other");
    std::fs::create_dir(&other).unwrap();
    write_corpus(&other);
    let train_file = std::fs::read_to_string(other.join("dev.conll")).unwrap();
    std::fs::write(other.join("dev.conll"), train_file.replacen("dog", "Ann", 1)).unwrap();
    let elsewhere = TrainOptions {
        epochs: Some(1),
        ..options(&other, "run")
    };
    train(&TrainConfig::new(elsewhere).unwrap(), Beginning::New, &mut hooks).unwrap();
    let runs = [runs[0].clone(), other.join("run")];
    let error = compared(&runs, None).unwrap_err();
    assert!(
        matches!(&error, CompareRunsError::OtherDev { .. }) && error.to_string().contains("--data"),
        "{error}"
    );
    assert_eq!(compared(&runs, Some(&dev)).unwrap().sentences, 3);
    let error = compared(&[runs[0].clone(), dir.path().join("nowhere")], None).unwrap_err();
    assert!(matches!(error, CompareRunsError::NoRun { .. }), "{error}");
}
