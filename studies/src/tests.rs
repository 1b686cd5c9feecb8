use std::path::Path;

use super::metric::PaddedMetric;
use super::*;
use crate::testing::write_corpus;
use nerve_trainer::{Beginning, TestedCheckpoint, TrainConfig, TrainOptions, train};

const STUDY: &str = r#"
name = "A <study>"
about = "Of little."
layers = 2
margin = 0.01

[common]
epochs = 2
batch_size = 4
learning_rate = 5e-3
label_subwords = "all"
reports = false

[[start]]
name = "scratch"
options = { init = "scratch", hidden_size = 64, layers = 2 }

[[start]]
name = "base"

[[variant]]
id = "reference"
name = "reference"
group = "a"
reported = [{ epoch = 2, loss = 0.5, precision = 0.9, accuracy = 0.91, f1 = 0.92 }]

[[variant]]
id = "wild"
name = "a rate too high"
group = "a"
options = { learning_rate = 1e30, warmup = 0.0 }
not_from = ["base"]

[[variant]]
id = "tested"
name = "tested"
group = "b"
options = { evaluate_test = true, test_checkpoint = "last", epochs = 12 }
from = { base = { epochs = 1 } }

[[claim]]
text = "more epochs help"
better = "tested"
worse = ["tested@1"]

[[claim]]
text = "wild is better"
better = "wild"
worse = ["reference"]
"#;

fn settings(dir: &Path) -> StudySettings {
    StudySettings {
        data: dir.to_string_lossy().into_owned(),
        out: dir.join("study"),
        base: dir.join("base/best").to_string_lossy().into_owned(),
        scale: "1/2".parse().unwrap(),
        threads: Some(1),
        only: Vec::new(),
        starts: Vec::new(),
        wnut17_url: None,
    }
}

/// A corpus, a trained base of two layers and a study file.
fn setting() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    write_corpus(dir.path());
    let base: TrainOptions =
        toml::from_str("init = \"scratch\"\nhidden_size = 32\nepochs = 1\nthreads = 1").unwrap();
    let base = TrainOptions {
        data: Some(dir.path().to_string_lossy().into_owned()),
        vocab: Some(dir.path().to_owned()),
        out: Some(dir.path().join("base")),
        ..base
    };
    train(&TrainConfig::new(base).unwrap(), Beginning::New, &mut []).unwrap();
    std::fs::write(dir.path().join("study.toml"), STUDY).unwrap();
    dir
}

fn ran(dir: &Path, announced: &mut Vec<String>) -> StudyOutcome {
    let study = Study::read(&dir.join("study.toml")).unwrap();
    let announce = |variant: &str| announced.push(variant.to_owned());
    run_study(&study, &settings(dir), &mut [], announce)
        .unwrap()
        .unwrap()
}

#[test]
fn a_study_runs_every_variant_from_every_start_and_reports() {
    let dir = setting();
    let mut announced = Vec::new();
    let found = ran(dir.path(), &mut announced);
    assert_eq!(
        announced,
        [
            "reference from scratch",
            "a rate too high from scratch",
            "tested from scratch",
            "reference from base",
            "tested from base"
        ]
    );
    let reference = found.outcome("scratch", "reference").unwrap();
    assert_eq!(
        (reference.options.hidden_size, reference.options.layers),
        (Some(32), Some(1))
    );
    assert_eq!(
        found.outcome("base", "reference").unwrap().options.layers,
        Some(1)
    );
    assert!(
        reference
            .records
            .iter()
            .all(|record| record.train_padded.is_some())
    );
    let wild = found.outcome("scratch", "wild").unwrap();
    assert!(
        wild.stopped.as_ref().unwrap().contains("lines"),
        "{:?}",
        wild.stopped
    );
    let tested = found.outcome("scratch", "tested").unwrap();
    assert_eq!(tested.test.unwrap().entity.f1, 1.0);
    let last = &tested.records.last().unwrap().evaluation;
    assert_eq!(
        (tested.test.unwrap().checkpoint, tested.test.unwrap().step),
        (TestedCheckpoint::Last, last.step)
    );
    assert!(tested.test.unwrap().outside.accuracy < tested.test.unwrap().padded.accuracy);
    let out = dir.path().join("study");
    let html = std::fs::read_to_string(out.join("report.html")).unwrap();
    assert!(html.contains("A &lt;study&gt;") && html.contains("holds") && html.contains("not run"));
    let csv = std::fs::read_to_string(out.join("study.csv")).unwrap();
    assert!(csv.contains("scratch,reference,2,0.5,0.9,0.91,0.92,"), "{csv}");
    for file in ["study.json", "study.csv", "report.html"] {
        let text = std::fs::read_to_string(out.join(file)).unwrap();
        assert!(!text.contains(&*dir.path().to_string_lossy()), "{file}");
    }
    assert!(html.contains(&format!("last, after step {}", last.step)));
    assert!(!out.join("runs/scratch/reference/checkpoints").exists());
}

