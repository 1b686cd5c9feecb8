//! Several runs of one configuration: seeds, folds and sweeps.

use super::*;
use crate::train::config::{fold_configs, seed_configs};
use crate::train::folds::train_folds;
use crate::train::resume::resumed_fold_configs;
use crate::train::run::tests::resuming::Stop;
use crate::train::seeds::train_seeds;
use crate::train::sweep::{Checkpoints, Sweep, SweepError, SweepReport, run_sweep};

fn read(path: &Path) -> Vec<u8> {
    std::fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The corpus, with enough distinct sentences for folds.
fn write_varied_corpus(dir: &Path) {
    write_corpus(dir);
    let names = ["Ann", "Bob"];
    let rest = ["sees\tO", "a\tO\ndog\tO", "and\tO", "sees\tO\na\tO\ndog\tO"];
    let mut text = String::new();
    for name in names {
        for rest in rest {
            text += &format!("{name}\tB-per\n{rest}\n\n{rest}\n{name}\tB-per\n\n");
        }
    }
    std::fs::write(dir.join("train.conll"), text.repeat(2)).unwrap();
}

fn folds(dir: &Path, out: &str) -> TrainOptions {
    TrainOptions {
        folds: Some(3),
        epochs: Some(2),
        ..options(dir, out)
    }
}

/// The files of a fold that do not depend on when it was trained.
fn outcome(dir: &Path) -> Vec<Vec<u8>> {
    ["steps.jsonl", "records.jsonl", "best/model.safetensors"]
        .map(|file| read(&dir.join(file)))
        .to_vec()
}

#[test]
fn each_fold_is_evaluated_by_a_model_that_did_not_see_it_and_the_report_lists_its_errors() {
    let dir = tempfile::tempdir().unwrap();
    write_varied_corpus(dir.path());
    // It is not read.
    std::fs::write(dir.path().join("dev.conll"), "nothing here\n").unwrap();
    let configs = fold_configs(&folds(dir.path(), "run")).unwrap();
    let out = dir.path().join("run");
    let report = train_folds(&configs, &out, Beginning::New, &mut [])
        .unwrap()
        .unwrap();
    assert_eq!(
        report.folds.iter().map(|fold| fold.fold).collect::<Vec<_>>(),
        [1, 2, 3]
    );
    let mean = report.folds.iter().map(|fold| fold.dev_f1).sum::<f64>() / 3.0;
    assert!((report.dev_f1.mean - mean).abs() < 1e-12 && report.dev_f1.deviation.is_some());
    let figures: serde_json::Value = serde_json::from_slice(&read(&out.join("folds.json"))).unwrap();
    assert_eq!(figures["folds"][1]["fold"], 2);
    let corpus = Corpus::read(&dir.path().join("train.conll")).unwrap();
    let (mut held_out, mut trained) = (0, 0);
    for config in &configs {
        let (rest, fold) = crate::train::corpora::corpora(config, &config.splits().unwrap()).unwrap();
        assert!(fold.sentences.iter().all(|one| !rest.sentences.contains(one)));
        held_out += fold.sentences.len();
        let lines = std::fs::read_to_string(config.out.join("steps.jsonl")).unwrap();
        let steps = lines
            .lines()
            .map(|line| serde_json::from_str::<StepRecord>(line).unwrap());
        trained += steps.map(|step| step.lines.len()).sum::<usize>();
    }
    assert_eq!(held_out, corpus.sentences.len());
    // Two epochs, in each of which two folds of three are trained on for each of three runs.
    assert_eq!(trained, 2 * 2 * corpus.sentences.len());
    let page = String::from_utf8(read(&out.join("report.html"))).unwrap();
    assert!(page.contains("Gold labels that the held-out model contradicts"));
    assert!(page.contains("href=\"fold-3/report.html\""));
    let page = String::from_utf8(read(&out.join("fold-2/report.html"))).unwrap();
    assert!(page.contains("Confusion (fold 2 of 3)"));
}

#[test]
fn folds_that_are_stopped_and_resumed_are_the_same_to_the_last_bit() {
    let dir = tempfile::tempdir().unwrap();
    write_varied_corpus(dir.path());
    let whole = fold_configs(&folds(dir.path(), "whole")).unwrap();
    train_folds(&whole, &dir.path().join("whole"), Beginning::New, &mut []).unwrap();
    let out = dir.path().join("stopped");
    let given = folds(dir.path(), "stopped");
    let configs = fold_configs(&given).unwrap();
    let stopped = train_folds(&configs, &out, Beginning::New, &mut [&mut Stop::after(3)]).unwrap();
    assert!(stopped.is_none() && !out.join("folds.json").exists());
    let configs = resumed_fold_configs(&TrainOptions {
        folds: Some(3),
        out: Some(out.clone()),
        ..TrainOptions::default()
    })
    .unwrap();
    train_folds(&configs, &out, Beginning::Resumed, &mut [])
        .unwrap()
        .unwrap();
    for fold in ["fold-1", "fold-2", "fold-3"] {
        assert_eq!(
            outcome(&out.join(fold)),
            outcome(&dir.path().join("whole").join(fold)),
            "{fold}"
        );
    }
    assert_eq!(
        read(&out.join("folds.json")),
        read(&dir.path().join("whole/folds.json"))
    );
    // One fold alone is the same run.
    let alone = TrainOptions {
        fold: Some(2),
        ..folds(dir.path(), "alone")
    };
    run(alone).unwrap();
    assert_eq!(outcome(&dir.path().join("alone")), outcome(&out.join("fold-2")));
}

#[test]
fn folds_that_mean_nothing_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    write_corpus(dir.path());
    let error = |change: fn(&mut TrainOptions)| {
        let mut options = folds(dir.path(), "run");
        change(&mut options);
        match options.fold {
            Some(_) => TrainConfig::new(options).unwrap_err().to_string(),
            None => fold_configs(&options).unwrap_err().to_string(),
        }
    };
    assert!(error(|options| options.folds = Some(1)).contains("`folds` is 1; it must be from 2"));
    assert!(error(|options| options.fold = Some(4)).contains("`fold` is 4; it must be from 1"));
    assert!(error(|options| options.seeds = Some(vec![1])).contains("`folds` and `seeds`"));
    let fold_alone = error(|options| (options.folds, options.fold) = (None, Some(1)));
    assert!(fold_alone.contains("`fold` has no effect"), "{fold_alone}");
    assert!(
        TrainConfig::new(folds(dir.path(), "run"))
            .unwrap_err()
            .to_string()
            .contains("add `fold`")
    );
    // Three distinct sentences.
    let error = run(TrainOptions {
        fold: Some(1),
        folds: Some(4),
        ..options(dir.path(), "run")
    });
    assert!(matches!(
        error,
        Err(TrainError::TooFewForFolds { sentences: 3, .. })
    ));
}

