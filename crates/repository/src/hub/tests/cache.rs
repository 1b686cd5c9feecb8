//! The cache in the layout of `huggingface_hub`.

use std::fs;
use std::os::unix::fs::symlink;
use std::sync::Barrier;
use std::thread;

use super::server::{Fault, git_hash, sha256};
use super::{CONFIG, Fixture, ID, VOCABULARY, client, client_of, fault_of, model, settings};
use crate::hub::error::HubFault;
use crate::hub::files::Files;

#[test]
fn the_layout_is_that_of_huggingface_hub() {
    let fixture = Fixture::new();
    let snapshot = fixture.fetch().unwrap();
    let dir = fixture.cache.path().join("models--some--model");
    assert_eq!(snapshot.dir, dir.join("snapshots").join(&fixture.commit));
    assert_eq!(snapshot.files, ["config.json", "vocab.txt", "model.safetensors"]);
    assert_eq!(fs::read_to_string(dir.join("refs/main")).unwrap(), fixture.commit);
    for (file, blob) in [
        ("config.json", git_hash(CONFIG)),
        ("vocab.txt", git_hash(VOCABULARY)),
        ("model.safetensors", sha256(&fixture.weights)),
    ] {
        let link = fs::read_link(snapshot.dir.join(file)).unwrap();
        assert_eq!(link.to_str().unwrap(), format!("../../blobs/{blob}"));
        assert!(
            fixture
                .cache
                .path()
                .join(format!(".locks/models--some--model/{blob}.lock"))
                .is_file()
        );
    }
    assert!(
        dir.join(".no_exist")
            .join(&fixture.commit)
            .join("tokenizer.json")
            .is_file()
    );
    // The files that were not asked for were not downloaded.
    assert!(!snapshot.dir.join("README.md").exists());
}

#[test]
fn files_in_folders_and_external_data_are_linked() {
    let fixture = Fixture::new();
    let graph = graph_with_data_in("model.onnx_data");
    let files: [(&str, &[u8]); 4] = [
        ("config.json", CONFIG),
        ("tokenizer.json", b"{}"),
        ("onnx/model.onnx", &graph),
        ("onnx/model.onnx_data", b"weights"),
    ];
    fixture.hub.commit("a/b", "main", &files);
    let fetch = || {
        fixture
            .client
            .fetch(&model("a/b"), Files::Onnx("onnx/model.onnx"))
    };
    let snapshot = fetch().unwrap();
    assert_eq!(
        fs::read(snapshot.dir.join("onnx/model.onnx_data")).unwrap(),
        b"weights"
    );
    assert_eq!(snapshot.files.last().unwrap(), "onnx/model.onnx_data");
    fixture.hub.fail("", 99, Fault::Close);
    assert_eq!(fetch().unwrap(), snapshot);
}

/// An ONNX model with one weight, whose data are in another file.
fn graph_with_data_in(location: &str) -> Vec<u8> {
    let field =
        |tag: u8, content: &[u8]| [&[tag << 3 | 2, u8::try_from(content.len()).unwrap()], content].concat();
    let entry = [field(1, b"location"), field(2, location.as_bytes())].concat();
    field(7, &field(5, &field(13, &entry)))
}

#[test]
fn external_data_outside_the_model_are_refused() {
    let fixture = Fixture::new();
    for location in ["../../../secret", "/etc/passwd", ""] {
        let files: [(&str, &[u8]); 3] = [
            ("config.json", CONFIG),
            ("tokenizer.json", b"{}"),
            ("model.onnx", &graph_with_data_in(location)),
        ];
        fixture.hub.commit("a/b", "main", &files);
        let error = fixture
            .client
            .fetch(&model("a/b"), Files::Onnx("model.onnx"))
            .unwrap_err();
        assert!(
            matches!(fault_of(error), (file, HubFault::Onnx { .. }) if file == "model.onnx"),
            "{location}"
        );
    }
}

#[test]
fn shards_are_fetched_and_those_that_the_model_lacks_are_named() {
    let fixture = Fixture::new();
    let index = br#"{"weight_map": {"a": "model-1.safetensors", "b": "model-2.safetensors"}}"#;
    let files: [(&str, &[u8]); 5] = [
        ("config.json", CONFIG),
        ("tokenizer.json", b"{}"),
        ("model.safetensors.index.json", index),
        ("model-1.safetensors", b"1"),
        ("model-2.safetensors", b"2"),
    ];
    fixture.hub.commit("a/b", "main", &files);
    let snapshot = fixture.client.fetch(&model("a/b"), Files::Checkpoint).unwrap();
    assert!(
        snapshot.dir.join("model-1.safetensors").is_file()
            && snapshot.dir.join("model-2.safetensors").is_file()
    );
    fixture.hub.commit("a/c", "main", &files[..4]);
    let (file, fault) = fault_of(
        fixture
            .client
            .fetch(&model("a/c"), Files::Checkpoint)
            .unwrap_err(),
    );
    assert_eq!(file, "model-2.safetensors");
    assert!(matches!(fault, HubFault::FileNotFound { .. }), "{fault}");
    let escaping = br#"{"weight_map": {"a": "../../../x.safetensors"}}"#;
    let files: [(&str, &[u8]); 3] = [files[0], files[1], ("model.safetensors.index.json", escaping)];
    fixture.hub.commit("a/d", "main", &files);
    let (_, fault) = fault_of(
        fixture
            .client
            .fetch(&model("a/d"), Files::Checkpoint)
            .unwrap_err(),
    );
    assert!(matches!(fault, HubFault::Shards(_)), "{fault}");
}

