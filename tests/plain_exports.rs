//! Plain Hugging Face ONNX exports: they have the logits of torch, and those that cannot be served are refused.
//!
//! `tests/plain/make_fixtures.py` creates the fixtures.

use std::fs;
use std::path::{Path, PathBuf};

use nerve_inference::{
    GraphError, Logits, Model, ModelError, OneByOne, OpenOptions, Runtime, Session, SessionError,
    SessionOptions, TokenizerError,
};
use nerve_repository::{ConfigError, LocateError};
use nerve_tagging::{LabelError, Splitter, TagScheme, windows};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::fixture::{binary, fail, repository, succeed};
use crate::server::Server;

/// An export, the name of its graph, and the absolute and relative tolerance of its logits to those of torch.
struct Fixture {
    name: &'static str,
    onnx_file: Option<&'static str>,
    tolerance: Option<f32>,
    scheme: TagScheme,
}

const FP32: Option<f32> = Some(1e-4);
const FP16: Option<f32> = Some(5e-3);

const FIXTURES: [Fixture; 7] = [
    fixture("bert-iob2", None, FP32, TagScheme::Iob2),
    fixture("bert-bilou", None, FP32, TagScheme::Iobes),
    fixture("bert-fp16", None, FP16, TagScheme::Io),
    fixture("distilbert", None, FP32, TagScheme::Plain),
    fixture("distilbert", Some(QUANTIZED), None, TagScheme::Plain),
    fixture("roberta", None, FP32, TagScheme::Iob2),
    fixture("xlm-roberta", None, FP32, TagScheme::Iobes),
];
const QUANTIZED: &str = "onnx/model_quantized.onnx";

const fn fixture(
    name: &'static str,
    onnx_file: Option<&'static str>,
    tolerance: Option<f32>,
    scheme: TagScheme,
) -> Fixture {
    Fixture {
        name,
        onnx_file,
        tolerance,
        scheme,
    }
}

fn dir(name: &str) -> PathBuf {
    repository().join("tests/plain/fixtures").join(name)
}

impl Fixture {
    fn model(&self) -> Model {
        let options = OpenOptions {
            onnx_file: self.onnx_file.map(PathBuf::from),
            ..OpenOptions::default()
        };
        Model::open_with(&dir(self.name), &options).unwrap()
    }

    /// The expected tokens, logits, words and entities of each text.
    fn expected(&self) -> Vec<Value> {
        let text = fs::read_to_string(dir(self.name).join("expected.json")).unwrap();
        serde_json::from_str(&text).unwrap()
    }

    fn options(&self) -> Vec<&'static str> {
        self.onnx_file
            .map_or(Vec::new(), |file| vec!["--onnx-file", file])
    }
}

fn session(model: &Model) -> Session {
    let runtime = Runtime::load(None).unwrap();
    model.session(&runtime, &SessionOptions::default()).unwrap()
}

/// The token ids of a text that fits into one window.
fn ids(model: &Model, text: &str) -> Vec<u32> {
    let (_, subwords) = model.tokenizer().encode_text(text).unwrap();
    let planned = windows(&subwords, model.limits());
    assert_eq!(planned.len(), 1, "{text}");
    model.tokenizer().window_ids(&subwords, &planned[0])
}

fn rows(logits: &Logits, sequence: usize, length: usize) -> Vec<Vec<f32>> {
    (0..length)
        .map(|at| logits.row(sequence, at).unwrap().to_vec())
        .collect()
}

#[test]
fn token_ids_and_logits_are_those_of_torch() {
    for fixture in &FIXTURES {
        let model = fixture.model();
        let mut session = session(&model);
        for case in fixture.expected() {
            let text = case["text"].as_str().unwrap();
            let ids = ids(&model, text);
            assert_eq!(json!(ids), case["ids"], "{}: {text}", fixture.name);
            let Some(tolerance) = fixture.tolerance else {
                continue;
            };
            let found = rows(&session.run(&[&ids]).unwrap(), 0, ids.len());
            let expected: Vec<Vec<f32>> = serde_json::from_value(case["logits"].clone()).unwrap();
            for (found, expected) in found.iter().flatten().zip(expected.iter().flatten()) {
                let allowed = tolerance * expected.abs().max(1.0);
                assert!(
                    (found - expected).abs() <= allowed,
                    "{}: {found} {expected}",
                    fixture.name
                );
            }
        }
    }
}