#[test]
fn the_report_of_the_seeds_lists_the_gold_labels_that_all_contradict_and_is_written_once() {
    let dir = tempfile::tempdir().unwrap();
    write_corpus(dir.path());
    // `sees` is labeled as a person once in dev and never in train: every model that has learned anything says `O`.
    spoil_dev(dir.path());
    let out = dir.path().join("run");
    let configs = seed_configs(&TrainOptions {
        seeds: Some(vec![1, 2]),
        ..options(dir.path(), "run")
    })
    .unwrap();
    train_seeds(&configs, &out, Beginning::New, &mut [])
        .unwrap()
        .unwrap();
    let page = String::from_utf8(read(&out.join("report.html"))).unwrap();
    assert!(page.contains("Gold labels that every seed contradicts") && page.contains(" 1 are found."));
    assert!(
        page.contains("<span class=\"gold\">sees</span>") && page.contains("dev.conll:2</small>"),
        "{page}"
    );
    assert!(page.contains("Mean entity F1 of 2 seeds") && page.contains("href=\"seed-2/report.html\""));
    std::fs::write(out.join("report.html"), "kept").unwrap();
    train_seeds(&configs, &out, Beginning::Resumed, &mut [])
        .unwrap()
        .unwrap();
    assert_eq!(read(&out.join("report.html")), b"kept");
}

/// A sweep over this corpus, with tables in place of `[grid]`.
fn sweep(dir: &Path, head: &str, tables: &str) -> Sweep {
    let corpus = dir.display();
    let text = format!(
        "{head}\n[options]\ndata = \"{corpus}\"\nvocab = \"{corpus}\"\ninit = \"scratch\"\nhidden_size = 32\nepochs = 4\n\
         batch_size = 4\nthreads = 2\n{tables}"
    );
    let path = dir.join("sweep-file.toml");
    std::fs::write(&path, text).unwrap();
    Sweep::read(&path).unwrap()
}

/// Runs a sweep, and returns its report with the runs that were trained.
fn swept(sweep: &Sweep, out: &Path, hook: &mut dyn TrainingHook) -> (Option<SweepReport>, Vec<String>) {
    let mut trained = Vec::new();
    let report = run_sweep(sweep, out, &mut [hook], |text| trained.push(text.to_owned())).unwrap();
    (report, trained)
}

struct Nothing;
impl TrainingHook for Nothing {}

