//! A tiny tagger that is trained from scratch once for all tests, and functions that run commands.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::LazyLock;
use std::thread::sleep;
use std::time::{Duration, Instant};

use tempfile::TempDir;

/// The directory of the binaries under test, which have the profile of the test binary.
fn profile_dir() -> PathBuf {
    let test = std::env::current_exe().unwrap();
    test.ancestors().nth(2).unwrap().to_owned()
}

/// A command of this workspace.
pub(crate) fn binary(name: &str) -> Command {
    let path = profile_dir().join(name);
    assert!(path.is_file(), "{} is not built: run `make test`", path.display());
    let mut command = Command::new(path);
    command.env_remove("NERVE_MODEL");
    command
}

/// Runs a command until it exits.
pub(crate) fn output(command: &mut Command) -> Output {
    command.output().unwrap()
}

/// Runs a command that must succeed, and returns its standard output.
pub(crate) fn succeed(command: &mut Command) -> String {
    let output = output(command);
    let shown = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {shown}");
    String::from_utf8(output.stdout).unwrap()
}

/// Runs a command that must exit with status 1, and returns its standard error.
pub(crate) fn fail(command: &mut Command) -> String {
    let output = output(command);
    assert_eq!(output.status.code(), Some(1), "{command:?}");
    let message = String::from_utf8(output.stderr).unwrap();
    assert!(!message.contains("panicked"), "{message}");
    message
}

/// Copies the files of a directory, without its subdirectories, into a new one.
pub(crate) fn copy_files(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        if entry.file_type().unwrap().is_file() {
            std::fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
        }
    }
}

/// The root of the repository.
pub(crate) fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}

const PEOPLE: [&str; 6] = ["Ann Lee", "Bob", "Zoë", "Cy Dahl", "Max Roe", "Ida"];
const PLACES: [&str; 6] = ["Oslo", "New York", "São Paulo", "Rome", "Ulm", "Port Ra"];
const PLAIN: [&str; 6] = [
    "Nothing happened today .",
    "The :) bus was late !",
    "@ida did n't go",
    "what a day",
    "ok",
    "see #news",
];

/// A corpus in which every name is a person and every place a location.
pub(crate) fn tiny_corpus(dir: &Path) {
    let words = |name: &str, of: &str| -> String {
        let mut words = name.split(' ');
        let first = words.next().unwrap();
        let rest: String = words.map(|word| format!("{word}\tI-{of}\n")).collect();
        format!("{first}\tB-{of}\n{rest}")
    };
    let outside = |text: &str| -> String { text.split(' ').map(|word| format!("{word}\tO\n")).collect() };
    let mut sentences = Vec::new();
    for person in PEOPLE {
        for place in PLACES {
            let (person, place) = (words(person, "person"), words(place, "location"));
            sentences.push(format!("{person}{}{place}{}", outside("went to"), outside(".")));
            sentences.push(format!(
                "{}{place}{}{person}{}",
                outside("In"),
                outside(", I met"),
                outside("today !")
            ));
        }
    }
    sentences.extend(PLAIN.map(outside));
    // Joined sentences, so that every position of a window is trained.
    let joined: Vec<String> = sentences.chunks(6).map(<[std::string::String]>::concat).collect();
    sentences.extend(joined);
    let text = sentences.join("\n") + "\n";
    for split in ["train", "dev", "test"] {
        std::fs::write(dir.join(format!("{split}.conll")), &text).unwrap();
    }
    let mut pieces: Vec<String> = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
        .map(str::to_owned)
        .to_vec();
    for word in text.lines().filter_map(|line| line.split('\t').next()) {
        // A long word has two pieces, so that reading labels from last subwords instead of first ones fails tests.
        let word = word.to_lowercase().replace('ë', "e").replace('ã', "a");
        for part in word.split_inclusive(|c: char| !c.is_alphanumeric()) {
            let (head, tail) = part.split_at(part.len().min(3));
            pieces.push(head.to_owned());
            if !tail.is_empty() {
                pieces.push(format!("##{tail}"));
            }
            pieces.extend(part.chars().filter(|c| !c.is_alphanumeric()).map(String::from));
        }
    }
    let mut seen = std::collections::HashSet::new();
    pieces.retain(|piece| !piece.is_empty() && seen.insert(piece.clone()));
    std::fs::write(dir.join("vocab.txt"), pieces.join("\n") + "\n").unwrap();
}

/// A tagger that fits the tiny corpus.
pub(crate) struct Tiny {
    dir: TempDir,
}

impl Tiny {
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub(crate) fn corpus(&self) -> PathBuf {
        self.path("corpus/dev.conll")
    }

    pub(crate) fn checkpoint(&self) -> PathBuf {
        self.path("run/best")
    }

    pub(crate) fn bundle(&self, precision: &str) -> PathBuf {
        self.path(precision)
    }
}

static TINY: LazyLock<Tiny> = LazyLock::new(|| {
    let tiny = Tiny {
        dir: tempfile::tempdir().unwrap(),
    };
    let corpus = tiny.path("corpus");
    std::fs::create_dir(&corpus).unwrap();
    tiny_corpus(&corpus);
    succeed(train(&corpus, &tiny.path("run")).args(["--epochs", "12"]));
    for precision in ["fp32", "fp16", "int8"] {
        succeed(
            binary("nerve-export")
                .args(["--precision", precision, "--max-length", "48", "--name", "tiny"])
                .arg("--checkpoint")
                .arg(tiny.checkpoint())
                .arg("--out")
                .arg(tiny.bundle(precision))
                .arg("--calibration")
                .arg(tiny.corpus())
                .arg("--evaluate")
                .arg(tiny.corpus()),
        );
    }
    tiny
});

/// The tagger that all tests share.
pub(crate) fn tiny() -> &'static Tiny {
    &TINY
}

/// The command that trains a tiny tagger from scratch.
pub(crate) fn train(corpus: &Path, out: &Path) -> Command {
    train_on(&[OsStr::new("--data"), corpus.as_os_str()], corpus, out)
}

/// The command that trains a tiny tagger from scratch on these data, with the tokenizer of a corpus.
pub(crate) fn train_on(data: &[impl AsRef<OsStr>], corpus: &Path, out: &Path) -> Command {
    let mut command = binary("nerve-trainer");
    command
        .arg("train")
        .args(data)
        .arg("--base")
        .arg(corpus)
        .arg("--out")
        .arg(out);
    command.args([
        "--init",
        "scratch",
        "--reports=false",
        "--hidden-size",
        "32",
        "--layers",
        "2",
        "--heads",
        "2",
    ]);
    command.args([
        "--intermediate-size",
        "64",
        "--learning-rate",
        "3e-3",
        "--batch-size",
        "8",
    ]);
    command.args(["--max-length", "48", "--threads", "2", "--seed", "1"]);
    command
}

/// What a command says on standard error that gets SIGINT once a file has content, and then ends as interrupted.
pub(crate) fn interrupted(command: &mut Command, file: &Path) -> String {
    let process = command
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let end = Instant::now() + Duration::from_secs(60);
    let has_begun = || std::fs::metadata(file).is_ok_and(|file| file.len() > 0);
    while !has_begun() && Instant::now() < end {
        sleep(Duration::from_millis(1));
    }
    let mut interrupt = Command::new("kill");
    interrupt.args(["-INT", &process.id().to_string()]);
    assert!(interrupt.status().unwrap().success());
    let output = process.wait_with_output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(130), "{said}");
    said
}