#[test]
fn a_text_has_the_same_logits_alone_and_in_any_batch() {
    for fixture in &FIXTURES {
        let model = fixture.model();
        let mut session = session(&model);
        let texts: Vec<Vec<u32>> = fixture
            .expected()
            .iter()
            .map(|case| ids(&model, case["text"].as_str().unwrap()))
            .collect();
        let alone: Vec<Vec<Vec<f32>>> = texts
            .iter()
            .map(|ids| rows(&session.run(&[ids]).unwrap(), 0, ids.len()))
            .collect();
        for first in 0..texts.len() {
            let batch: Vec<&[u32]> = texts[first..].iter().map(Vec::as_slice).collect();
            let together = session.run(&batch).unwrap();
            for (at, ids) in batch.iter().enumerate() {
                let bits =
                    |rows: &[Vec<f32>]| -> Vec<u32> { rows.iter().flatten().map(|x| x.to_bits()).collect() };
                assert_eq!(
                    bits(&rows(&together, at, ids.len())),
                    bits(&alone[first + at]),
                    "{} {:?}",
                    fixture.name,
                    fixture.onnx_file
                );
            }
        }
    }
}

#[test]
fn entities_and_words_are_served_as_expected() {
    for fixture in &FIXTURES {
        let server = Server::start(&dir(fixture.name), &fixture.options());
        let cases = fixture.expected();
        let items: Vec<Value> = cases.iter().map(|case| json!({"text": case["text"]})).collect();
        let batch = server.post("/ner/batch", &json!({"items": items})).body;
        for (case, batched) in cases.iter().zip(batch["results"].as_array().unwrap()) {
            let answer = server.post("/ner", &json!({"text": case["text"]})).body;
            let text: Vec<char> = case["text"].as_str().unwrap().chars().collect();
            let entities = answer["entities"].as_array().unwrap();
            let shown: Vec<Value> = entities
                .iter()
                .map(|e| json!({"type": e["type"], "start": e["start"], "end": e["end"]}))
                .collect();
            assert_eq!(json!(shown), case["entities"], "{}: {answer}", fixture.name);
            for entity in entities {
                let [start, end] = ["start", "end"].map(|field| entity[field].as_u64().unwrap() as usize);
                assert_eq!(entity["text"], text[start..end].iter().collect::<String>());
            }
            let words: Vec<Value> = answer["words"]
                .as_array()
                .unwrap()
                .iter()
                .map(|word| json!({"text": word["text"], "label": word["label"]}))
                .collect();
            assert_eq!(json!(words), case["words"], "{}", fixture.name);
            assert_eq!(answer["words"], batched["words"], "{}", fixture.name);
            assert_eq!(answer["entities"], batched["entities"], "{}", fixture.name);
        }
        server.terminate();
    }
}

#[test]
fn a_model_says_what_was_learnt_of_it() {
    for fixture in &FIXTURES {
        assert_eq!(
            fixture.model().info().label_scheme,
            fixture.scheme,
            "{}",
            fixture.name
        );
    }
    let of = |at: usize| FIXTURES[at].model();
    let precisions: Vec<String> = (0..FIXTURES.len())
        .map(|at| of(at).info().precision.clone())
        .collect();
    assert_eq!(
        precisions,
        ["fp32", "fp32", "fp16", "fp32", "int8-dynamic", "fp32", "fp32"]
    );
    // `model_max_length` if it is shorter than the positions; in RoBERTa the first positions are unused.
    let lengths: Vec<usize> = (0..FIXTURES.len()).map(|at| of(at).info().max_length).collect();
    assert_eq!(lengths, [32, 40, 40, 40, 40, 40, 40]);
    let versions: std::collections::BTreeSet<String> = (0..FIXTURES.len())
        .map(|at| of(at).info().version.clone())
        .collect();
    assert_eq!(versions.len(), FIXTURES.len());
}