#[test]
fn a_tokenizer_needs_no_weights() {
    let fixture = Fixture::new();
    let snapshot = fixture.client.fetch(&model(ID), Files::Tokenizer).unwrap();
    assert_eq!(snapshot.files, ["config.json", "vocab.txt"]);
    assert!(!snapshot.dir.join("model.safetensors").exists());
}

#[test]
fn bertweets_files_are_fetched_beside_a_tokenizer_json() {
    let fixture = Fixture::new();
    let codes: (&str, &[u8]) = ("bpe.codes", b"a b 1\n");
    let files: [(&str, &[u8]); 4] = [
        ("config.json", b"{}"),
        codes,
        ("vocab.txt", b"ab 1\n"),
        ("tokenizer.json", b"{}"),
    ];
    for (files, tokenizer) in [
        (&files[..], &["tokenizer.json", "bpe.codes", "vocab.txt"][..]),
        (&files[..3], &["bpe.codes", "vocab.txt"][..]),
        (&[files[0], codes, files[3]][..], &["tokenizer.json"][..]),
    ] {
        fixture.hub.commit("some/bertweet", "main", files);
        let fetched = fixture
            .client
            .fetch(&model("some/bertweet"), Files::Tokenizer)
            .unwrap();
        assert_eq!(fetched.files[0], "config.json");
        assert_eq!(fetched.files[1..], *tokenizer);
    }
}

#[test]
fn what_is_in_the_cache_is_not_downloaded_again() {
    let fixture = Fixture::new();
    fixture.fetch_whole();
    fixture.hub.forget();
    fixture.fetch_whole();
    let requests = fixture.hub.requests("");
    assert_eq!(requests.len(), 1);
    assert!(
        requests[0]
            .path
            .starts_with("/api/models/some/model/revision/main")
    );
    // A commit does not change, so that the hub is not asked.
    fixture.hub.forget();
    let pinned = model(&format!("{ID}@{}", fixture.commit));
    fixture.client.fetch(&pinned, Files::Checkpoint).unwrap();
    assert_eq!(fixture.hub.requests("").len(), 0);
}

#[test]
fn a_content_that_another_commit_has_is_not_downloaded_again() {
    let fixture = Fixture::new();
    fixture.fetch_whole();
    let config = b"{\"model_type\": \"roberta\"}";
    let files: [(&str, &[u8]); 3] = [
        ("config.json", config),
        ("vocab.txt", VOCABULARY),
        ("model.safetensors", &fixture.weights),
    ];
    let commit = fixture.hub.commit(ID, "main", &files);
    fixture.hub.forget();
    let snapshot = fixture.fetch().unwrap();
    assert_eq!(snapshot.commit, commit);
    assert_eq!(fs::read(snapshot.dir.join("config.json")).unwrap(), config);
    assert_eq!(fixture.hub.requests("GET /some/model/resolve").len(), 1);
    // The earlier commit is still there.
    assert!(
        fixture
            .cache
            .path()
            .join("models--some--model/snapshots")
            .join(&fixture.commit)
            .is_dir()
    );
}

#[test]
fn branches_tags_and_pull_requests_are_resolved_to_commits() {
    let fixture = Fixture::new();
    for revision in ["v1.0", "refs/pr/1", "a+b"] {
        let files: [(&str, &[u8]); 3] = [
            ("config.json", revision.as_bytes()),
            ("vocab.txt", b""),
            ("model.safetensors", b""),
        ];
        let commit = fixture.hub.commit(ID, revision, &files);
        let fetched = fixture
            .client
            .fetch(&model(&format!("{ID}@{revision}")), Files::Checkpoint)
            .unwrap();
        assert_eq!(fetched.commit, commit);
        assert_eq!(
            fs::read_to_string(fetched.dir.join("config.json")).unwrap(),
            revision
        );
        let path = fixture
            .cache
            .path()
            .join("models--some--model/refs")
            .join(revision);
        assert_eq!(fs::read_to_string(path).unwrap(), commit);
    }
    fixture.hub.commit(
        "gpt2",
        "main",
        &[("config.json", b"{}"), ("tokenizer.json", b"{}")],
    );
    fixture.client.fetch(&model("gpt2"), Files::Tokenizer).unwrap();
    assert!(fixture.cache.path().join("models--gpt2").is_dir());
}

