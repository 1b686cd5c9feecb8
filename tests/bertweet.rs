//! BERTweet's tokenizer files, from a base to a served model, and on the WNUT-17 corpus.
//!
//! `tests/families/make_bertweet_fixtures.py` creates the fixtures.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use nerve_inference::TextTokenizer;
use nerve_repository::Family;
use serde_json::{Value, json};

use crate::corpus::wnut17;
use crate::fixture::{binary, fail, repository, succeed, tiny_corpus};
use crate::hub::{Hub, sha256};
use crate::models::{edit_config, family};
use crate::server::Server;

const FILES: [&str; 2] = ["bpe.codes", "vocab.txt"];

fn fixture(name: &str) -> PathBuf {
    repository().join("tests/families/fixtures/bertweet").join(name)
}

/// The encoder of the RoBERTa fixture with the beginning of BERTweet's vocabulary, which fits its embedding table. Most merges
/// have symbols that are not in it.
fn base(dir: &Path) -> PathBuf {
    let base = dir.join("base");
    fs::create_dir(&base).unwrap();
    for file in ["config.json", "model.safetensors"] {
        fs::copy(family(Family::Roberta).join(file), base.join(file)).unwrap();
    }
    edit_config(&base, |config| {
        config["tokenizer_class"] = json!("BertweetTokenizer");
    });
    fs::copy(fixture("bpe.codes"), base.join("bpe.codes")).unwrap();
    let vocabulary = fs::read_to_string(fixture("vocab.txt")).unwrap();
    let beginning: String = vocabulary.split_inclusive('\n').take(280).collect();
    fs::write(base.join("vocab.txt"), beginning).unwrap();
    fs::write(base.join("tokenizer_config.json"), r#"{"normalization": true}"#).unwrap();
    base
}

fn export(checkpoint: &Path, out: &Path) -> Command {
    let mut command = binary("nerve-export");
    command.args(["--precision", "fp32", "--max-length", "40", "--checkpoint"]);
    command.arg(checkpoint).arg("--out").arg(out);
    command
}

/// The words and labels of a sentence.
fn served(model: &Path) -> Vec<Value> {
    let words = [
        "@ida",
        "met",
        "Zoë",
        "in",
        "São",
        "Paulo",
        "!!!",
        "http://t.co/x",
        "😀",
    ];
    let answer = Server::start(model, &[]).post("/ner", &json!({"words": words}));
    assert_eq!(answer.status, 200, "{}", answer.body);
    let served = answer.body["words"].as_array().unwrap().iter();
    let served: Vec<Value> = served.map(|word| json!([word["text"], word["label"]])).collect();
    assert_eq!(served.len(), words.len());
    served
}

#[test]
fn bertweets_files_are_read_from_a_base_a_checkpoint_a_plain_export_and_the_hub() {
    let dir = tempfile::tempdir().unwrap();
    tiny_corpus(dir.path());
    let run = dir.path().join("run");
    let mut train = binary("nerve-trainer");
    train
        .args(["train", "--max-length", "40", "--threads", "2", "--seed", "1"])
        .args(["--epochs", "2", "--batch-size", "8", "--learning-rate", "1e-2"])
        .arg("--base")
        .arg(base(dir.path()))
        .arg("--data")
        .arg(dir.path())
        .arg("--out")
        .arg(&run);
    succeed(&mut train);

    // The checkpoint has both forms, which are the same tokenizer, also written once more.
    let best = run.join("best");
    let bundle = dir.path().join("bundle");
    succeed(&mut export(&best, &bundle));
    let json = fs::read(bundle.join("tokenizer.json")).unwrap();
    assert!(fs::read(best.join("tokenizer.json")).unwrap() == json);
    fs::remove_file(best.join("tokenizer.json")).unwrap();
    let read = dir.path().join("read");
    succeed(&mut export(&best, &read));
    assert!(fs::read(read.join("tokenizer.json")).unwrap() == json);
    let config: Value =
        serde_json::from_slice(&fs::read(best.join("tokenizer_config.json")).unwrap()).unwrap();
    assert_eq!(
        (&config["tokenizer_class"], &config["normalization"]),
        (&json!("BertweetTokenizer"), &json!(true))
    );

    let plain = dir.path().join("plain");
    fs::create_dir(&plain).unwrap();
    fs::copy(bundle.join("model.onnx"), plain.join("model.onnx")).unwrap();
    for file in ["config.json", "tokenizer_config.json"].into_iter().chain(FILES) {
        fs::copy(best.join(file), plain.join(file)).unwrap();
    }
    assert_eq!(served(&plain), served(&bundle));

    let hub = Hub::start();
    let files = ["config.json", "tokenizer_config.json", "model.safetensors"];
    let files = files.into_iter().chain(FILES);
    let files: Vec<(&str, Vec<u8>)> = files
        .map(|file| (file, fs::read(best.join(file)).unwrap()))
        .collect();
    let files: Vec<(&str, &[u8])> = files
        .iter()
        .map(|(file, content)| (*file, content.as_slice()))
        .collect();
    hub.commit("some/bertweet", "main", &files);
    let fetched = dir.path().join("fetched");
    let mut command = export(Path::new("some/bertweet"), &fetched);
    command
        .env("HF_ENDPOINT", &hub.url)
        .env("HF_HOME", dir.path().join("hf"));
    succeed(&mut command);
    for file in ["tokenizer.json", "model.onnx"] {
        assert!(fs::read(fetched.join(file)).unwrap() == fs::read(bundle.join(file)).unwrap());
    }
}

#[test]
fn a_damaged_or_missing_file_of_bertweet_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let base = base(dir.path());
    let message = || fail(&mut export(&base, &dir.path().join("bundle")));
    fs::write(base.join("bpe.codes"), "t h 5\nth e\n").unwrap();
    assert!(message().contains("bpe.codes, line 2"), "{}", message());
    fs::remove_file(base.join("bpe.codes")).unwrap();
    let missing = message();
    assert!(
        missing.contains("nor bpe.codes") && missing.contains("bpe.codes and vocab.txt"),
        "{missing}"
    );
    // Any tokenizer will do.
    let json = family(Family::Roberta).join("tokenizer.json");
    fs::copy(json, base.join("tokenizer.json")).unwrap();
    succeed(&mut export(&base, &dir.path().join("bundle")));
}

