//! Programs that give up after a model was opened, or before: they exit with status 1 and name the cause once.

use std::path::Path;

use crate::fixture::{binary, fail, tiny};

/// How often a start is repeated: a crash on exit happens in some of the starts only.
const STARTS: usize = 10;

/// The standard error of a start that must fail.
fn failed_start(model: &Path, options: &[&str]) -> String {
    let mut server = binary("nerve-server");
    server.arg("--model").arg(model);
    fail(server.args(["--listen", "127.0.0.1:0"]).args(options))
}

#[test]
fn a_start_without_its_key_file_fails_before_a_model_is_opened() {
    for _ in 0..STARTS {
        let said = failed_start(&tiny().bundle("fp32"), &["--api-keys-file", "missing-file"]);
        assert!(said.contains("missing-file: No such file"), "{said}");
        assert!(!said.contains("model opened"), "{said}");
    }
}

#[test]
fn a_start_that_fails_while_sessions_open_exits_with_status_1() {
    for _ in 0..STARTS {
        let options = ["--canary", "./missing-canary", "--canary-percent", "5"];
        let said = failed_start(&tiny().bundle("fp32"), &options);
        assert!(said.contains("model opened"), "{said}");
        assert!(said.contains("missing-canary"), "{said}");
    }
}

#[test]
fn the_cause_of_a_failed_start_is_named_once() {
    let said = failed_start(Path::new("./missing-model"), &[]);
    assert_eq!(said.matches("No such file").count(), 1, "{said}");
}
