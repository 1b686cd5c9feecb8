//! A conditional random field from training to serving: its scores of transitions are in the bundle, and decide there too.

use serde_json::{Value, json};

use crate::fixture::{binary, fail, succeed, tiny_corpus, train};
use crate::server::Server;

#[test]
fn transitions_are_exported_and_decide_in_every_program() {
    let dir = tempfile::tempdir().unwrap();
    tiny_corpus(dir.path());
    let (run, bundle, dev) = (
        dir.path().join("run"),
        dir.path().join("bundle"),
        dir.path().join("dev.conll"),
    );
    succeed(train(dir.path(), &run).args(["--loss", "crf", "--head-learning-rate", "0.1"]));
    let export = || {
        let mut command = binary("nerve-export");
        command
            .arg("--checkpoint")
            .arg(run.join("best"))
            .arg("--out")
            .arg(&bundle)
            .args(["--precision", "fp32"]);
        command
    };
    succeed(&mut export());
    let manifest = bundle.join("manifest.json");
    let mut stated: Value = serde_json::from_slice(&std::fs::read(&manifest).unwrap()).unwrap();
    let width = stated["labels"].as_array().unwrap().len() + 1;
    let transitions = stated["transitions"].as_array().unwrap();
    assert!(
        transitions.len() == width
            && transitions
                .iter()
                .all(|row| row.as_array().unwrap().len() == width)
    );
    let evaluated = |kind: &str, model: &std::path::Path| {
        let mut command = binary("nerve-trainer");
        command
            .args(["evaluate", kind])
            .arg(model)
            .arg("--data")
            .arg(&dev);
        succeed(&mut command)
    };
    let of_checkpoint = evaluated("--checkpoint", &run.join("best"));
    assert_eq!(of_checkpoint, evaluated("--bundle", &bundle));
    let tag = |aggregation: &str| {
        let server = Server::start(&bundle, &[]);
        let body = json!({ "text": "In Port Ra , I met Cy Dahl today !", "aggregation": aggregation });
        server.post("/ner", &body).body["entities"].clone()
    };
    assert_ne!(tag("first"), json!([]));
    let of_tokens = tag("simple");
    // Every label but `O` is forbidden behind every other: the version hashes the scores, so it has to be the right one.
    for row in 0..width {
        for next in 1..width - 1 {
            stated["transitions"][row][next] = json!(-1e6);
        }
    }
    std::fs::write(&manifest, stated.to_string()).unwrap();
    let mut command = binary("nerve-trainer");
    command
        .args(["evaluate", "--bundle"])
        .arg(&bundle)
        .arg("--data")
        .arg(&dev);
    let message = fail(&mut command);
    let version = message.split("content of the manifest makes ").nth(1).unwrap();
    stated["version"] = json!(version.split(':').next().unwrap());
    std::fs::write(&manifest, stated.to_string()).unwrap();
    assert_eq!(tag("first"), json!([]));
    // Transitions are those of words, not of tokens.
    assert_eq!(tag("simple"), of_tokens);
    assert_ne!(of_tokens, json!([]));
    stated["transitions"] = json!([[0.0]]);
    std::fs::write(&manifest, stated.to_string()).unwrap();
    let message = fail(&mut command);
    assert!(message.contains("transitions are not"), "{message}");
}

#[test]
fn options_for_single_labels_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    tiny_corpus(dir.path());
    for (option, value) in [
        ("--label-subwords", "all"),
        ("--select-by", "loss"),
        ("--teacher", "x"),
    ] {
        let mut command = train(dir.path(), &dir.path().join("run"));
        let message = fail(command.args(["--loss", "crf", option, value]));
        assert!(message.contains("cannot be given together"), "{message}");
    }
    let mut command = train(dir.path(), &dir.path().join("run"));
    let message = fail(command.args(["--loss", "crf", "--class-weights", "balanced"]));
    assert!(message.contains("`class_weights` has no effect"), "{message}");
}
