//! Checkpoint folders as `--model`, exported once and kept in the cache.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use nerve_repository::Family;
use serde_json::{Value, json};

use crate::fixture::{binary, copy_files, fail, output, repository, succeed, tiny};
use crate::server::Server;

pub(crate) const EXPORTED: &str = "the checkpoint is exported and verified";
pub(crate) const CACHED: &str = "the checkpoint's bundle is in the cache";
pub(crate) const TEXT: &str = "Ann Lee went to Rome .";

pub(crate) fn family(family: Family) -> PathBuf {
    repository()
        .join("tests/families/fixtures")
        .join(family.model_type())
}

/// A copy of the tiny checkpoint in the folder `name` of a directory.
pub(crate) fn copy_of_tiny(dir: &Path, name: &str) -> PathBuf {
    let copy = dir.join(name);
    copy_files(&tiny().checkpoint(), &copy);
    copy
}

pub(crate) fn edit_config(checkpoint: &Path, edit: impl FnOnce(&mut Value)) {
    let path = checkpoint.join("config.json");
    let mut config: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    edit(&mut config);
    fs::write(&path, config.to_string()).unwrap();
}

/// The bundles in a cache.
pub(crate) fn bundles(cache: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(cache.join("bundles")).into_iter().flatten();
    let mut found: Vec<PathBuf> = entries
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.is_dir())
        .collect();
    found.sort();
    found
}

pub(crate) fn serve(model: &Path, cache: &Path, options: &[&str]) -> Server {
    Server::start_with(model, options, &[("NERVE_CACHE", cache.to_str().unwrap())])
}

/// `nerve-server tag` of one text.
pub(crate) fn tag(model: &Path, cache: &Path) -> Command {
    let text = cache.with_extension("txt");
    // A process that was started before may be reading it.
    if !text.exists() {
        fs::write(&text, TEXT).unwrap();
    }
    let mut command = binary("nerve-server");
    command.arg("tag").arg(text).arg("--model").arg(model);
    command.env("NERVE_CACHE", cache);
    command
}

pub(crate) fn entities(server: &Server) -> Value {
    let answer = server.post("/ner", &json!({"text": TEXT}));
    assert_eq!(answer.status, 200, "{}", answer.body);
    answer.body["entities"].clone()
}

#[test]
fn a_checkpoint_folder_of_each_family_is_exported_once() {
    let dir = tempfile::tempdir().unwrap();
    for family_name in Family::ALL {
        let cache = dir.path().join(family_name.model_type());
        let checkpoint = family(family_name);
        let first = serve(&checkpoint, &cache, &[]);
        assert!(first.log().contains(EXPORTED), "{}", first.log());
        let info = first.get("/info").body;
        assert_eq!(info["model"]["precision"], "fp32");
        assert_eq!(info["model"]["name"], family_name.model_type());
        let second = serve(&checkpoint, &cache, &[]);
        assert!(second.log().contains(CACHED) && !second.log().contains(EXPORTED));
        assert_eq!(entities(&first), entities(&second));
        assert_eq!(bundles(&cache).len(), 1);
    }
}

#[test]
fn int8_and_other_options_make_bundles_of_their_own() {
    let dir = tempfile::tempdir().unwrap();
    let (cache, checkpoint) = (dir.path().join("cache"), tiny().checkpoint());
    let corpus = tiny().corpus();
    let shorter = dir.path().join("shorter.conll");
    let text = fs::read_to_string(&corpus).unwrap();
    fs::write(&shorter, text.replace("today\tO\n", "")).unwrap();
    for (at, calibration) in [&corpus, &shorter].into_iter().enumerate() {
        let options = [
            "--precision",
            "int8",
            "--calibration",
            calibration.to_str().unwrap(),
        ];
        let server = serve(&checkpoint, &cache, &options);
        assert_eq!(server.get("/info").body["model"]["precision"], "int8");
        assert_eq!(entities(&server)[0]["text"], "Ann Lee");
        assert_eq!(bundles(&cache).len(), at + 1);
    }
    let server = serve(&checkpoint, &cache, &["--splitter", "whitespace"]);
    assert_eq!(server.get("/info").body["model"]["splitter"], "whitespace");
    assert_eq!(bundles(&cache).len(), 3);
}