#[test]
fn a_study_goes_on_where_it_stopped_and_is_not_mixed_with_another() {
    let dir = setting();
    let first = ran(dir.path(), &mut Vec::new());
    let outcomes = dir.path().join("study/outcomes");
    std::fs::remove_file(outcomes.join("base/tested.json")).unwrap();
    std::fs::remove_dir_all(dir.path().join("study/runs")).unwrap();
    let again = ran(dir.path(), &mut Vec::new());
    for (first, again) in first.outcomes.iter().zip(&again.outcomes) {
        assert_eq!((&first.variant, &first.records), (&again.variant, &again.records));
    }
    let study = Study::read(&dir.path().join("study.toml")).unwrap();
    let other = StudySettings {
        scale: Scale::default(),
        ..settings(dir.path())
    };
    let error = run_study(&study, &other, &mut [], |_| ()).unwrap_err();
    assert!(
        matches!(
            error,
            StudyError::OtherOptions {
                option: "hidden_size",
                ..
            }
        ),
        "{error}"
    );
    let mut padded = Study::read(&dir.path().join("study.toml")).unwrap();
    padded.starts[0].train_on_padding = true;
    let error = run_study(&padded, &settings(dir.path()), &mut [], |_| ()).unwrap_err();
    assert!(error.to_string().contains("`train_on_padding`"), "{error}");
}

#[test]
fn where_a_study_lies_and_its_threads_make_it_no_other() {
    let dir = setting();
    let first = ran(dir.path(), &mut Vec::new());
    // A process killed after an outcome was written leaves its checkpoints.
    let left = dir.path().join("study/runs/base/tested/checkpoints/step-000001");
    std::fs::create_dir_all(&left).unwrap();
    std::fs::rename(dir.path().join("study"), dir.path().join("moved")).unwrap();
    let study = Study::read(&dir.path().join("study.toml")).unwrap();
    let moved = StudySettings {
        out: dir.path().join("moved"),
        threads: Some(2),
        ..settings(dir.path())
    };
    let again = run_study(&study, &moved, &mut [], |_| ()).unwrap().unwrap();
    assert_eq!(again, first);
    assert!(!dir.path().join("moved/runs/base/tested/checkpoints").exists());
}

#[test]
fn a_run_that_was_stopped_goes_on_with_its_own_threads() {
    let dir = setting();
    let study = Study::read(&dir.path().join("study.toml")).unwrap();
    let only = |threads| StudySettings {
        only: vec!["reference".to_owned()],
        threads,
        ..settings(dir.path())
    };
    let found = run_study(&study, &only(Some(2)), &mut [], |_| ())
        .unwrap()
        .unwrap();
    let whole = found.outcome("scratch", "reference").unwrap();
    // As a process killed before it wrote the outcome leaves the run.
    std::fs::remove_dir_all(dir.path().join("study")).unwrap();
    let options = TrainOptions {
        out: Some(dir.path().join("study/runs/scratch/reference")),
        data: Some(dir.path().to_string_lossy().into_owned()),
        base: Some(dir.path().join("base/best").to_string_lossy().into_owned()),
        ..whole.options.clone()
    };
    let config = TrainConfig::new(options).unwrap();
    let mut metric = PaddedMetric::new(&config.out, false);
    train(&config, Beginning::New, &mut [&mut metric]).unwrap();
    let again = run_study(&study, &only(None), &mut [], |_| ()).unwrap().unwrap();
    let again = again.outcome("scratch", "reference").unwrap();
    assert_eq!((&again.records, again.options.threads), (&whole.records, Some(2)));
}

