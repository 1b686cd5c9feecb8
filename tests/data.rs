//! Corpora as people have them: Parquet, data sets of the hub, several files, a corpus without a dev split.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::fixture::{binary, fail, output, repository, succeed, tiny, tiny_corpus, train, train_on};
use crate::hub::Hub;

const BRANCH: &str = "refs/convert/parquet";

fn fixture(name: &str) -> PathBuf {
    repository().join(format!("crates/corpus/fixtures/{name}.parquet"))
}

/// The same sentences as the Parquet files, as CoNLL.
const COLUMNS: &str =
    "Ann\tB-PER\nLee\tI-PER\nsees\tO\nRome\tB-LOC\n\nit\tO\nrains\tO\n\nNew\tB-LOC\nYork\tI-LOC\n!\tO\n\n";

#[test]
fn parquet_trains_evaluates_calibrates_and_exports_as_the_same_sentences_do() {
    let dir = tempfile::tempdir().unwrap();
    let (columns, parquet) = (dir.path().join("columns"), dir.path().join("parquet"));
    for corpus in [&columns, &parquet] {
        fs::create_dir(corpus).unwrap();
        fs::copy(tiny().path("corpus/vocab.txt"), corpus.join("vocab.txt")).unwrap();
    }
    for split in ["train", "dev"] {
        fs::write(columns.join(format!("{split}.conll")), COLUMNS).unwrap();
    }
    fs::copy(
        fixture("class_label"),
        parquet.join("train-00000-of-00001.parquet"),
    )
    .unwrap();
    fs::copy(fixture("large"), parquet.join("validation.parquet")).unwrap();
    let weights = |corpus: &Path| {
        let run = corpus.join("run");
        succeed(&mut train_on(&["--data", corpus.to_str().unwrap()], corpus, &run));
        fs::read(run.join("last/model.safetensors")).unwrap()
    };
    assert!(weights(&columns) == weights(&parquet), "the weights differ");
    let best = parquet.join("run/best");
    let of = |command: &str, file: &Path| {
        let mut trainer = binary("nerve-trainer");
        trainer
            .arg(command)
            .arg("--checkpoint")
            .arg(&best)
            .arg("--data")
            .arg(file);
        trainer.args(["--threads", "1"]);
        trainer
    };
    let (text, table) = (columns.join("dev.conll"), fixture("class_label"));
    assert_eq!(
        succeed(&mut of("evaluate", &table)),
        succeed(&mut of("evaluate", &text))
    );
    let mut score = binary("nerve-trainer");
    score
        .args(["score", "--json", "--same-words", "--gold"])
        .arg(&table)
        .arg("--pred")
        .arg(&text);
    let found: Value = serde_json::from_str(&succeed(&mut score)).unwrap();
    assert_eq!(
        (&found["entity"]["f1"], &found["sentences"]),
        (&Value::from(1.0), &Value::from(3))
    );
    let said = output(&mut of("calibrate", &table));
    let expected = output(&mut of("calibrate", &text));
    assert_eq!(
        (said.status.code(), String::from_utf8_lossy(&said.stdout)),
        (expected.status.code(), String::from_utf8_lossy(&expected.stdout))
    );
    let version = |file: &Path, out: &str| -> Value {
        let out = dir.path().join(out);
        succeed(
            binary("nerve-export")
                .args([
                    "--precision",
                    "int8",
                    "--max-length",
                    "48",
                    "--name",
                    "tiny",
                    "--checkpoint",
                ])
                .arg(&best)
                .arg("--out")
                .arg(&out)
                .arg("--calibration")
                .arg(file),
        );
        let manifest: Value = serde_json::from_slice(&fs::read(out.join("manifest.json")).unwrap()).unwrap();
        manifest["version"].clone()
    };
    assert_eq!(version(&table, "of-table"), version(&text, "of-text"));
}

#[test]
fn types_are_mapped_in_evaluation_and_scoring_too() {
    let dir = tempfile::tempdir().unwrap();
    let (map, renamed) = (dir.path().join("map.toml"), dir.path().join("renamed.conll"));
    fs::write(&map, "human = \"person\"\nplace = \"location\"\n").unwrap();
    let text = fs::read_to_string(tiny().corpus()).unwrap();
    fs::write(
        &renamed,
        text.replace("-person", "-human").replace("-location", "-place"),
    )
    .unwrap();
    let evaluate = |file: &Path| {
        let mut command = binary("nerve-trainer");
        command
            .arg("evaluate")
            .arg("--checkpoint")
            .arg(tiny().checkpoint())
            .arg("--data")
            .arg(file);
        command
    };
    let expected = succeed(&mut evaluate(&tiny().corpus()));
    assert_eq!(
        succeed(evaluate(&renamed).arg("--map-labels").arg(&map)),
        expected
    );
    assert_ne!(succeed(&mut evaluate(&renamed)), expected);
    let warned = output(evaluate(&tiny().corpus()).arg("--map-labels").arg(&map));
    let warned = String::from_utf8(warned.stderr).unwrap();
    assert!(
        warned.contains("map.toml: the corpus has no type `human`, `place`; its types are location, person"),
        "{warned}"
    );
    let mut score = binary("nerve-trainer");
    score
        .args(["score", "--json", "--gold"])
        .arg(&renamed)
        .arg("--pred")
        .arg(tiny().corpus());
    score.arg("--map-labels").arg(&map);
    let found: Value = serde_json::from_str(&succeed(&mut score)).unwrap();
    assert_eq!(found["entity"]["f1"], 1.0);
}

