//! Stores: publishing, the versions that servers load, and failures in between.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use nerve_inference::Model;
use nerve_repository::Checkpoint;
use serde_json::json;

use crate::fixture::{binary, copy_files, fail, succeed, tiny, tiny_corpus, train};
use crate::server::Server;

fn publish(bundle: &std::path::Path, store: &std::path::Path) -> String {
    succeed(
        binary("nerve-export")
            .arg("publish")
            .arg(bundle)
            .arg("--store")
            .arg(store),
    )
}

#[test]
fn publishing_makes_a_version_current() {
    let dir = tempfile::tempdir().unwrap();
    let store = dir.path().join("store");
    let first = publish(&tiny().bundle("fp32"), &store);
    let second = publish(&tiny().bundle("int8"), &store);
    assert_ne!(first, second);
    let current = fs::canonicalize(store.join("current")).unwrap();
    assert_eq!(current, fs::canonicalize(second.trim()).unwrap());
    publish(&tiny().bundle("fp32"), &store);
    assert_eq!(
        fs::canonicalize(store.join("current")).unwrap(),
        fs::canonicalize(first.trim()).unwrap()
    );
    assert_eq!(fs::read_dir(store.join("versions")).unwrap().count(), 2);
    let server = Server::start(&store, &[]);
    assert_eq!(server.get("/info").body["model"]["precision"], "fp32");
}

#[test]
fn the_url_of_a_directory_is_the_store_in_it() {
    let dir = tempfile::tempdir().unwrap();
    let store = dir.path().join("store");
    let url = format!("file://{}", store.display());
    let first = publish(&tiny().bundle("fp32"), Path::new(&url));
    publish(&tiny().bundle("int8"), Path::new(&url));
    let server = Server::start(Path::new(&url), &["--reload-poll-ms", "100"]);
    assert_eq!(server.get("/info").body["model"]["precision"], "int8");
    let version = Path::new(first.trim()).file_name().unwrap();
    let mut rollback = binary("nerve-export");
    rollback.arg("rollback").arg(version).args(["--store", &url]);
    assert_eq!(succeed(&mut rollback), first);
    info_once(&server, |info| info["model"]["precision"] == "fp32");
}

#[test]
fn a_store_that_cannot_be_reached_is_named_with_its_cause() {
    let dir = tempfile::tempdir().unwrap();
    // A port that nothing listens on.
    let port = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    let away = |command: &mut std::process::Command| {
        let endpoint = format!("http://127.0.0.1:{port}");
        let keys = [("AWS_ACCESS_KEY_ID", "a"), ("AWS_SECRET_ACCESS_KEY", "b")];
        command
            .env("AWS_ENDPOINT_URL", endpoint)
            .envs(keys)
            .env("NERVE_CACHE", dir.path());
        fail(command)
    };
    let mut serve = binary("nerve-server");
    serve.args(["--model", "s3://bucket/store", "--listen", "127.0.0.1:0"]);
    let mut export = binary("nerve-export");
    export
        .arg("publish")
        .arg(tiny().bundle("fp32"))
        .args(["--store", "s3://bucket/store"]);
    for command in [&mut serve, &mut export] {
        let said = away(command);
        assert!(
            said.contains("s3://bucket/store/current: the store fails"),
            "{said}"
        );
    }
}

#[test]
fn bundles_that_differ_in_their_settings_alone_are_different_versions() {
    let dir = tempfile::tempdir().unwrap();
    let store = dir.path().join("store");
    let settings = [
        ("48", "corpus", "tiny"),
        ("16", "corpus", "tiny"),
        ("48", "whitespace", "tiny"),
        ("48", "corpus", "another"),
    ];
    for (max_length, splitter, name) in settings {
        let bundle = dir.path().join(format!("{max_length}-{splitter}-{name}"));
        let mut export = binary("nerve-export");
        export.args(["--precision", "fp32", "--max-length", max_length]);
        export.args(["--splitter", splitter, "--name", name]);
        export.arg("--checkpoint").arg(tiny().checkpoint());
        succeed(export.arg("--out").arg(&bundle));
        publish(&bundle, &store);
        let (live, published) = (Model::open(&store).unwrap(), Model::open(&bundle).unwrap());
        assert_eq!(live.info(), published.info());
    }
    assert_eq!(
        fs::read_dir(store.join("versions")).unwrap().count(),
        settings.len()
    );
}