#[test]
fn a_part_of_a_study_is_named_rightly_and_leaves_the_report_whole() {
    let dir = setting();
    let study = Study::read(&dir.path().join("study.toml")).unwrap();
    let only = |id: &str| StudySettings {
        only: vec![id.to_owned()],
        ..settings(dir.path())
    };
    let error = run_study(&study, &only("referense"), &mut [], |_| ()).unwrap_err();
    assert!(
        matches!(&error, StudyError::NoVariant { id, known } if id == "referense" && known.contains("reference")),
        "{error}"
    );
    let part = run_study(&study, &only("wild"), &mut [], |_| ())
        .unwrap()
        .unwrap();
    assert_eq!(part.outcomes.len(), 1);
    let from = |start: &str| StudySettings {
        starts: vec![start.to_owned()],
        ..only("reference")
    };
    let error = run_study(&study, &from("nowhere"), &mut [], |_| ()).unwrap_err();
    assert!(
        matches!(&error, StudyError::NoStart { name, known } if name == "nowhere" && known.contains("scratch")),
        "{error}"
    );
    let part = run_study(&study, &from("base"), &mut [], |_| ())
        .unwrap()
        .unwrap();
    assert!(part.outcome("base", "reference").is_some());
    assert!(part.outcome("scratch", "reference").is_none());
    let whole = ran(dir.path(), &mut Vec::new());
    let mut announced = Vec::new();
    let again = run_study(&study, &only("wild"), &mut [], |name| {
        announced.push(name.to_owned());
    });
    assert_eq!(again.unwrap().unwrap(), whole);
    assert_eq!(announced, ["a rate too high from scratch"]);
}

#[test]
fn a_file_that_is_not_of_one_piece_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("study.toml");
    for (from, to, problem) in [
        ("id = \"wild\"", "id = \"reference\"", "two entries of `variant`"),
        ("id = \"wild\"", "id = \"../wild\"", "the name `../wild`"),
        (
            "not_from = [\"base\"]",
            "not_from = [\"bose\"]",
            "the start `bose`",
        ),
        ("worse = [\"reference\"]", "worse = [\"nothing\"]", "`nothing`"),
        ("margin", "margine", "margine"),
        ("[common]", "[common]\nthreads = 2", "`threads` of `common`"),
        (
            "hidden_size = 64",
            "hidden_size = 64, base = \"b\"",
            "`base` of the start `scratch`",
        ),
        ("warmup = 0.0", "out = \"o\"", "`out` of the variant `wild`"),
        (
            "base = { epochs = 1 }",
            "base = { data = \"d\" }",
            "`data` of the variant `tested`",
        ),
        ("warmup = 0.0", "seeds = [1]", "`seeds` of the variant `wild`"),
        (
            "warmup = 0.0",
            "teacher = [\"t\"]",
            "`teacher` of the variant `wild`",
        ),
        (
            "warmup = 0.0",
            "symbol_noise = 0.1",
            "`symbol_noise` of the variant `wild`",
        ),
        ("layers = 2\nmargin", "layers = 0\nmargin", "`layers`"),
        (
            "warmup = 0.0",
            "label_subwords = \"first\"",
            "variant `wild` needs",
        ),
    ] {
        std::fs::write(&path, STUDY.replacen(from, to, 1)).unwrap();
        let error = Study::read(&path).unwrap_err().to_string();
        assert!(error.contains(problem), "{problem}: {error}");
    }
}

#[test]
fn shipped_studies_are_of_one_piece_and_their_options_are_valid() {
    for (file, extent) in [
        ("bert-ner-wnut17.toml", (2, 21)),
        ("bert-ner-wnut17-full-size.toml", (1, 3)),
    ] {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(file);
        let study = Study::read(&path).unwrap();
        assert_eq!((study.starts.len(), study.variants.len()), extent, "{file}");
        for start in &study.starts {
            for variant in &study.variants {
                let Some(options) = study.options(variant, start) else {
                    continue;
                };
                let options = TrainOptions {
                    data: Some("d".to_owned()),
                    base: Some("b".to_owned()),
                    out: Some("o".into()),
                    ..options
                };
                TrainConfig::new(options).unwrap();
            }
        }
    }
}
