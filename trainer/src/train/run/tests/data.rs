//! What a training reads: files by name, a drawn dev split, mapped types; and what it tells of them.

use super::*;
use crate::train::run::tests::resuming::Stop;

/// A corpus of different sentences without a dev file.
fn write_train_only(dir: &Path) {
    write_corpus(dir);
    std::fs::remove_file(dir.join("dev.conll")).unwrap();
    let sentence = |at: usize| {
        let (name, verb) = (["Ann", "Bob"][at % 2], ["sees", "and", "a"][at % 3]);
        format!("{name}\tB-per\n{verb}\tO\nw{at}\tO\n\n")
    };
    let text: String = (0..40).map(sentence).collect();
    std::fs::write(dir.join("train.conll"), text).unwrap();
}

fn short(dir: &Path, out: &str) -> TrainOptions {
    TrainOptions {
        epochs: Some(2),
        evaluate_every: Some(4),
        ..options(dir, out)
    }
}

#[test]
fn a_dev_split_is_drawn_kept_in_the_run_and_the_same_when_resumed() {
    let dir = tempfile::tempdir().unwrap();
    write_train_only(dir.path());
    let options = |out: &str| TrainOptions {
        dev_fraction: Some(0.25),
        ..short(dir.path(), out)
    };
    let whole = run(options("whole")).unwrap();
    let path = dir.path().join("whole/dev.jsonl");
    let drawn = Notice::DrawnDev {
        dev: 10,
        train: 30,
        seed: 42,
        path: path.clone(),
    };
    assert!(whole.notices.contains(&drawn), "{:?}", whole.notices);
    let page = std::fs::read_to_string(dir.path().join("whole/report.html")).unwrap();
    assert!(page.contains("the corpus has no dev split: 10 of its 40 training sentences"));
    // The best checkpoint has on the file the score that the run has on record.
    let dev = Corpus::read(&path).unwrap();
    let mut best = CheckpointTagger::open(&whole.best, 128, 1).unwrap();
    let found = evaluate(&mut best, &dev.sentences).unwrap();
    assert_eq!(found.score.entity, whole.best_record().unwrap().dev_entity);
    let lines: Vec<usize> = whole.steps.iter().flat_map(|step| step.lines.clone()).collect();
    assert_eq!(lines.len(), 60);
    let config = TrainConfig::new(options("stopped")).unwrap();
    train(&config, Beginning::New, &mut [&mut Stop::after(5)]).unwrap();
    let resumed = train(&config, Beginning::Resumed, &mut []).unwrap();
    assert_eq!((&resumed.records, &resumed.steps), (&whole.records, &whole.steps));
    let read = |out: &str| std::fs::read(dir.path().join(out).join("dev.jsonl")).unwrap();
    assert_eq!(read("stopped"), read("whole"));
    // Another seed of the training has the same dev split, another seed of the split has not.
    run(TrainOptions {
        seed: Some(7),
        ..options("seeded")
    })
    .unwrap();
    assert_eq!(read("seeded"), read("whole"));
    run(TrainOptions {
        dev_seed: Some(7),
        ..options("other")
    })
    .unwrap();
    assert_ne!(read("other"), read("whole"));
}

#[test]
fn a_run_is_not_resumed_with_another_dev_split() {
    let dir = tempfile::tempdir().unwrap();
    write_train_only(dir.path());
    let config = TrainConfig::new(short(dir.path(), "run")).unwrap();
    train(&config, Beginning::New, &mut [&mut Stop::after(2)]).unwrap();
    let dev = Corpus::read(&dir.path().join("run/dev.jsonl")).unwrap();
    // A tag of a sentence of the dev split, so that the training sentences stay the same.
    let [word, ..] = &dev.sentences[0].words[2..] else {
        panic!("a short sentence");
    };
    let path = dir.path().join("train.conll");
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::write(
        &path,
        text.replace(&format!("{word}\tO\n"), &format!("{word}\tB-per\n")),
    )
    .unwrap();
    let error = train(&config, Beginning::Resumed, &mut []).unwrap_err();
    assert!(matches!(error, TrainError::OtherDev { .. }), "{error}");
}