#[test]
fn the_longest_window_is_one_the_graph_takes() {
    for fixture in &FIXTURES {
        let model = fixture.model();
        let text = "Bob ".repeat(100);
        let (_, subwords) = model.tokenizer().encode_text(&text).unwrap();
        let planned = windows(&subwords, model.limits());
        assert!(planned.len() > 1);
        let ids: Vec<Vec<u32>> = planned
            .iter()
            .map(|window| model.tokenizer().window_ids(&subwords, window))
            .collect();
        let longest = ids.iter().map(Vec::len).max().unwrap();
        // A window ends between words, so it may be shorter than the limit.
        let max_length = model.info().max_length;
        assert!(
            (max_length - 4..=max_length).contains(&longest),
            "{}: {longest}",
            fixture.name
        );
        let all: Vec<&[u32]> = ids.iter().map(Vec::as_slice).collect();
        session(&model).run(&all).unwrap();
    }
}

#[test]
fn a_dynamically_quantised_graph_runs_texts_one_by_one_and_says_so() {
    let server = Server::start(&dir("distilbert"), &["--onnx-file", QUANTIZED]);
    let info = server.get("/info").body;
    assert_eq!(info["model"]["one_by_one"], "dynamic_quantization", "{info}");
    assert_eq!(info["limits"]["max_batch"], 1);
    let server = Server::start(&dir("distilbert"), &[]);
    assert_eq!(server.get("/info").body["model"].get("one_by_one"), None);
}

#[test]
fn given_words_are_read_as_after_a_space() {
    // In byte-level BPE and SentencePiece, the space before a word is part of its first subword.
    for name in ["roberta", "xlm-roberta"] {
        let server = Server::start(&dir(name), &[]);
        let words = ["what", "a", "day", "", " ", "Ann", "Lee"];
        let answer = server.post("/ner", &json!({"words": words})).body;
        let entities: Vec<&Value> = answer["entities"].as_array().unwrap().iter().collect();
        assert_eq!(entities.len(), 1, "{name}: {answer}");
        assert_eq!(entities[0]["words"], json!([5, 7]), "{name}: {answer}");
        assert_eq!(answer["words"][3]["score"], 1.0);
        assert_eq!(answer["words"][4]["score"], 1.0);
    }
}

#[test]
fn a_plain_export_is_evaluated_in_its_own_scheme() {
    for fixture in [&FIXTURES[0], &FIXTURES[1], &FIXTURES[4]] {
        let dir = tempfile::tempdir().unwrap();
        let data = dir.path().join("data.conll");
        fs::write(&data, conll(&fixture.expected())).unwrap();
        let report = dir.path().join("report.json");
        let mut command = binary("nerve-trainer");
        command
            .arg("evaluate")
            .arg("--bundle")
            .arg(self::dir(fixture.name))
            .args(fixture.options())
            .arg("--data")
            .arg(&data)
            .arg("--json")
            .arg(&report);
        succeed(&mut command);
        let found: Value = serde_json::from_slice(&fs::read(&report).unwrap()).unwrap();
        assert_eq!(found["entity"]["f1"], 1.0, "{}: {found}", fixture.name);
        assert_eq!(found["strict"]["entity"]["f1"], 1.0, "{}: {found}", fixture.name);
    }
}

/// The texts as an IOB2 corpus.
fn conll(cases: &[Value]) -> String {
    let mut corpus = String::new();
    for case in cases {
        let text: Vec<char> = case["text"].as_str().unwrap().chars().collect();
        let mut at = 0;
        for word in case["words"].as_array().unwrap() {
            let word = word["text"].as_str().unwrap();
            while !text[at..].iter().collect::<String>().starts_with(word) {
                at += 1;
            }
            let inside = |e: &&Value| {
                e["start"].as_u64().unwrap() as usize <= at && at < e["end"].as_u64().unwrap() as usize
            };
            let tag = match case["entities"].as_array().unwrap().iter().find(inside) {
                None => "O".to_owned(),
                Some(e) if e["start"] == at => format!("B-{}", e["type"].as_str().unwrap()),
                Some(e) => format!("I-{}", e["type"].as_str().unwrap()),
            };
            corpus += &format!("{word}\t{tag}\n");
            at += word.chars().count();
        }
        corpus += "\n";
    }
    corpus
}