#[test]
fn a_hub_that_is_away_or_has_a_fault_is_replaced_by_the_cache() {
    for fault in [
        Fault::Close,
        Fault::Status(503, vec![]),
        Fault::Status(429, vec![]),
        Fault::Stall(0),
    ] {
        let fixture = Fixture::new();
        fixture.fetch_whole();
        fixture.hub.forget();
        fixture.hub.fail("", 99, fault);
        fixture.fetch_whole();
        // Without further attempts, which would delay each start.
        assert_eq!(fixture.hub.requests("").len(), 1);
    }
}

#[test]
fn a_refusal_is_not_replaced_by_the_cache() {
    let fixture = Fixture::new();
    fixture.fetch_whole();
    for status in [401, 403, 404] {
        fixture.hub.fail("", 1, Fault::Status(status, vec![]));
        fixture.fetch().unwrap_err();
    }
}

#[test]
fn a_new_commit_whose_download_fails_leaves_the_old_one_usable() {
    let fixture = Fixture::new();
    fixture.fetch_whole();
    let files: [(&str, &[u8]); 3] = [
        ("config.json", b"{}"),
        ("vocab.txt", b""),
        ("model.safetensors", b"new"),
    ];
    fixture.hub.commit(ID, "main", &files);
    fixture.hub.fail("signature", 99, Fault::Close);
    fixture.fetch().unwrap_err();
    let mut settings = settings(&fixture.hub, fixture.cache.path());
    settings.offline = true;
    let snapshot = client_of(settings).fetch(&model(ID), Files::Checkpoint).unwrap();
    assert_eq!(snapshot.commit, fixture.commit);
}

#[test]
fn offline_the_cache_alone_is_used() {
    let fixture = Fixture::new();
    let mut settings = settings(&fixture.hub, fixture.cache.path());
    settings.offline = true;
    let offline = client_of(settings);
    let fetch = |name: &str, files| offline.fetch(&model(name), files);
    let (file, fault) = fault_of(fetch(ID, Files::Checkpoint).unwrap_err());
    assert_eq!(file, "config.json");
    assert!(
        fault.to_string().contains("HF_HUB_OFFLINE is set; unset it"),
        "{fault}"
    );
    fixture.client.fetch(&model(ID), Files::Tokenizer).unwrap();
    fetch(ID, Files::Tokenizer).unwrap();
    let (file, fault) = fault_of(fetch(ID, Files::Checkpoint).unwrap_err());
    assert!(matches!(fault, HubFault::Offline { .. }), "{fault}");
    assert_eq!(file, "model.safetensors");
    fixture.fetch_whole();
    fixture.hub.forget();
    let commit = &fixture.commit;
    for name in [ID.to_owned(), format!("{ID}@{commit}")] {
        assert_eq!(&fetch(&name, Files::Checkpoint).unwrap().commit, commit);
    }
    fetch(&format!("{ID}@v2"), Files::Checkpoint).unwrap_err();
    assert_eq!(fixture.hub.requests("").len(), 0);
}

#[test]
fn two_that_start_together_download_once() {
    let fixture = Fixture::new();
    let barrier = Barrier::new(4);
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                barrier.wait();
                // Each as a process of its own: with its own locks.
                let client = client(&fixture.hub, fixture.cache.path());
                client.fetch(&model(ID), Files::Checkpoint).unwrap();
            });
        }
    });
    fixture.fetch_whole();
    assert_eq!(fixture.hub.requests("GET /some/model/resolve").len(), 3);
}

#[test]
fn a_link_to_nothing_and_a_blob_of_another_size_are_replaced() {
    let fixture = Fixture::new();
    fixture.fetch_whole();
    let blob = fixture.blobs().join(sha256(&fixture.weights));
    fs::remove_file(&blob).unwrap();
    fixture.fetch_whole();
    fs::write(&blob, b"short").unwrap();
    let link = fixture
        .cache
        .path()
        .join("models--some--model/snapshots")
        .join(&fixture.commit)
        .join("model.safetensors");
    fs::remove_file(&link).unwrap();
    fixture.fetch_whole();
    fs::remove_file(&link).unwrap();
    symlink("nothing", &link).unwrap();
    fixture.fetch_whole();
}

#[test]
fn a_blob_that_something_altered_is_named() {
    let fixture = Fixture::new();
    let snapshot = fixture.fetch().unwrap();
    let blob = fixture.blobs().join(git_hash(VOCABULARY));
    fs::write(&blob, b"[PAD]\n[UNX]\n").unwrap();
    let error = fixture.client.verify(&model(ID), &snapshot).unwrap_err();
    let (file, fault) = fault_of(error);
    assert_eq!(file, "vocab.txt");
    assert!(
        fault
            .to_string()
            .contains(&format!("{} in the cache is damaged", blob.display())),
        "{fault}"
    );
    fs::remove_file(blob).unwrap();
    fixture.fetch_whole();
}

#[test]
fn a_ref_that_is_no_commit_is_as_none() {
    let fixture = Fixture::new();
    let refs = fixture.cache.path().join("models--some--model/refs");
    fs::create_dir_all(&refs).unwrap();
    fs::write(refs.join("main"), "../../..").unwrap();
    fixture.fetch_whole();
    assert_eq!(fs::read_to_string(refs.join("main")).unwrap(), fixture.commit);
}
