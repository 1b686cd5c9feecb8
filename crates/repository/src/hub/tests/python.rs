//! Python's `huggingface_hub` and this client share a cache. `make hub-cache` runs these tests.

use std::fs;
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use super::server::{Fault, git_hash};
use super::{CONFIG, Fixture};
use crate::dataset_address::HubDataset;

/// Python with `huggingface_hub`, which runs a program with the hub and the cache of a fixture.
fn python(fixture: &Fixture, program: &str) -> Command {
    let python = std::env::var_os("NERVE_HUB_PYTHON").expect("NERVE_HUB_PYTHON names no Python");
    let mut command = Command::new(python);
    command
        .args(["-c", program])
        .env("HF_ENDPOINT", &fixture.hub.url)
        .env("HF_HUB_CACHE", fixture.cache.path())
        .env("HF_HOME", fixture.cache.path().join("home"))
        .env("HF_HUB_DISABLE_XET", "1")
        .env("HF_HUB_DISABLE_TELEMETRY", "1")
        .stdin(Stdio::piped());
    command
}

fn run(mut command: Command) {
    assert!(command.status().unwrap().success());
}

#[test]
#[ignore = "needs Python with huggingface_hub"]
fn a_cache_of_python_is_used() {
    let fixture = Fixture::new();
    run(python(
        &fixture,
        "from huggingface_hub import hf_hub_download\n\
         for file in ['config.json', 'vocab.txt', 'model.safetensors']: hf_hub_download('some/model', file)",
    ));
    let before = fixture.hub.requests("GET").len();
    fixture.fetch_whole();
    // The list of files alone.
    assert_eq!(fixture.hub.requests("GET").len(), before + 1);
    fixture.hub.fail("", 99, Fault::Close);
    fixture.fetch_whole();
}

#[test]
#[ignore = "needs Python with huggingface_hub"]
fn python_uses_the_cache() {
    let fixture = Fixture::new();
    fixture.fetch_whole();
    let mut command = python(
        &fixture,
        "import os, sys\n\
         from huggingface_hub import hf_hub_download, scan_cache_dir, snapshot_download, try_to_load_from_cache, _CACHED_NO_EXIST\n\
         folder = snapshot_download('some/model')\n\
         for file in ['config.json', 'vocab.txt', 'model.safetensors']:\n\
         \x20   assert hf_hub_download('some/model', file) == os.path.join(folder, file), file\n\
         assert try_to_load_from_cache('some/model', 'tokenizer.json') is _CACHED_NO_EXIST\n\
         found = scan_cache_dir(os.environ['HF_HUB_CACHE'])\n\
         [repository] = found.repos\n\
         [revision] = repository.revisions\n\
         assert not found.warnings, found.warnings\n\
         assert revision.refs == {'main'} and revision.commit_hash == sys.argv[1], revision\n\
         assert len(revision.files) == 3, revision",
    );
    command.arg(&fixture.commit).env("HF_HUB_OFFLINE", "1");
    run(command);
}

#[test]
#[ignore = "needs Python with huggingface_hub"]
fn python_uses_the_cache_of_a_data_set() {
    let fixture = Fixture::new();
    let files: [(&str, &[u8]); 1] = [("default/train/0000.parquet", b"PAR1")];
    let commit = fixture
        .hub
        .commit("datasets/some/set", "refs/convert/parquet", &files);
    let dataset = HubDataset::parse("some/set").unwrap();
    let found = fixture.client.fetch_dataset(&dataset).unwrap();
    let mut command = python(
        &fixture,
        "import os, sys\n\
         from huggingface_hub import hf_hub_download, scan_cache_dir\n\
         options = dict(repo_type='dataset', revision='refs/convert/parquet')\n\
         assert hf_hub_download('some/set', 'default/train/0000.parquet', **options) == sys.argv[1]\n\
         found = scan_cache_dir(os.environ['HF_HUB_CACHE'])\n\
         [repository] = found.repos\n\
         [revision] = repository.revisions\n\
         assert not found.warnings, found.warnings\n\
         assert repository.repo_type == 'dataset' and repository.repo_id == 'some/set', repository\n\
         assert revision.refs == {'refs/convert/parquet'} and revision.commit_hash == sys.argv[2], revision",
    );
    let train = found.splits.values().next().unwrap()[0].clone();
    command.arg(train).arg(&commit).env("HF_HUB_OFFLINE", "1");
    run(command);
}

#[test]
#[ignore = "needs Python with huggingface_hub"]
fn a_file_that_python_downloads_is_waited_for() {
    let fixture = Fixture::new();
    let blob = git_hash(CONFIG);
    let lock = fixture
        .cache
        .path()
        .join(format!(".locks/models--some--model/{blob}.lock"));
    fs::create_dir_all(lock.parent().unwrap()).unwrap();
    let mut command = python(
        &fixture,
        "import sys\n\
         from huggingface_hub.utils import WeakFileLock\n\
         with WeakFileLock(sys.argv[1]):\n\
         \x20   print('locked', flush=True)\n\
         \x20   sys.stdin.read()",
    );
    let mut holder: Child = command.arg(&lock).stdout(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(holder.stdout.take().unwrap())
        .read_line(&mut line)
        .unwrap();
    assert_eq!(line, "locked\n");
    thread::scope(|scope| {
        let fetched = scope.spawn(|| fixture.fetch_whole());
        while fixture.hub.requests("HEAD").is_empty() {
            thread::sleep(Duration::from_millis(10));
        }
        thread::sleep(Duration::from_millis(200));
        assert!(fixture.hub.requests("GET /some/model/resolve").is_empty());
        drop(holder.stdin.take());
        fetched.join().unwrap();
    });
    assert!(holder.wait().unwrap().success());
}
