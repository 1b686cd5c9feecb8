//! Which evaluation of a run is the best one, and what follows it.

use super::*;

fn with(dir: &Path, out: &str, text: &str) -> TrainOptions {
    let other: TrainOptions = toml::from_str(text).unwrap();
    other.or(options(dir, out))
}

/// Adds an entity of a type that is not trained to the dev split.
fn add_place(dir: &Path) {
    let dev = dir.join("dev.conll");
    let text = std::fs::read_to_string(&dev).unwrap();
    std::fs::write(&dev, text + "Rome\tB-loc\n").unwrap();
}

#[test]
fn the_best_evaluation_is_the_best_one_by_the_configured_measure() {
    let dir = tempfile::tempdir().unwrap();
    write_corpus(dir.path());
    add_place(dir.path());
    let mut steps = std::collections::BTreeSet::new();
    for select_by in ["micro", "macro", "loc", "loss"] {
        let text = format!("select_by = \"{select_by}\"\nevaluate_every = 2");
        let report = run(with(dir.path(), select_by, &text)).unwrap();
        let select_by = crate::train::SelectBy::from(select_by.to_owned());
        let best = report.best_record().unwrap();
        assert!(
            !report
                .records
                .iter()
                .any(|record| select_by.prefers(record, best))
        );
        assert_eq!(best.dev_types.len(), 2);
        steps.insert(best.step);
        let card = std::fs::read_to_string(report.best.join("README.md")).unwrap();
        assert!(
            card.contains(&format!("which had the best {}", select_by.measure())),
            "{card}"
        );
    }
    // No entity of `loc` is found, so that its lowest loss decides, as for `loss`, which is not that of the highest F1.
    assert!(steps.len() > 1, "{steps:?}");
}

#[test]
fn a_type_that_the_dev_split_does_not_have_is_refused_with_those_it_has() {
    let dir = tempfile::tempdir().unwrap();
    write_corpus(dir.path());
    add_place(dir.path());
    let error = run(with(dir.path(), "run", "select_by = \"person\""))
        .unwrap_err()
        .to_string();
    assert!(
        error.contains(
            "has no entity of type `person`; give micro, macro, loss or one of its types: loc, per"
        ),
        "{error}"
    );
    assert!(!dir.path().join("run").exists());
}

#[test]
fn the_schedule_plateau_and_patience_follow_the_measure() {
    let dir = tempfile::tempdir().unwrap();
    write_corpus(dir.path());
    add_place(dir.path());
    // Nothing is learnt: an F1 of 0, as that of `per`, lets the schedule wait, and a score that stays does not.
    let text =
        "schedule = \"plateau\"\nplateau_patience = 0\nwarmup = 0.0\nepochs = 4\nlearning_rate = 1e-12";
    let rates = |select_by: &str| {
        let text = format!("select_by = \"{select_by}\"\n{text}");
        let report = run(with(dir.path(), select_by, &text)).unwrap();
        let record = &report.records[0];
        assert!(record.dev_entity.f1 > 0.0 && record.dev_types["per"].entity.f1 == 0.0);
        let rates = report.records.iter().map(|record| record.learning_rate);
        rates.collect::<Vec<f64>>()
    };
    assert_eq!(rates("per"), [1e-12; 4]);
    for select_by in ["micro", "loss"] {
        let fallen = rates(select_by);
        assert!(fallen[3] < 0.2 * fallen[0], "{select_by}: {fallen:?}");
    }
    let text = "learning_rate = 1e-12\npatience = 2\nselect_by = \"loss\"";
    train(
        &TrainConfig::new(with(dir.path(), "patience", text)).unwrap(),
        Beginning::New,
        &mut [],
    )
    .unwrap();
    let page = std::fs::read_to_string(dir.path().join("patience/report.html")).unwrap();
    assert!(page.contains("no better dev loss in 2 evaluations"));
}

#[test]
fn r_drop_without_dropout_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    write_corpus(dir.path());
    let none = "r_drop = 1.0\ndropout = 0.0\nattention_dropout = 0.0";
    let error = run(with(dir.path(), "none", none)).unwrap_err();
    assert!(matches!(error, TrainError::RDropWithoutDropout), "{error}");
    for some in [
        "dropout = 0.1\nattention_dropout = 0.0",
        "dropout = 0.0\nattention_dropout = 0.1",
    ] {
        run(with(
            dir.path(),
            &some.len().to_string(),
            &format!("r_drop = 1.0\nepochs = 1\n{some}"),
        ))
        .unwrap();
        std::fs::remove_dir_all(dir.path().join(some.len().to_string())).unwrap();
    }
}