#[test]
fn a_sweep_records_what_diverges_goes_on_and_puts_the_best_first() {
    let dir = tempfile::tempdir().unwrap();
    write_corpus(dir.path());
    std::fs::write(dir.path().join("test.conll"), "this is no test split\n").unwrap();
    let sweep = sweep(
        dir.path(),
        "seeds = [1, 2]",
        "warmup = 0.0\n[grid]\nlearning_rate = [1e-12, 5e-3, 1e30]\n",
    );
    let out = dir.path().join("out");
    let (report, trained) = swept(&sweep, &out, &mut Nothing);
    let report = report.unwrap();
    assert_eq!(trained.len(), 6);
    let names: Vec<&str> = report.outcomes.iter().map(|of| of.name.as_str()).collect();
    assert_eq!(names[0], "learning_rate=0.005");
    let failed = report.outcomes.last().unwrap();
    assert!(
        failed.failed.as_ref().unwrap().contains("step 2: the loss is"),
        "{failed:?}"
    );
    assert!(failed.dev_f1.is_none() && failed.runs.len() == 2);
    let best = report.best().unwrap();
    assert!(best.dev_f1.unwrap().mean > report.outcomes[1].dev_f1.unwrap().mean);
    assert!(best.command.contains("--learning-rate=0.005") && best.command.contains("--seeds=1,2"));
    let figures: serde_json::Value = serde_json::from_slice(&read(&out.join("sweep.json"))).unwrap();
    assert_eq!(figures["outcomes"][0]["name"], names[0]);
    let page = String::from_utf8(read(&out.join("sweep.html"))).unwrap();
    assert!(page.contains("3 of 3 combinations are complete, 1 of them failed."));
    // The best checkpoint is kept, and nothing that only a resumed run needs.
    let run = out.join(names[0]).join("seed-1");
    assert_eq!(std::fs::read_dir(run.join("checkpoints")).unwrap().count(), 1);
    CheckpointTagger::open(&run.join("best"), None, 1).unwrap();
    assert!(!run.join("best/training").exists());
}

#[test]
fn a_sweep_that_is_stopped_continues_to_the_last_bit_and_trains_what_is_added() {
    let dir = tempfile::tempdir().unwrap();
    write_corpus(dir.path());
    let grid = "[grid]\nlearning_rate = [1e-3, 5e-3]\n";
    let first = sweep(dir.path(), "checkpoints = \"all\"", grid);
    let (whole, out) = (dir.path().join("whole"), dir.path().join("out"));
    swept(&first, &whole, &mut Nothing).0.unwrap();
    let (stopped, trained) = swept(&first, &out, &mut Stop::after(7));
    assert!(stopped.is_none());
    assert_eq!(trained, ["combination 1 of 2: learning_rate=0.001"]);
    let (report, trained) = swept(&first, &out, &mut Nothing);
    assert_eq!(trained.len(), 2);
    for name in ["learning_rate=0.001", "learning_rate=0.005"] {
        assert_eq!(outcome(&out.join(name)), outcome(&whole.join(name)), "{name}");
    }
    let finished = read(&out.join("learning_rate=0.001/report.html"));
    let more = sweep(
        dir.path(),
        "checkpoints = \"none\"",
        "[grid]\nlearning_rate = [1e-3, 2e-3, 5e-3]\n",
    );
    let (added, trained) = swept(&more, &out, &mut Nothing);
    assert_eq!(trained, ["combination 2 of 3: learning_rate=0.002"]);
    let (report, added) = (report.unwrap(), added.unwrap());
    assert_eq!((report.outcomes.len(), added.outcomes.len()), (2, 3));
    assert!(
        report
            .outcomes
            .iter()
            .all(|outcome| added.outcomes.contains(outcome))
    );
    assert_eq!(read(&out.join("learning_rate=0.001/report.html")), finished);
    assert_eq!(
        std::fs::read_dir(out.join("learning_rate=0.001/checkpoints"))
            .unwrap()
            .count(),
        0
    );
    // A run whose checkpoints are removed does not begin anew.
    let options = TrainOptions {
        out: Some(out.join("learning_rate=0.001")),
        ..TrainOptions::default()
    };
    let config = crate::train::resume::resumed_config(options).unwrap();
    let error = train(&config, Beginning::Resumed, &mut []).unwrap_err();
    assert!(matches!(error, TrainError::LostCheckpoint { .. }), "{error}");
}

#[test]
fn a_sweep_with_other_fixed_options_needs_another_directory() {
    let dir = tempfile::tempdir().unwrap();
    write_corpus(dir.path());
    let grid = "[grid]\nlearning_rate = [1e-3]\n";
    let out = dir.path().join("out");
    let first = sweep(dir.path(), "", grid);
    assert_eq!(first.checkpoints, Checkpoints::Best);
    swept(&first, &out, &mut Stop::after(1));
    let other = sweep(dir.path(), "", &format!("dropout = 0.3\n{grid}"));
    let error = run_sweep(&other, &out, &mut [], |_| {}).unwrap_err();
    assert!(
        matches!(&error, SweepError::OtherOptions { option, .. } if option == "dropout"),
        "{error}"
    );
    assert!(
        error.to_string().contains("`dropout` not set, not 0.3"),
        "{error}"
    );
    // Another sweep writes it.
    let lock = crate::train::lock::RunLock::acquire(&out).unwrap();
    let error = run_sweep(&first, &out, &mut [], |_| {}).unwrap_err();
    assert!(error.to_string().contains("another process writes"), "{error}");
    drop(lock);
    // Other threads are no other sweep.
    let text = std::fs::read_to_string(dir.path().join("sweep-file.toml")).unwrap();
    std::fs::write(
        dir.path().join("t.toml"),
        text.replace("threads = 2\ndropout = 0.3\n", "threads = 1\n"),
    )
    .unwrap();
    let threads = Sweep::read(&dir.path().join("t.toml")).unwrap();
    assert!(swept(&threads, &out, &mut Nothing).0.is_some());
}