#[test]
fn changed_weights_make_another_bundle() {
    let dir = tempfile::tempdir().unwrap();
    let cache = dir.path().join("cache");
    let checkpoint = copy_of_tiny(dir.path(), "checkpoint");
    succeed(&mut tag(&checkpoint, &cache));
    let weights = checkpoint.join("model.safetensors");
    let modified = fs::metadata(&weights).unwrap().modified().unwrap();
    let mut bytes = fs::read(&weights).unwrap();
    // The lowest bits of the last weight, so that the size, the time and nearly every answer stay.
    let at = bytes.len() - 4;
    bytes[at] ^= 1;
    fs::write(&weights, bytes).unwrap();
    let file = fs::File::options().write(true).open(&weights).unwrap();
    file.set_modified(modified).unwrap();
    succeed(&mut tag(&checkpoint, &cache));
    assert_eq!(bundles(&cache).len(), 2);
}

/// Starts a program, whose outputs are pipes.
fn spawn(command: &mut Command) -> Child {
    command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

#[test]
fn processes_that_start_together_export_once() {
    let dir = tempfile::tempdir().unwrap();
    let cache = dir.path().join("cache");
    let started: Vec<Child> = (0..3)
        .map(|_| spawn(&mut tag(&tiny().checkpoint(), &cache)))
        .collect();
    let mut logs = String::new();
    let mut answers = Vec::new();
    for process in started {
        let output = process.wait_with_output().unwrap();
        assert!(output.status.success(), "{output:?}");
        logs += &String::from_utf8(output.stderr).unwrap();
        answers.push(output.stdout);
    }
    assert_eq!(logs.matches(EXPORTED).count(), 1, "{logs}");
    assert!(answers.iter().all(|answer| *answer == answers[0]));
    assert_eq!(bundles(&cache).len(), 1);
}

#[test]
fn a_damaged_bundle_is_exported_again() {
    let dir = tempfile::tempdir().unwrap();
    let cache = dir.path().join("cache");
    let run = || {
        let output = output(&mut tag(&tiny().checkpoint(), &cache));
        assert!(output.status.success(), "{output:?}");
        (output.stdout, String::from_utf8(output.stderr).unwrap())
    };
    let (expected, _) = run();
    let bundle = bundles(&cache).remove(0);
    fs::write(bundle.join("model.onnx"), b"damaged").unwrap();
    let (found, log) = run();
    assert!(
        log.contains("damaged") && log.contains("model.onnx") && log.contains(EXPORTED),
        "{log}"
    );
    assert_eq!(found, expected);
    fs::remove_file(bundle.join("manifest.json")).unwrap();
    assert_eq!(run().0, expected);
}

#[test]
fn what_a_killed_export_left_is_removed_unless_it_still_runs() {
    let dir = tempfile::tempdir().unwrap();
    let cache = dir.path().join("cache");
    let leftover = |key: &str| {
        let path = cache.join(format!("bundles/.export-{key}-abc"));
        fs::create_dir_all(path.join("bundle")).unwrap();
        path
    };
    let (killed, running) = (leftover("0123"), leftover("4567"));
    let lock = fs::File::create(cache.join("bundles/4567.lock")).unwrap();
    lock.lock().unwrap();
    succeed(&mut tag(&tiny().checkpoint(), &cache));
    assert!(!killed.exists() && running.exists());
}

#[test]
fn a_cache_that_cannot_be_written_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("file");
    fs::write(&file, "").unwrap();
    let mut tag = tag(&tiny().checkpoint(), &dir.path().join("cache"));
    let message = fail(tag.env("NERVE_CACHE", file.join("cache")));
    assert!(
        message.contains("NERVE_CACHE") && message.contains("file"),
        "{message}"
    );
}