/// A copy of a fixture that a test can damage.
fn copy(name: &str) -> (TempDir, PathBuf) {
    let temporary = tempfile::tempdir().unwrap();
    let export = temporary.path().join(name);
    copy_all(&dir(name), &export);
    (temporary, export)
}

fn copy_all(from: &Path, to: &Path) {
    fs::create_dir(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let target = to.join(path.file_name().unwrap());
        if path.is_dir() {
            copy_all(&path, &target);
        } else {
            fs::copy(&path, target).unwrap();
        }
    }
}

fn edit(path: &Path, change: impl FnOnce(&mut Value)) {
    let mut value = serde_json::from_slice(&fs::read(path).unwrap()).unwrap();
    change(&mut value);
    fs::write(path, value.to_string()).unwrap();
}

fn open(dir: &Path, onnx_file: Option<&str>) -> Result<Model, ModelError> {
    let options = OpenOptions {
        onnx_file: onnx_file.map(PathBuf::from),
        ..OpenOptions::default()
    };
    Model::open_with(dir, &options)
}

fn error(dir: &Path) -> ModelError {
    open(dir, None).err().expect("the export is refused")
}

/// The error of opening a graph with a configuration of three labels.
fn graph_error(name: &str) -> GraphError {
    match open(&dir("graphs"), Some(&format!("{name}.onnx"))) {
        Err(ModelError::Graph(error)) => {
            assert!(error.to_string().contains(name), "{error}");
            error
        }
        Err(other) => panic!("{name}: {other}"),
        Ok(_) => panic!("{name} was not refused"),
    }
}

#[test]
fn graphs_that_are_no_token_classifiers_are_refused() {
    use GraphError::{FixedAxis, InputType, LabelCount, ManyLogits, NoIds, NoLogits, UnknownInput};
    for unknown in ["position_ids", "pixel_values"] {
        let error = graph_error(unknown);
        assert!(
            matches!(&error, UnknownInput { input, .. } if input == unknown),
            "{error}"
        );
    }
    assert!(matches!(graph_error("no_ids"), NoIds { .. }));
    for (name, named) in [("float_ids", "attention_mask"), ("flat_ids", "input_ids")] {
        let error = graph_error(name);
        assert!(
            matches!(&error, InputType { input, .. } if input == named),
            "{error}"
        );
    }
    let error = graph_error("fixed_length");
    assert!(
        matches!(
            error,
            FixedAxis {
                axis: "length",
                extent: 128,
                ..
            }
        ),
        "{error}"
    );
    let error = graph_error("batch_of_four");
    assert!(
        matches!(
            error,
            FixedAxis {
                axis: "batch",
                extent: 4,
                ..
            }
        ),
        "{error}"
    );
    for name in ["one_row_a_text", "whole_numbers", "strings", "sequence"] {
        let error = graph_error(name);
        assert!(matches!(error, NoLogits { .. }), "{name}: {error}");
    }
    assert!(matches!(graph_error("two_heads"), ManyLogits { .. }));
    let error = graph_error("vocabulary_wide");
    assert!(
        matches!(
            error,
            LabelCount {
                labels: 3,
                logits: 12,
                ..
            }
        ),
        "{error}"
    );
}

#[test]
fn a_width_the_file_does_not_give_is_refused_by_the_first_run() {
    let model = open(&dir("graphs"), Some("unknown_width.onnx")).unwrap();
    let error = session(&model).run(&[&[2, 7, 3]]).unwrap_err();
    assert!(
        matches!(
            error,
            SessionError::Graph(GraphError::LabelCount {
                labels: 3,
                logits: 6,
                ..
            })
        ),
        "{error}"
    );
    let message = fail(binary("nerve-server").arg("--model").arg(dir("graphs")).args([
        "--onnx-file",
        "unknown_width.onnx",
        "--listen",
        "127.0.0.1:0",
    ]));
    assert!(
        message.contains("3 labels") && message.contains("6 wide"),
        "{message}"
    );
}