#[test]
fn a_damaged_version_is_published_again_and_served() {
    let dir = tempfile::tempdir().unwrap();
    let store = dir.path().join("store");
    let version = publish(&tiny().bundle("fp32"), &store);
    let server = Server::start(&store, &["--reload-poll-ms", "100"]);
    let graph = Path::new(version.trim()).join("model.onnx");
    fs::write(&graph, "").unwrap();
    publish(&tiny().bundle("int8"), &store);
    info_once(&server, |info| info["model"]["precision"] == "int8");
    assert_eq!(publish(&tiny().bundle("fp32"), &store), version);
    info_once(&server, |info| info["model"]["precision"] == "fp32");
    assert_eq!(served(&store), "fp32");
}

/// The maximum length of a bundle exported without `--max-length`, and the standard error of the export.
fn exported_max_length(checkpoint: &Path, out: &Path) -> (usize, String) {
    let mut export = binary("nerve-export");
    export
        .args(["--precision", "fp32", "--checkpoint"])
        .arg(checkpoint);
    let done = export.arg("--out").arg(out).output().unwrap();
    let said = String::from_utf8(done.stderr).unwrap();
    assert!(done.status.success(), "{said}");
    (Model::open(out).unwrap().info().max_length, said)
}

#[test]
fn an_export_takes_its_maximum_length_from_the_checkpoint() {
    let dir = tempfile::tempdir().unwrap();
    let checkpoint = dir.path().join("checkpoint");
    copy_files(&tiny().checkpoint(), &checkpoint);
    let config = checkpoint.join("tokenizer_config.json");
    let positions = Checkpoint::open(&checkpoint).unwrap().config.max_length();
    for (number, (fields, expected, reason)) in [
        (
            json!({"model_max_length": 40}),
            40,
            "model_max_length of tokenizer_config.json",
        ),
        (
            json!({"model_max_length": 100_000}),
            positions,
            "positions, fewer than",
        ),
        (json!({}), positions.min(512), "has no model_max_length"),
    ]
    .into_iter()
    .enumerate()
    {
        fs::write(&config, fields.to_string()).unwrap();
        let (found, said) = exported_max_length(&checkpoint, &dir.path().join(number.to_string()));
        assert_eq!(found, expected, "{said}");
        assert!(said.contains(reason), "{said}");
    }
}

#[test]
fn only_what_is_better_on_the_same_file_is_published() {
    let dir = tempfile::tempdir().unwrap();
    let (store, dev) = (dir.path().join("store"), dir.path().join("dev.conll"));
    // The tiny model finds both entities.
    fs::write(&dev, "I\tO\nmet\tO\nBob\tB-person\n\nin\tO\nRome\tB-location\n").unwrap();
    let command = |bundle: &str| {
        let mut command = binary("nerve-export");
        command.arg("publish").arg(tiny().bundle(bundle));
        command
            .arg("--store")
            .arg(&store)
            .arg("--only-if-better")
            .arg(&dev);
        command
    };
    let first = succeed(&mut command("fp32"));
    let current = fs::read_link(store.join("current")).unwrap();
    assert!(first.trim().ends_with(current.to_str().unwrap()), "{first}");
    // The int8 bundle has the same score, so it is not better.
    let refused = command("int8").output().unwrap();
    assert_eq!(refused.status.code(), Some(3));
    assert!(String::from_utf8_lossy(&refused.stderr).contains("not better"));
    assert_eq!(fs::read_link(store.join("current")).unwrap(), current);
    fs::write(store.join(&current).join("model.onnx"), "").unwrap();
    assert!(fail(&mut command("int8")).contains("cannot open"));
}