#[test]
fn models_that_cannot_be_served_are_refused_before_they_are_exported() {
    let dir = tempfile::tempdir().unwrap();
    let cache = dir.path().join("cache");
    let refused = |edit: &dyn Fn(&mut Value), reason: &str| {
        let checkpoint = copy_of_tiny(dir.path(), "refused");
        edit_config(&checkpoint, edit);
        let message = fail(&mut tag(&checkpoint, &cache));
        assert!(
            message.contains("config.json") && message.contains(reason),
            "{message}"
        );
    };
    refused(
        &|config| config["id2label"]["0"] = json!("B-ABSENT"),
        "do not include `O`",
    );
    refused(
        &|config| config["id2label"] = json!({"0": "LABEL_0", "1": "LABEL_1"}),
        "`LABEL_0`, a placeholder",
    );
    refused(
        &|config| config["model_type"] = json!("t5"),
        "model_type `t5` is not supported; use one of `bert`",
    );
    refused(
        &|config| config["architectures"] = json!(["BertForSequenceClassification"]),
        "BertForSequenceClassification, not a token classifier",
    );
    refused(
        &|config| {
            config["id2label"] = Value::Null;
            config["label2id"] = Value::Null;
        },
        "id2label is missing",
    );
    // The graph of an unsupported family can be served.
    fs::write(dir.path().join("refused/model.onnx"), b"").unwrap();
    refused(
        &|config| config["model_type"] = json!("funnel"),
        "--onnx-file model.onnx",
    );
    let checkpoint = copy_of_tiny(dir.path(), "pickled");
    fs::rename(
        checkpoint.join("model.safetensors"),
        checkpoint.join("pytorch_model.bin"),
    )
    .unwrap();
    let message = fail(&mut tag(&checkpoint, &cache));
    assert!(
        message.contains("only pickled weights") && message.contains("save_pretrained"),
        "{message}"
    );
    assert!(!cache.exists(), "nothing was exported");
}

#[test]
fn options_that_would_do_nothing_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let cache = dir.path().join("cache");
    let message = |model: &Path, options: &[&str]| fail(tag(model, &cache).args(options));
    let (bundle, checkpoint) = (tiny().bundle("fp32"), tiny().checkpoint());
    let corpus = tiny().corpus();
    let calibration = ["--calibration", corpus.to_str().unwrap()];
    for options in [&["--precision", "fp32"], &calibration] {
        let refused = message(&bundle, options);
        assert!(
            refused.contains(options[0]) && refused.contains("is a bundle or a model store"),
            "{refused}"
        );
    }
    let plain = repository().join("tests/plain/fixtures/distilbert");
    let refused = message(&plain, &["--precision", "fp16"]);
    assert!(refused.contains("is an ONNX export"), "{refused}");
    let refused = message(&checkpoint, &calibration);
    assert!(refused.contains("no effect with --precision fp32"), "{refused}");
    let refused = message(&checkpoint, &["--precision", "int8"]);
    assert!(refused.contains("--calibration FILE"), "{refused}");
    let refused = message(
        &checkpoint,
        &["--precision", "int8", "--calibration", "./missing"],
    );
    assert!(refused.contains("./missing: No such file"), "{refused}");
    assert!(!cache.exists());
}

#[test]
fn a_checkpoint_with_a_graph_is_exported_unless_the_graph_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let cache = dir.path().join("cache");
    let checkpoint = copy_of_tiny(dir.path(), "both");
    fs::copy(
        tiny().bundle("fp32").join("model.onnx"),
        checkpoint.join("model.onnx"),
    )
    .unwrap();
    let named = serve(&checkpoint, &cache, &["--onnx-file", "model.onnx"]);
    assert!(!named.log().contains(EXPORTED), "{}", named.log());
    let exported = serve(&checkpoint, &cache, &[]);
    assert!(exported.log().contains(EXPORTED), "{}", exported.log());
    assert_eq!(entities(&named)[0]["text"], entities(&exported)[0]["text"]);
}

#[test]
fn a_checkpoint_can_be_the_canary_of_a_bundle() {
    let dir = tempfile::tempdir().unwrap();
    let checkpoint = tiny().checkpoint();
    let corpus = tiny().corpus();
    let options = [
        "--canary",
        checkpoint.to_str().unwrap(),
        "--canary-percent",
        "100",
        "--precision",
        "int8",
        "--calibration",
        corpus.to_str().unwrap(),
    ];
    let server = serve(&tiny().bundle("fp32"), &dir.path().join("cache"), &options);
    assert_eq!(entities(&server)[0]["text"], "Ann Lee");
    let info = server.get("/info").body;
    assert_ne!(info["tracks"][0]["version"], info["tracks"][1]["version"]);
}

#[test]
fn a_checkpoint_is_evaluated_as_a_bundle_too() {
    let dir = tempfile::tempdir().unwrap();
    let evaluated = |kind: &str| {
        let mut command = binary("nerve-trainer");
        command.args(["evaluate", kind]).arg(tiny().checkpoint());
        command.arg("--data").arg(tiny().corpus());
        succeed(command.env("NERVE_CACHE", dir.path().join("cache")))
    };
    assert_eq!(evaluated("--checkpoint"), evaluated("--bundle"));
}
