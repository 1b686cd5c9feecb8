//! A checkpoint and its bundles have the same labels in every precision, and a text has the same answer in any batch.

use nerve_inference::{Model, Runtime, SessionOptions};
use serde_json::{Value, json};

use crate::fixture::{binary, succeed, tiny};
use crate::server::Server;

fn verification(precision: &str) -> Value {
    let tiny = tiny();
    let printed = succeed(
        binary("nerve-export")
            .arg("verify")
            .arg(tiny.bundle(precision))
            .arg("--checkpoint")
            .arg(tiny.checkpoint())
            .arg("--calibration")
            .arg(tiny.corpus()),
    );
    serde_json::from_str(&printed).unwrap()
}

#[test]
fn the_fp32_graph_computes_the_checkpoint() {
    let found = verification("fp32");
    assert!(found["max_abs_difference"].as_f64().unwrap() <= 1e-3, "{found}");
    assert_eq!(found["label_agreement"], 1.0);
    assert!(
        found["batch_invariant_windows"].as_u64().unwrap() >= 91,
        "{found}"
    );
}

#[test]
fn the_fp16_graph_rounds_and_no_more() {
    let found = verification("fp16");
    let difference = found["max_abs_difference"].as_f64().unwrap();
    assert!(0.0 < difference && difference <= 0.05, "{found}");
    assert!(found["label_agreement"].as_f64().unwrap() >= 0.99, "{found}");
}

#[test]
fn the_int8_graph_agrees_on_labels() {
    let found = verification("int8");
    assert!(found["label_agreement"].as_f64().unwrap() >= 0.98, "{found}");
}

#[test]
fn checkpoint_and_bundles_earn_the_same_score() {
    let tiny = tiny();
    let f1 = |what: &str, path: &std::path::Path| -> f64 {
        let json = tempfile::NamedTempFile::new().unwrap();
        let mut command = binary("nerve-trainer");
        command
            .arg("evaluate")
            .arg(what)
            .arg(path)
            .arg("--data")
            .arg(tiny.corpus())
            .arg("--json")
            .arg(json.path());
        succeed(&mut command);
        let found: Value = serde_json::from_slice(&std::fs::read(json.path()).unwrap()).unwrap();
        found["entity"]["f1"].as_f64().unwrap()
    };
    assert_eq!(f1("--checkpoint", &tiny.checkpoint()), 1.0);
    assert_eq!(f1("--bundle", &tiny.bundle("fp32")), 1.0);
    assert_eq!(f1("--bundle", &tiny.bundle("fp16")), 1.0);
    assert_eq!(f1("--bundle", &tiny.bundle("int8")), 1.0);
}

#[test]
fn an_answer_does_not_depend_on_its_batch() {
    for precision in ["fp32", "fp16", "int8"] {
        let server = Server::start(&tiny().bundle(precision), &[]);
        let texts: Vec<String> = (1..24)
            .map(|n| {
                format!(
                    "{} met Bob in Rome , I went to Port Ra",
                    "Cy Dahl did n't see".repeat(n % 5 + 1)
                )
            })
            .chain(["Rome".to_owned()])
            .collect();
        let alone: Vec<Value> = texts
            .iter()
            .map(|text| server.post("/ner", &json!({"text": text})).body)
            .collect();
        let items: Vec<Value> = texts.iter().map(|text| json!({"text": text})).collect();
        let batch = server.post("/ner/batch", &json!({"items": items})).body;
        for (single, batched) in alone.iter().zip(batch["results"].as_array().unwrap()) {
            assert_eq!(single["words"], batched["words"], "{precision}");
            assert_eq!(single["entities"], batched["entities"], "{precision}");
        }
    }
}

#[test]
fn a_padding_free_bundle_is_given_larger_batches() {
    for (precision, padding_free, batch_tokens) in [("int8", true, 384), ("fp16", false, 256)] {
        let server = Server::start(&tiny().bundle(precision), &[]);
        let info = server.get("/info").body;
        assert_eq!(info["model"]["padding_free"], padding_free, "{info}");
        assert_eq!(info["limits"]["batch_tokens"], batch_tokens, "{info}");
    }
}

#[test]
fn a_graph_that_selects_tokens_has_the_logits_of_one_that_does_not() {
    let tiny = tiny();
    let dir = tempfile::tempdir().unwrap();
    let runtime = Runtime::load(None).unwrap();
    let long: Vec<u32> = (0..40).map(|at| 5 + at % 50).collect();
    let batch: [&[u32]; 3] = [&[2, 7, 9, 3], &long, &[2, 8, 3]];
    let positions: [&[usize]; 3] = [&[1, 3], &[0, 20, 39], &[]];
    for precision in ["fp32", "fp16", "int8"] {
        let every = dir.path().join(precision);
        let mut export = binary("nerve-export");
        export
            .args(["--precision", precision, "--max-length", "48", "--logits", "all"])
            .arg("--checkpoint")
            .arg(tiny.checkpoint())
            .arg("--calibration")
            .arg(tiny.corpus())
            .arg("--out")
            .arg(&every);
        succeed(&mut export);
        let graph = |bundle: &std::path::Path| -> (usize, bool) {
            let manifest = std::fs::read(bundle.join("manifest.json")).unwrap();
            let manifest: Value = serde_json::from_slice(&manifest).unwrap();
            let graph = &manifest["graph"];
            (
                graph["inputs"].as_array().unwrap().len(),
                graph["padding_free"] == true,
            )
        };
        assert_eq!(graph(&every), (2, false));
        assert_eq!(graph(&tiny.bundle(precision)), (3, precision != "fp16"));
        let session = |bundle: &std::path::Path| {
            let model = Model::open(bundle).unwrap();
            model.session(&runtime, &SessionOptions::default()).unwrap()
        };
        let all = session(&every).run(&batch).unwrap();
        let mut selecting = session(&tiny.bundle(precision));
        let (whole, some) = (
            selecting.run(&batch).unwrap(),
            selecting.run_selected(&batch, &positions).unwrap(),
        );
        for (sequence, ids) in batch.iter().enumerate() {
            for position in 0..ids.len() {
                let found = whole.row(sequence, position).unwrap();
                // In half precision, one graph multiplies matrices and the other batches of matrices, which round differently.
                let within = if precision == "fp16" { 1e-5 } else { 0.0 };
                for (found, expected) in found.iter().zip(all.row(sequence, position).unwrap()) {
                    assert!(
                        (found - expected).abs() <= within,
                        "{precision}: {found} {expected}"
                    );
                }
                let wanted = Some(found).filter(|_| positions[sequence].contains(&position));
                assert_eq!(some.row(sequence, position), wanted, "{precision}");
            }
        }
        // A single row must not be computed by another kernel.
        let one = selecting.run_selected(&batch[..1], &[&[1]]).unwrap();
        assert_eq!(one.row(0, 1), whole.row(0, 1), "{precision}");
        assert!(selecting.run_selected(&batch, &[]).is_ok());
    }
}
