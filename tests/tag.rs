//! `nerve-server tag` tags files.

use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use crate::fixture::{binary, output, succeed, tiny};
use crate::server::Server;

/// `nerve-server tag` of a file, with a small model.
pub(crate) fn tag(file: &Path, options: &[&str]) -> Command {
    let mut command = binary("nerve-server");
    command
        .arg("tag")
        .arg(file)
        .arg("--model")
        .arg(tiny().bundle("fp32"))
        .args(options);
    command
}

fn file(dir: &tempfile::TempDir, name: &str, text: &str) -> PathBuf {
    let path = dir.path().join(name);
    std::fs::write(&path, text).unwrap();
    path
}

const LINES: &str = "{\"id\": \"a\", \"text\": \"Ann Lee went to São Paulo .\"}\n\n{\"words\": [\"Ida\", \"went\", \"to\", \"New\", \"York\"]}\n";

#[test]
fn a_file_is_answered_as_a_stream_is() {
    let dir = tempfile::tempdir().unwrap();
    let bad = format!("{LINES}{{\"id\": 5, \"text\": 5}}\nnonsense\n{{\"text\": \"Bob\"}}");
    let input = file(&dir, "in.jsonl", &bad);
    let ended = output(&mut tag(&input, &["--offsets", "byte", "--labels", "location"]));
    assert_eq!(ended.status.code(), Some(1));
    let message = String::from_utf8(ended.stderr).unwrap();
    assert_eq!(message, "nerve-server: 2 of 5 lines failed\n");
    let written: Vec<Value> = ended
        .stdout
        .split_inclusive(|&byte| byte == b'\n')
        .map(|line| serde_json::from_slice(line).unwrap())
        .collect();

    let server = Server::start(&tiny().bundle("fp32"), &[]);
    let streamed = server.post_as(
        "/ner/stream?offsets=byte&labels=location",
        "application/x-ndjson",
        &bad,
    );
    let Value::String(streamed) = streamed.body else {
        panic!("{}", streamed.body);
    };
    let streamed: Vec<Value> = streamed
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(written, streamed);
    let shown: Vec<_> = written
        .iter()
        .map(|line| {
            json!([
                line["line"],
                line["id"],
                line["entities"][0]["text"],
                line["error"]["code"]
            ])
        })
        .collect();
    assert_eq!(
        json!(shown),
        json!([
            [1, "a", "São Paulo", null],
            [3, null, "New York", null],
            [4, 5, null, "invalid_request"],
            [5, null, null, "malformed_json"],
            [6, null, null, null]
        ])
    );
}

#[test]
fn conll_goes_to_a_file_and_bad_lines_to_standard_error() {
    let dir = tempfile::tempdir().unwrap();
    let input = file(&dir, "in.ndjson", &format!("{LINES}{{\"words\": [\"a\\tb\"]}}\n"));
    let out = dir.path().join("out.conll");
    let ended = output(tag(&input, &["--output", "conll", "--out"]).arg(&out));
    assert_eq!(ended.status.code(), Some(1));
    let message = String::from_utf8(ended.stderr).unwrap();
    assert!(
        message.contains("line 4: word 1 is blank or has a tab"),
        "{message}"
    );
    let sentences = nerve_corpus::Corpus::read(&out).unwrap().sentences;
    assert_eq!(sentences.len(), 2);
    assert_eq!(
        sentences[0].words,
        ["Ann", "Lee", "went", "to", "São", "Paulo", "."]
    );
    assert_eq!(
        sentences[1].tags,
        ["B-person", "O", "O", "B-location", "I-location"]
    );
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 2);
}

#[test]
fn plain_lines_come_by_pipe_and_go_to_a_page() {
    let mut child = tag(
        Path::new("-"),
        &["--input", "lines", "--output", "html", "--threshold", "0.5"],
    )
    .stdin(Stdio::piped())
    .stdout(Stdio::piped())
    .spawn()
    .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(b"Bob <b> went to Ulm .\r\n\nok\n").unwrap();
    drop(stdin);
    let ended = child.wait_with_output().unwrap();
    assert!(ended.status.success());
    let page = String::from_utf8(ended.stdout).unwrap();
    assert!(
        page.starts_with("<!DOCTYPE html>") && page.ends_with("</html>\n"),
        "{page}"
    );
    assert!(
        page.contains("Bob<small>person</small></mark> &lt;b&gt; went"),
        "{page}"
    );
    assert!(page.contains("id=\"line-3\""), "{page}");
}

#[test]
fn what_cannot_be_done_is_said() {
    let dir = tempfile::tempdir().unwrap();
    let input = file(&dir, "in.txt", "Bob\n");
    let cases: [(&Path, &[&str], &str); 5] = [
        (
            Path::new("-"),
            &[],
            "give --input lines, ndjson, arrow or parquet",
        ),
        (Path::new("/nowhere.txt"), &[], "cannot read /nowhere.txt"),
        (&input, &["--out", "/nowhere/out"], "cannot write"),
        (&input, &["--labels", "planet"], "person"),
        (
            &input,
            &["--output", "conll", "--threshold", "0.5"],
            "--threshold has no effect",
        ),
    ];
    for (path, options, problem) in cases {
        let message = crate::fixture::fail(&mut tag(path, options));
        assert!(message.contains(problem), "{message}");
    }
    let none = file(&dir, "none.txt", "");
    assert_eq!(succeed(&mut tag(&none, &[])), "");
}

#[test]
fn a_signal_ends_it_while_nobody_reads_its_output() {
    let dir = tempfile::tempdir().unwrap();
    // More than a pipe holds.
    let lines = file(&dir, "a.txt", &"Ann Lee went to Ulm .\n".repeat(20_000));
    let mut child = tag(&lines, &[]).stdout(Stdio::piped()).spawn().unwrap();
    let mut unread = child.stdout.take().unwrap();
    // Once output is there, the signal handlers are.
    unread.read_exact(&mut [0]).unwrap();
    let sent = Command::new("kill").arg(child.id().to_string()).status().unwrap();
    assert!(sent.success());
    assert_eq!(child.wait().unwrap().code(), Some(1));
    drop(unread);
}