#[test]
fn unusual_graphs_are_served() {
    let cases = [
        ("usual", None),
        ("two_outputs", None),
        ("no_mask", Some(OneByOne::NoAttentionMask)),
        ("batch_of_one", Some(OneByOne::FixedBatch)),
    ];
    for (name, reason) in cases {
        let file = format!("{name}.onnx");
        assert_eq!(
            open(&dir("graphs"), Some(&file)).unwrap().info().one_by_one,
            reason,
            "{name}"
        );
        let server = Server::start(&dir("graphs"), &["--onnx-file", &file]);
        let items = json!({"items": [{"text": "Paul met a"}, {"text": "in Paris paul paul"}]});
        let answer = server.post("/ner/batch", &items).body;
        let entities = |at: usize| -> Vec<&str> {
            let found = answer["results"][at]["entities"].as_array().unwrap();
            found.iter().map(|e| e["text"].as_str().unwrap()).collect()
        };
        assert_eq!(entities(0), ["Paul"], "{name}: {answer}");
        assert_eq!(entities(1), ["Paris", "paul paul"], "{name}: {answer}");
    }
}

#[test]
fn a_tokenizer_with_more_ids_than_the_table_has_rows() {
    let error = open(&dir("graphs"), Some("few_rows.onnx")).err().unwrap();
    assert!(
        matches!(
            error,
            ModelError::Vocabulary {
                tokens: 10,
                rows: 9,
                ..
            }
        ),
        "{error}"
    );
}

#[test]
fn files_that_are_missing_are_named() {
    let (_guard, export) = copy("bert-iob2");
    fs::remove_file(export.join("tokenizer.json")).unwrap();
    assert!(matches!(
        error(&export),
        ModelError::Tokenizer(TokenizerError::Missing { .. })
    ));

    let (_guard, export) = copy("bert-iob2");
    fs::remove_file(export.join("config.json")).unwrap();
    assert!(matches!(
        error(&export),
        ModelError::Locate(LocateError::NoConfig { .. })
    ));
    fs::remove_file(export.join("model.onnx")).unwrap();
    assert!(matches!(
        error(&export),
        ModelError::Locate(LocateError::Unknown { .. })
    ));

    let (_guard, export) = copy("distilbert");
    fs::remove_file(export.join("onnx/model.onnx")).unwrap();
    let message = error(&export).to_string();
    assert!(
        message.contains("--onnx-file: onnx/model_quantized.onnx"),
        "{message}"
    );
    let absent = open(&export, Some("onnx/model_q4.onnx")).err().unwrap();
    assert!(
        matches!(absent, ModelError::Locate(LocateError::NoSuchGraph { .. })),
        "{absent}"
    );

    let (_guard, export) = copy("roberta");
    fs::remove_file(export.join("model.onnx_data")).unwrap();
    let error = error(&export);
    assert!(
        matches!(&error, ModelError::Graph(GraphError::Weights { file, .. }) if file == "model.onnx_data"),
        "{error}"
    );
}

#[test]
fn files_of_something_else_are_named() {
    let (_guard, export) = copy("bert-iob2");
    let graph = fs::read(export.join("model.onnx")).unwrap();
    for content in [
        &b""[..],
        b"not a graph",
        b"\x89PNG\r\n\x1a\n",
        &graph[..graph.len() / 2],
    ] {
        fs::write(export.join("model.onnx"), content).unwrap();
        let error = error(&export);
        assert!(
            matches!(error, ModelError::Graph(GraphError::NotOnnx { .. })),
            "{error}"
        );
    }
    for name in ["config.json", "tokenizer.json", "tokenizer_config.json"] {
        let (_guard, export) = copy("bert-iob2");
        fs::write(export.join(name), "[1, 2").unwrap();
        let message = error(&export).to_string();
        assert!(message.contains(name), "{message}");
    }
}