#[test]
fn a_training_publishes_its_run_and_again_only_what_is_better() {
    let dir = tempfile::tempdir().unwrap();
    tiny_corpus(dir.path());
    let (run, store) = (dir.path().join("run"), dir.path().join("store"));
    let publish = |run: &Path| {
        let mut command = train(dir.path(), run);
        command.args(["--epochs", "12", "--publish-precision", "fp32", "--publish"]);
        command.arg(&store);
        command
    };
    let said = succeed(&mut publish(&run));
    let current = fs::read_link(store.join("current")).unwrap();
    assert!(said.trim().ends_with(current.to_str().unwrap()), "{said}");
    let server = Server::start(&store, &[]);
    assert_eq!(server.get("/info").body["model"]["name"], "run");
    // The same training again has the same score. Its bundle keeps the name of the current model.
    let again = dir.path().join("again");
    let refused = publish(&again).arg("--only-if-better").output().unwrap();
    assert_eq!(refused.status.code(), Some(3));
    assert!(String::from_utf8_lossy(&refused.stderr).contains("not published"));
    assert_eq!(fs::read_link(store.join("current")).unwrap(), current);
    let bundle = Model::open(&again.join("bundle")).unwrap();
    assert_eq!(bundle.info().name, "run");
}

#[test]
fn a_published_run_records_its_base_model() {
    let dir = tempfile::tempdir().unwrap();
    tiny_corpus(dir.path());
    let (base, store) = (dir.path().join("bases/tiny"), dir.path().join("store"));
    copy_files(&tiny().checkpoint(), &base);
    let mut train = binary("nerve-trainer");
    train.args([
        "train",
        "--epochs",
        "1",
        "--learning-rate",
        "1e-4",
        "--reports=false",
    ]);
    train.args([
        "--max-length",
        "48",
        "--threads",
        "2",
        "--publish-precision",
        "fp32",
    ]);
    train.arg("--data").arg(dir.path()).arg("--base").arg(&base);
    train.arg("--out").arg(dir.path().join("run"));
    succeed(train.arg("--publish").arg(&store));
    assert_eq!(
        Model::open(&store).unwrap().info().base.as_deref(),
        Some("bases/tiny")
    );
}

/// The precision of the current version of a store, after a server has opened the version and answered a request.
fn served(store: &Path) -> String {
    let server = Server::start(store, &[]);
    assert_eq!(server.post("/ner", &json!({"text": "I met Bob"})).status, 200);
    server.get("/info").body["model"]["precision"]
        .as_str()
        .unwrap()
        .to_owned()
}

#[test]
fn a_publisher_killed_at_any_moment_leaves_a_whole_version_current() {
    let dir = tempfile::tempdir().unwrap();
    let store = dir.path().join("store");
    // The first run reads the program from the disk, which takes longer than to publish.
    publish(&tiny().bundle("int8"), &store);
    let began = Instant::now();
    publish(&tiny().bundle("fp32"), &store);
    let whole = began.elapsed();
    let (mut killed, mut finished) = (0, 0);
    for step in 0..60 {
        // Without its directory, a version has to be copied again.
        let current = fs::canonicalize(store.join("current")).unwrap();
        for version in fs::read_dir(store.join("versions")).unwrap() {
            let version = version.unwrap().path();
            if version != current {
                fs::remove_dir_all(version).unwrap();
            }
        }
        let live = Model::open(&store).unwrap();
        let other = match live.info().precision.as_str() {
            "fp32" => "int8",
            _ => "fp32",
        };
        let mut publisher = binary("nerve-export")
            .arg("publish")
            .arg(tiny().bundle(other))
            .arg("--store")
            .arg(&store)
            .stdout(std::process::Stdio::null())
            .spawn()
            .unwrap();
        std::thread::sleep(whole * step / 50);
        publisher.kill().unwrap();
        match publisher.wait().unwrap().success() {
            true => finished += 1,
            false => killed += 1,
        }
        // Opening checks the hashes of the current version.
        Model::open(&store).unwrap();
    }
    println!("killed {killed}, finished {finished}");
    assert!(killed > 10);
    publish(&tiny().bundle("int8"), &store);
    assert_eq!(served(&store), "int8");
    let left = |dir: &Path, prefix: &str| {
        let names = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name());
        names
            .filter(|name| name.to_str().unwrap().starts_with(prefix))
            .count()
    };
    assert_eq!(
        (
            left(&store.join("versions"), ".incoming-"),
            left(&store, ".current-")
        ),
        (0, 0)
    );
}

