//! A training run that is killed or interrupted, and resumed.

use std::path::Path;
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use nerve_repository::Family;

use crate::families::base;
use crate::fixture::{binary, interrupted, succeed, tiny_corpus, train};

const OPTIONS: [&str; 7] = [
    "--epochs",
    "30",
    "--evaluate-every",
    "4",
    "--accumulate",
    "2",
    "--label-subwords=all",
];

/// Whether the command succeeds before it is killed.
fn outlives(command: &mut Command, patience: Duration) -> bool {
    let mut process = command
        .stderr(Stdio::null())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let end = Instant::now() + patience;
    loop {
        if let Some(status) = process.try_wait().unwrap() {
            assert!(status.success(), "{status}");
            return true;
        }
        if Instant::now() >= end {
            process.kill().unwrap();
            process.wait().unwrap();
            return false;
        }
        sleep(Duration::from_millis(1));
    }
}

fn outcome(run: &Path) -> Vec<Vec<u8>> {
    let files = [
        "steps.jsonl",
        "records.jsonl",
        "last/model.safetensors",
        "best/model.safetensors",
    ];
    files.map(|file| std::fs::read(run.join(file)).unwrap()).to_vec()
}

#[test]
fn a_training_killed_at_any_moment_and_resumed_is_the_one_that_was_not() {
    let dir = tempfile::tempdir().unwrap();
    tiny_corpus(dir.path());
    let whole = dir.path().join("whole");
    let began = Instant::now();
    succeed(train(dir.path(), &whole).args(OPTIONS));
    let duration = began.elapsed();
    let killed = dir.path().join("killed");
    let mut kills = 0;
    // Each attempt lives longer than the last by an odd duration, so that the kills happen at many points.
    let mut patience = duration / 6;
    loop {
        let mut command = train(dir.path(), &killed);
        command.args(OPTIONS);
        if killed.join("steps.jsonl").exists() {
            command.arg("--resume");
        }
        if outlives(&mut command, patience) {
            break;
        }
        kills += 1;
        patience += duration / 17;
    }
    assert!(kills > 0);
    assert_eq!(outcome(&whole), outcome(&killed), "after {kills} kills");
    let left = std::fs::read_dir(killed.join("checkpoints")).unwrap().count();
    assert!(left <= 2, "{left} checkpoints are left");
}

#[test]
fn an_interrupted_training_says_how_it_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    tiny_corpus(dir.path());
    let (whole, stopped) = (dir.path().join("whole"), dir.path().join("stopped"));
    succeed(train(dir.path(), &whole).args(OPTIONS));
    let mut command = train(dir.path(), &stopped);
    let said = interrupted(command.args(OPTIONS), &stopped.join("steps.jsonl"));
    let advice = said.lines().last().unwrap();
    let (step, advised) = advice.split_once(". Continue with: nerve-trainer ").unwrap();
    assert!(step.starts_with("stopped at step "), "{advice}");
    // As a user does: the line is pasted into a shell.
    let program = binary("nerve-trainer").get_program().to_owned();
    let command = format!("exec {} {advised}", program.display());
    succeed(Command::new("sh").args(["-c", &command]));
    assert_eq!(outcome(&whole), outcome(&stopped));
}

#[test]
fn layers_that_share_weights_and_projections_are_resumed_to_the_last_bit() {
    for family in [Family::Electra, Family::Albert] {
        let dir = tempfile::tempdir().unwrap();
        tiny_corpus(dir.path());
        let train = |out: &Path| {
            let mut command = binary("nerve-trainer");
            command
                .args([
                    "train",
                    "--reports=false",
                    "--max-length",
                    "40",
                    "--threads",
                    "2",
                    "--dropout",
                    "0.1",
                ])
                .args(OPTIONS)
                .arg("--base")
                .arg(base(family))
                .arg("--data")
                .arg(dir.path())
                .arg("--out")
                .arg(out);
            command
        };
        let (whole, stopped) = (dir.path().join("whole"), dir.path().join("stopped"));
        succeed(&mut train(&whole));
        interrupted(&mut train(&stopped), &stopped.join("steps.jsonl"));
        succeed(train(&stopped).arg("--resume"));
        assert_eq!(outcome(&whole), outcome(&stopped), "{family:?}");
    }
}