#[test]
fn configurations_that_make_no_tagger_name_their_field() {
    let refused = |change: &dyn Fn(&mut Value)| {
        let (_guard, export) = copy("bert-iob2");
        edit(&export.join("config.json"), |config| change(config));
        match error(&export) {
            ModelError::Config(error) => {
                assert!(error.to_string().contains("config.json"), "{error}");
                error
            }
            other => panic!("{other}"),
        }
    };
    let value = |change: &dyn Fn(&mut Value), named: &str| {
        let error = refused(change);
        assert!(
            matches!(&error, ConfigError::Value { field, .. } if *field == named),
            "{error}"
        );
    };
    value(
        &|config| {
            config["id2label"] = Value::Null;
            config["label2id"] = json!({});
        },
        "id2label",
    );
    value(
        &|config| {
            config["id2label"] = Value::Null;
            config["label2id"] = json!({"O": 0, "B-PER": 0});
        },
        "label2id",
    );
    value(&|config| config["num_labels"] = json!(9), "num_labels");
    value(
        &|config| {
            config["model_type"] = json!("roberta");
            config["max_position_embeddings"] = json!(1);
        },
        "max_position_embeddings",
    );
    let labels = |id2label: Value| match refused(&|config| config["id2label"] = id2label.clone()) {
        ConfigError::Labels { source, .. } => source,
        other => panic!("{other}"),
    };
    assert!(matches!(
        labels(json!({"0": "LABEL_0", "1": "LABEL_1"})),
        LabelError::Unnamed { .. }
    ));
    assert!(matches!(
        labels(json!({"0": "O", "1": "B-a", "2": "odd"})),
        LabelError::Mixed { .. }
    ));
    assert_eq!(
        labels(json!({"0": "NOUN", "1": "VERB"})),
        LabelError::MissingOutside
    );
    assert!(matches!(
        labels(json!({"0": "O", "2": "a"})),
        LabelError::MissingId { .. }
    ));
    for (field, wrong) in [
        ("id2label", json!([1])),
        ("pad_token_id", json!(-1)),
        ("max_position_embeddings", json!("long")),
        ("vocab_size", json!(1.5)),
    ] {
        let error = refused(&|config| config[field] = wrong.clone());
        assert!(
            matches!(&error, ConfigError::Field { field: found, .. } if *found == field),
            "{error}"
        );
    }
    let (_guard, export) = copy("bert-iob2");
    edit(&export.join("config.json"), |config| {
        config["id2label"].as_object_mut().unwrap().remove("4");
    });
    assert!(matches!(
        error(&export),
        ModelError::Graph(GraphError::LabelCount {
            labels: 4,
            logits: 5,
            ..
        })
    ));
    edit(&export.join("config.json"), |config| {
        config["pad_token_id"] = json!(4000);
    });
    edit(&export.join("config.json"), |config| {
        config["id2label"]["4"] = json!("I-LOC");
    });
    assert!(matches!(
        error(&export),
        ModelError::Vocabulary { tokens: 4001, .. }
    ));
}

#[test]
fn a_refusal_ends_the_server_with_its_reason() {
    let (_guard, export) = copy("bert-iob2");
    edit(&export.join("config.json"), |config| {
        config["id2label"] = Value::Null;
        config["label2id"] = Value::Null;
    });
    let message = fail(
        binary("nerve-server")
            .arg("--model")
            .arg(&export)
            .args(["--listen", "127.0.0.1:0"]),
    );
    assert!(message.contains("config.json: id2label is missing"), "{message}");
}

#[test]
fn options_of_plain_exports_are_refused_for_bundles() {
    let bundle = repository().join("models/default");
    let options = [
        OpenOptions {
            onnx_file: Some("model.onnx".into()),
            ..OpenOptions::default()
        },
        OpenOptions {
            splitter: Some(Splitter::Bert),
            ..OpenOptions::default()
        },
    ];
    for options in options {
        let error = Model::open_with(&bundle, &options).err().unwrap();
        assert!(matches!(error, ModelError::NotPlain { .. }), "{error}");
    }
}

#[test]
fn no_damage_to_a_graph_is_a_panic() {
    let (_guard, export) = copy("distilbert");
    let path = export.join("onnx/model.onnx");
    let graph = fs::read(&path).unwrap();
    // A fixed stride covers the structure at both ends of the file and the weights between.
    for at in (0..graph.len()).step_by(graph.len() / 300) {
        let mut damaged = graph.clone();
        damaged[at] ^= 0x5a;
        fs::write(&path, &damaged).unwrap();
        let _opened_or_refused = open(&export, None);
        fs::write(&path, &graph[..at]).unwrap();
        let _opened_or_refused = open(&export, None);
    }
}
