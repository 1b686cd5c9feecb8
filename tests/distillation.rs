//! A large model distilled into a small one: bundles as teachers of students with another tokenizer, and a training that is killed.

use std::path::Path;
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use nerve_repository::Family;

use crate::families::base;
use crate::fixture::{binary, fail, succeed, tiny, tiny_corpus, train};

/// Text that the tiny corpus does not have.
const TEXT: &str =
    "Zoë went to Rome .\nIn Port Ra , I met Cy Dahl today !\nnothing happened\nMax Roe and Ida went to Ulm\n";

/// Writes a corpus with a tokenizer of single letters, so that no word has the tokens that the teacher reads.
fn letters_corpus(dir: &Path) {
    tiny_corpus(dir);
    let mut pieces: Vec<String> = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
        .map(str::to_owned)
        .to_vec();
    for letter in ('a'..='z').chain("#@:).,!'".chars()) {
        pieces.extend([letter.to_string(), format!("##{letter}")]);
    }
    std::fs::write(dir.join("vocab.txt"), pieces.join("\n") + "\n").unwrap();
}

fn student(corpus: &Path, out: &Path, teachers: &[&Path]) -> Command {
    let mut command = train(corpus, out);
    for teacher in teachers {
        command.arg("--teacher").arg(teacher);
    }
    command
}

#[test]
fn families_with_projections_and_shared_layers_teach_each_other() {
    for (teacher, student) in [
        (Family::Electra, Family::Albert),
        (Family::Albert, Family::Electra),
    ] {
        let dir = tempfile::tempdir().unwrap();
        tiny_corpus(dir.path());
        let run = |out: &str, family: Family, options: &[&str]| {
            let mut command = binary("nerve-trainer");
            command
                .args(["train", "--reports=false", "--max-length", "40", "--threads", "2"])
                .args(options)
                .arg("--base")
                .arg(base(family))
                .arg("--data")
                .arg(dir.path())
                .arg("--out")
                .arg(dir.path().join(out));
            command
        };
        let tuned = ["--epochs", "8", "--learning-rate", "1e-2", "--dropout", "0"];
        succeed(&mut run("teacher", teacher, &tuned));
        let mut command = run("student", student, &["--epochs", "4", "--distill-weight", "1"]);
        succeed(command.arg("--teacher").arg(dir.path().join("teacher/best")));
        let records = std::fs::read_to_string(dir.path().join("student/records.jsonl")).unwrap();
        let losses: Vec<f64> = records
            .lines()
            .map(|line| {
                serde_json::from_str::<serde_json::Value>(line).unwrap()["loss"]
                    .as_f64()
                    .unwrap()
            })
            .collect();
        assert!(losses[losses.len() - 1] < losses[0], "{student:?}: {losses:?}");
    }
}

#[test]
fn bundles_and_checkpoints_teach_a_student_with_another_tokenizer() {
    let dir = tempfile::tempdir().unwrap();
    letters_corpus(dir.path());
    let text = dir.path().join("text.txt");
    std::fs::write(&text, TEXT).unwrap();
    let (int8, checkpoint) = (tiny().bundle("int8"), tiny().checkpoint());
    let out = dir.path().join("run");
    let mut command = student(dir.path(), &out, &[&int8, &checkpoint]);
    command.args(["--epochs", "1", "--distill-weight", "1"]);
    succeed(command.arg("--unlabelled").arg(&text));
    let notices = std::fs::read_to_string(out.join("notices.json")).unwrap();
    assert!(notices.contains("\"unlabeled\": 4"), "{notices}");
    assert!(notices.contains("\"unlabeled_with_entities\": 3"), "{notices}");
    let config = std::fs::read_to_string(out.join("config.toml")).unwrap();
    assert!(config.contains("distill_temperature = 2.0"), "{config}");
    // A teacher that is not there, and one without text to teach on.
    let absent = dir.path().join("absent");
    let message = fail(&mut student(dir.path(), &dir.path().join("other"), &[&absent]));
    assert!(message.contains("absent"), "{message}");
    let mut no_teacher = train(dir.path(), &dir.path().join("other"));
    let message = fail(no_teacher.arg("--unlabelled").arg(&text));
    assert!(
        message.contains("`unlabelled` has no effect unless a `teacher` is given"),
        "{message}"
    );
}

#[test]
fn a_distilled_and_augmented_training_killed_at_any_moment_and_resumed_is_the_one_that_was_not() {
    let dir = tempfile::tempdir().unwrap();
    tiny_corpus(dir.path());
    let text = dir.path().join("text.txt");
    std::fs::write(&text, TEXT.repeat(4)).unwrap();
    let teacher = tiny().bundle("int8");
    let command = |out: &Path| {
        let mut command = student(dir.path(), out, &[&teacher]);
        command.arg("--unlabelled").arg(&text);
        command.args([
            "--epochs",
            "6",
            "--evaluate-every",
            "4",
            "--unlabelled-sentences",
            "9",
        ]);
        command.args([
            "--symbol-noise",
            "0.5",
            "--mention-replacement",
            "0.5",
            "--word-dropout",
            "0.1",
        ]);
        command.stdout(Stdio::null()).stderr(Stdio::null());
        command
    };
    let outcome = |out: &Path| {
        let files = [
            "steps.jsonl",
            "records.jsonl",
            "last/model.safetensors",
            "teacher-targets.bin",
        ];
        files.map(|file| std::fs::read(out.join(file)).unwrap())
    };
    let whole = dir.path().join("whole");
    let began = Instant::now();
    succeed(&mut command(&whole));
    let duration = began.elapsed();
    let killed = dir.path().join("killed");
    let (mut kills, mut patience) = (0, duration / 4);
    loop {
        let mut command = command(&killed);
        if killed.join("steps.jsonl").exists() {
            command.arg("--resume");
        }
        let mut process = command.spawn().unwrap();
        let end = Instant::now() + patience;
        let status = loop {
            let status = process.try_wait().unwrap();
            if status.is_some() || Instant::now() >= end {
                break status;
            }
            sleep(Duration::from_millis(1));
        };
        if let Some(status) = status {
            assert!(status.success(), "{status}");
            break;
        }
        process.kill().unwrap();
        process.wait().unwrap();
        kills += 1;
        patience += duration / 13;
    }
    assert!(kills > 0);
    assert_eq!(outcome(&whole), outcome(&killed), "after {kills} kills");
}