#[test]
fn a_disk_that_is_full_leaves_the_store_as_it_was() {
    let dir = tempfile::tempdir().unwrap();
    let store = dir.path().join("store");
    publish(&tiny().bundle("fp32"), &store);
    // A file size limit lets writes fail in the same way as a full disk.
    for blocks in [0, 1, 2, 8] {
        let mut limited = std::process::Command::new("sh");
        limited
            .arg("-c")
            .arg(format!("trap '' XFSZ; ulimit -f {blocks}; exec \"$@\""));
        limited
            .arg("sh")
            .arg(binary("nerve-export").get_program())
            .arg("publish");
        let failed = limited
            .arg(tiny().bundle("int8"))
            .arg("--store")
            .arg(&store)
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&failed.stderr).into_owned();
        assert!(
            !failed.status.success() && said.contains("File too large"),
            "{blocks}: {said}"
        );
        assert!(
            said.contains(".incoming-"),
            "the message does not name the file: {said}"
        );
        assert_eq!(
            fs::read_dir(store.join("versions")).unwrap().count(),
            1,
            "{blocks}"
        );
    }
    assert_eq!(served(&store), "fp32");
}

#[test]
fn of_publishers_at_the_same_time_each_has_the_store_to_itself() {
    let dir = tempfile::tempdir().unwrap();
    let store = dir.path().join("store");
    std::thread::scope(|scope| {
        for name in ["fp32", "int8", "fp32", "int8", "fp32", "int8"] {
            let store = &store;
            scope.spawn(move || publish(&tiny().bundle(name), store));
        }
    });
    assert_eq!(fs::read_dir(store.join("versions")).unwrap().count(), 2);
    Model::open(&store).unwrap();
}