#[test]
fn a_data_set_of_the_hub_is_trained_on_and_needs_no_network_after_that() {
    let (hub, dir) = (Hub::start(), tempfile::tempdir().unwrap());
    let (class_label, large) = (
        fs::read(fixture("class_label")).unwrap(),
        fs::read(fixture("large")).unwrap(),
    );
    let files: [(&str, &[u8]); 2] = [
        ("default/train/0000.parquet", &class_label),
        ("default/validation/0000.parquet", &large),
    ];
    hub.commit("datasets/some/set", BRANCH, &files);
    let vocabulary = tiny().path("corpus");
    let trained = |name: &str, out: &str| {
        let mut command = train_on(&["--data", name], &vocabulary, &dir.path().join(out));
        command
            .env("HF_ENDPOINT", &hub.url)
            .env("HF_HUB_CACHE", dir.path().join("cache"));
        command.env_remove("HF_HUB_OFFLINE").env_remove("HF_TOKEN");
        command
    };
    succeed(&mut trained("some/set", "run"));
    let weights = |out: &str| fs::read(dir.path().join(out).join("last/model.safetensors")).unwrap();
    hub.forget();
    succeed(trained("some/set", "offline").env("HF_HUB_OFFLINE", "1"));
    assert!(hub.requests("").is_empty());
    assert!(weights("offline") == weights("run"), "the weights differ");
    let message = fail(&mut trained("no/set", "none"));
    assert!(
        message.contains("`no/set` is no directory, and as a data set of the hub: no/set: list of files: ")
            && message.contains("has no such data set (404)"),
        "{message}"
    );
    assert!(!dir.path().join("none").exists());
}

#[test]
fn a_corpus_without_a_dev_split_is_trained_published_and_resumed() {
    let dir = tempfile::tempdir().unwrap();
    tiny_corpus(dir.path());
    fs::remove_file(dir.path().join("dev.conll")).unwrap();
    let (run, store) = (dir.path().join("run"), dir.path().join("store"));
    let command = |epochs: &str| {
        let mut command = train(dir.path(), &run);
        command.args(["--epochs", epochs, "--publish"]).arg(&store);
        command
    };
    let said = output(&mut command("4"));
    assert!(said.status.success());
    let said = String::from_utf8(said.stderr).unwrap();
    assert!(said.contains("the corpus has no dev split: "), "{said}");
    let evaluated = binary("nerve-trainer")
        .args(["evaluate", "--max-length", "48", "--checkpoint"])
        .arg(run.join("best"))
        .arg("--data")
        .arg(run.join("dev.jsonl"))
        .arg("--json")
        .arg(dir.path().join("dev.json"))
        .output()
        .unwrap();
    assert!(evaluated.status.success());
    let found: Value = serde_json::from_slice(&fs::read(dir.path().join("dev.json")).unwrap()).unwrap();
    let records = fs::read_to_string(run.join("records.jsonl")).unwrap();
    let records: Vec<Value> = records
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let best = records.iter().rfind(|record| record["best"] == true).unwrap();
    assert_eq!(found["entity"]["f1"], best["dev_entity"]["f1"]);
    let manifest = fs::read(store.join("current/manifest.json")).unwrap();
    let manifest: Value = serde_json::from_slice(&manifest).unwrap();
    assert_eq!(manifest["evaluation"]["split"], "dev");
    let message = fail(&mut {
        let mut command = train(&tiny().path("corpus"), &dir.path().join("other"));
        command.args(["--dev-fraction", "0.2"]);
        command
    });
    assert!(
        message.contains("`dev_fraction` has no effect, because the corpus has a dev split"),
        "{message}"
    );
}

#[test]
fn a_corpus_is_inspected_without_a_training() {
    let dir = tempfile::tempdir().unwrap();
    tiny_corpus(dir.path());
    let mut text = fs::read_to_string(dir.path().join("train.conll")).unwrap();
    text += "\nAnn\tB-PERSON\n\nNoise\tB-location\n";
    fs::write(dir.path().join("train.conll"), text).unwrap();
    let inspect = || {
        let mut command = binary("nerve-trainer");
        command.arg("inspect").arg("--data").arg(dir.path());
        command
    };
    let json = succeed(
        inspect()
            .arg("--base")
            .arg(dir.path())
            .args(["--max-length", "16", "--json"]),
    );
    let found: Value = serde_json::from_str(&json).unwrap();
    let train = &found["splits"][0];
    assert_eq!(
        (&train["split"], &train["types"]["PERSON"]),
        (&"train".into(), &1.into())
    );
    assert_eq!(found["splits"].as_array().unwrap().len(), 3);
    assert!(
        train["tokens"]["cut"].as_u64().unwrap() > 0
            && train["tokens"]["tokens"].as_u64() > train["words"].as_u64()
    );
    let warnings = found["warnings"].to_string();
    for text in [
        "differ only in case: PERSON, person",
        "PERSON (1)",
        "longer than 16 tokens",
        "of test are in dev too",
    ] {
        assert!(warnings.contains(text), "{text}: {warnings}");
    }
    let shown = output(
        inspect()
            .args(["--test"])
            .arg(fixture("numbers"))
            .args(["--labels", "O,B-PER,I-PER,B-LOC,I-LOC"]),
    );
    let (table, said) = (
        String::from_utf8(shown.stdout).unwrap(),
        String::from_utf8(shown.stderr).unwrap(),
    );
    assert!(
        table.contains("entities by type") && table.contains("longest sentence, in words"),
        "{table}"
    );
    assert!(!table.contains("tokens"), "{table}");
    assert!(
        said.contains("numbers.parquet has entities of types that no training sentence has (LOC, PER)"),
        "{said}"
    );
}