#[test]
fn corpus_tokens_of_bertweet_are_those_of_python() {
    let Some(corpus) = wnut17() else { return };
    let expected: Vec<Value> = serde_json::from_slice(&fs::read(fixture("corpus.json")).unwrap()).unwrap();
    for (normalization, name) in [(false, "ids"), (true, "normalized")] {
        let dir = tempfile::tempdir().unwrap();
        for file in FILES {
            fs::copy(fixture(file), dir.path().join(file)).unwrap();
        }
        let config = json!({"normalization": normalization}).to_string();
        fs::write(dir.path().join("tokenizer_config.json"), config).unwrap();
        let tokenizer = TextTokenizer::open_dir(dir.path()).unwrap();
        for expected in &expected {
            let split = expected["split"].as_str().unwrap();
            let text = fs::read_to_string(corpus.join(format!("{split}.conll"))).unwrap();
            let mut lines = String::new();
            let mut ids: Vec<u32> = Vec::new();
            for sentence in sentences(&text) {
                let subwords = tokenizer.encode_words(&sentence).unwrap();
                let line: Vec<String> = subwords.ids().iter().map(u32::to_string).collect();
                lines += &format!("{}\n", line.join(" "));
                ids.extend(subwords.ids());
                let (_, of_text) = tokenizer.encode_text(&sentence.join(" ")).unwrap();
                assert_eq!(of_text.ids(), subwords.ids(), "{sentence:?}");
            }
            let unknown = ids.iter().filter(|id| **id == 3).count();
            let counts = json!([ids.len(), unknown]);
            let tokens = |kind: &str| &expected[format!("{name}_{kind}")];
            assert_eq!(
                counts,
                json!([tokens("tokens"), tokens("unknown")]),
                "{split} {name}"
            );
            assert_eq!(
                sha256(lines.as_bytes()),
                expected[name].as_str().unwrap(),
                "{split} {name}"
            );
        }
    }
}

/// The words of each sentence of a CoNLL file.
fn sentences(text: &str) -> Vec<Vec<&str>> {
    let lines: Vec<&str> = text.lines().collect();
    let sentences = lines.split(|line| line.trim().is_empty());
    sentences
        .filter(|lines| !lines.is_empty())
        .map(|lines| lines.iter().filter_map(|line| line.split('\t').next()).collect())
        .collect()
}