/// The response of `/info` as soon as `until` holds for it.
fn info_once(server: &Server, until: impl Fn(&serde_json::Value) -> bool) -> serde_json::Value {
    let began = Instant::now();
    loop {
        let info = server.get("/info").body;
        if until(&info) {
            return info;
        }
        assert!(
            began.elapsed() < Duration::from_secs(30),
            "the condition did not become true: {info}"
        );
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn a_server_follows_its_store_through_every_half_done_step() {
    let dir = tempfile::tempdir().unwrap();
    let store = dir.path().join("store");
    let first = publish(&tiny().bundle("fp32"), &store);
    let server = Server::start(&store, &["--reload-poll-ms", "100"]);
    let precision = |info: &serde_json::Value| info["model"]["precision"].clone();
    assert_eq!(precision(&server.get("/info").body), "fp32");

    // Publishers killed before they renamed the directory, before they wrote the manifest, and during a copy of the graph.
    let versions = store.join("versions");
    for (name, complete) in [(".incoming-x", false), ("half", false), ("whole", true)] {
        let half = versions.join(name);
        fs::create_dir(&half).unwrap();
        for entry in fs::read_dir(first.trim()).unwrap() {
            let entry = entry.unwrap();
            if complete || entry.file_name() != "manifest.json" {
                fs::copy(entry.path(), half.join(entry.file_name())).unwrap();
            }
        }
    }
    let point_at = |name: &str| {
        let link = store.join(".current-x");
        std::os::unix::fs::symlink(Path::new("versions").join(name), &link).unwrap();
        fs::rename(&link, store.join("current")).unwrap();
    };
    // A missing version, a version without a manifest, and a version with a truncated graph.
    let graph = versions.join("whole/model.onnx");
    let bytes = fs::read(&graph).unwrap();
    fs::write(&graph, &bytes[..bytes.len() / 2]).unwrap();
    let refused = |info: &serde_json::Value| info["tracks"][0]["problem"].is_string();
    for name in ["gone", "half", "whole"] {
        point_at(name);
        let info = info_once(&server, refused);
        assert_eq!(precision(&info), "fp32", "{name}");
        let problem = info["tracks"][0]["problem"].as_str().unwrap();
        assert!(!problem.contains(dir.path().to_str().unwrap()), "{problem}");
        point_at(Path::new(first.trim()).file_name().unwrap().to_str().unwrap());
        info_once(&server, |info| !refused(info));
    }
    // The copy of the graph is completed.
    point_at("whole");
    info_once(&server, refused);
    fs::write(&graph, &bytes).unwrap();
    info_once(&server, |info| !refused(info));

    publish(&tiny().bundle("int8"), &store);
    info_once(&server, |info| precision(info) == "int8");
    let answer = server.post("/ner", &json!({"text": "I met Bob"})).body;
    let current = fs::canonicalize(store.join("current")).unwrap();
    assert_eq!(
        answer["model"]["version"],
        current.file_name().unwrap().to_str().unwrap()
    );
}

#[test]
fn a_version_is_taken_up_at_file_events_or_at_sighup() {
    let dir = tempfile::tempdir().unwrap();
    let store = dir.path().join("store");
    publish(&tiny().bundle("fp32"), &store);
    let precision = |info: &serde_json::Value| info["model"]["precision"].clone();
    // One server polls once an hour, the other never.
    let watching = Server::start(&store, &["--reload-poll-ms", "3600000"]);
    let waiting = Server::start(&store, &["--reload-poll-ms", "0"]);
    publish(&tiny().bundle("int8"), &store);
    info_once(&watching, |info| precision(info) == "int8");
    assert_eq!(precision(&waiting.get("/info").body), "fp32");
    waiting.signal("HUP");
    info_once(&waiting, |info| precision(info) == "int8");
}

#[test]
fn a_plain_export_is_read_by_its_own_pre_tokens() {
    let dir = tempfile::tempdir().unwrap();
    let bundle = tiny().bundle("fp32");
    fs::create_dir(dir.path().join("onnx")).unwrap();
    fs::copy(bundle.join("model.onnx"), dir.path().join("onnx/model.onnx")).unwrap();
    for name in ["config.json", "tokenizer.json"] {
        fs::copy(bundle.join(name), dir.path().join(name)).unwrap();
    }
    let server = Server::start(dir.path(), &[]);
    assert_eq!(server.get("/info").body["model"]["splitter"], "bert");
    let answer = server
        .post("/ner", &json!({"text": "In Rome, I met Bob today!"}))
        .body;
    let found: Vec<_> = answer["entities"]
        .as_array()
        .unwrap()
        .iter()
        .map(|e| e["text"].clone())
        .collect();
    assert_eq!(found, ["Rome", "Bob"], "{answer}");
}

#[test]
fn a_target_that_exists_is_left_alone() {
    let tiny = tiny();
    let message = fail(
        binary("nerve-export")
            .args(["--precision", "fp32", "--max-length", "48"])
            .arg("--checkpoint")
            .arg(tiny.checkpoint())
            .arg("--out")
            .arg(tiny.bundle("int8")),
    );
    assert!(message.contains("exists already"), "{message}");
}