#[test]
fn named_files_of_every_format_are_one_split() {
    let dir = tempfile::tempdir().unwrap();
    write_corpus(dir.path());
    let json = "{\"words\": [\"Bob\", \"sees\"], \"tags\": [\"S-per\", \"O\"]}\n".repeat(4);
    std::fs::write(dir.path().join("b.jsonl"), json).unwrap();
    let conll = "Ann\tB-per\nand\tO\n\n".repeat(4);
    std::fs::write(dir.path().join("a.conll"), conll).unwrap();
    let report = run(TrainOptions {
        train: Some(vec![format!("{}/[ab].*", dir.path().display())]),
        batch_size: Some(8),
        ..short(dir.path(), "run")
    })
    .unwrap();
    let mut lines = report.steps[0].lines.clone();
    lines.sort_unstable();
    assert_eq!(lines, [1, 1, 2, 3, 4, 4, 7, 10]);
    let summary = report.notices.iter().find_map(|notice| match notice {
        Notice::Corpus(summary) => Some(&summary.splits),
        _ => None,
    });
    let counts = |split: &crate::summary::SplitSummary| (split.files.len(), split.sentences, split.entities);
    let counts: Vec<_> = summary.unwrap().iter().map(counts).collect();
    assert_eq!(counts, [(2, 8, 8), (1, 3, 4)]);
    let error = run(TrainOptions {
        learning_rate: Some(1e30),
        warmup: Some(0.0),
        batch_size: Some(8),
        train: Some(vec![format!("{}/[ab].*", dir.path().display())]),
        ..short(dir.path(), "explodes")
    });
    let error = error.unwrap_err().to_string();
    assert!(
        error.contains("a.conll, lines ") && error.contains("b.jsonl, lines "),
        "{error}"
    );
}

#[test]
fn types_are_learned_as_the_map_names_them() {
    let dir = tempfile::tempdir().unwrap();
    write_corpus(dir.path());
    let map = dir.path().join("map.toml");
    let with_map = |text: &str, out: &str| {
        std::fs::write(&map, text).unwrap();
        run(TrainOptions {
            map_labels: Some(map.clone()),
            evaluate_test: Some(true),
            ..options(dir.path(), out)
        })
    };
    let report = with_map("per = \"person\"\n", "renamed").unwrap();
    let best = CheckpointTagger::open(&report.best, None, 1).unwrap();
    assert_eq!(crate::evaluate::Tagger::labels(&best).types(), ["person"]);
    assert_eq!(report.best_record().unwrap().dev_entity.f1, 1.0);
    assert_eq!(report.test.unwrap().evaluation.score.counts.correct, 1);
    let error = with_map("pers = \"person\"\n", "unknown")
        .unwrap_err()
        .to_string();
    assert!(
        error.ends_with("map.toml: the corpus has no type `pers`; its types are per"),
        "{error}"
    );
    let error = with_map("per = \"\"\n", "dropped").unwrap_err().to_string();
    assert!(error.contains("there is no entity to learn"), "{error}");
}

#[test]
fn the_corpus_is_counted_before_it_is_trained_on() {
    let dir = tempfile::tempdir().unwrap();
    write_corpus(dir.path());
    let long = "Ann\tB-Per\n".repeat(30) + "zebra\tO\n";
    let path = dir.path().join("train.conll");
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, text + &long).unwrap();
    let report = run(TrainOptions {
        max_length: Some(16),
        ..short(dir.path(), "run")
    })
    .unwrap();
    let texts: Vec<String> = report.notices.iter().map(ToString::to_string).collect();
    let told = |text: &str| texts.iter().any(|notice| notice.contains(text));
    let mut unknown = texts
        .iter()
        .flat_map(|text| text.lines())
        .filter(|line| line.starts_with("unknown tokens"));
    let counts: Vec<&str> = unknown.next().unwrap().split_whitespace().skip(2).collect();
    assert_eq!(counts, ["1", "0"]);
    for text in [
        "entity types differ only in case: Per, per",
        "1 sentence of train is longer than 16 tokens",
        "3 sentences of dev are in train too",
    ] {
        assert!(told(text), "{text}: {texts:#?}");
    }
    let page = std::fs::read_to_string(dir.path().join("run/report.html")).unwrap();
    assert!(page.contains("<h2>Data</h2>") && page.contains("sentences over 16 tokens"));
    assert!(page.contains("differ only in case"));
}
