//! Models of the hub as `--model`, fetched, exported once and kept in the cache.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use nerve_repository::Family;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::fixture::{binary, fail, repository, succeed, tiny};
use crate::hub::{Fault, Hub};
use crate::models::{CACHED, EXPORTED, bundles, copy_of_tiny, edit_config, entities, family, tag};
use crate::server::Server;

/// A hub with one model, and the directories of a machine that uses it.
struct Machine {
    hub: Hub,
    commit: String,
    dir: TempDir,
}

impl Machine {
    /// The files of a directory, and of its folder `onnx`, as the model `some/tagger`.
    fn with(model: &Path) -> Self {
        let hub = Hub::start();
        let mut files = Vec::new();
        for folder in ["", "onnx"] {
            for entry in fs::read_dir(model.join(folder)).into_iter().flatten() {
                let path = entry.unwrap().path();
                if path.is_file() {
                    let name = path.strip_prefix(model).unwrap().to_str().unwrap().to_owned();
                    files.push((name, fs::read(&path).unwrap()));
                }
            }
        }
        let files: Vec<(&str, &[u8])> = files
            .iter()
            .map(|(name, content)| (name.as_str(), content.as_slice()))
            .collect();
        let commit = hub.commit("some/tagger", "main", &files);
        let dir = tempfile::tempdir().unwrap();
        Self { hub, commit, dir }
    }

    fn cache(&self) -> PathBuf {
        self.dir.path().join("cache")
    }

    fn variables(&self) -> Vec<(&'static str, String)> {
        vec![
            ("HF_ENDPOINT", self.hub.url.clone()),
            ("HF_HOME", self.dir.path().join("hf").to_str().unwrap().to_owned()),
            ("NERVE_CACHE", self.cache().to_str().unwrap().to_owned()),
        ]
    }

    fn serve(&self, model: &str, options: &[&str]) -> Server {
        let variables = self.variables();
        let variables: Vec<(&str, &str)> = variables
            .iter()
            .map(|(name, value)| (*name, value.as_str()))
            .collect();
        Server::start_with(Path::new(model), options, &variables)
    }

    fn tag(&self, model: &str) -> Command {
        let mut command = tag(Path::new(model), &self.cache());
        command.envs(self.variables());
        command
    }

    /// How many files of weights were asked for.
    fn downloads(&self) -> usize {
        let all = self.hub.requests("");
        all.iter().filter(|request| request.is_storage).count()
    }
}

#[test]
fn a_model_of_the_hub_is_fetched_and_exported_once() {
    for family_name in [
        Family::Bert,
        Family::DistilBert,
        Family::Roberta,
        Family::Mpnet,
        Family::ModernBert,
    ] {
        let machine = Machine::with(&family(family_name));
        let first = machine.serve("some/tagger", &[]);
        assert!(first.log().contains(EXPORTED), "{}", first.log());
        let model = first.get("/info").body["model"].clone();
        assert_eq!(
            model["source"],
            json!({"id": "some/tagger", "commit": machine.commit})
        );
        assert_eq!(model["name"], "tagger");
        let manifest = fs::read(bundles(&machine.cache())[0].join("manifest.json")).unwrap();
        let manifest: Value = serde_json::from_slice(&manifest).unwrap();
        assert_eq!(manifest["source"]["commit"], json!(machine.commit));
        let downloads = machine.downloads();
        let second = machine.serve(&format!("some/tagger@{}", machine.commit), &[]);
        assert!(second.log().contains(CACHED) && !second.log().contains(EXPORTED));
        assert_eq!(machine.downloads(), downloads);
        assert_eq!(entities(&first), entities(&second));
    }
}

#[test]
fn a_graph_of_the_hub_is_served_only_if_it_is_named() {
    let machine = Machine::with(&repository().join("tests/plain/fixtures/distilbert"));
    let message = fail(&mut machine.tag("some/tagger"));
    assert!(
        message.contains("model.safetensors") && message.contains("onnx/model.onnx"),
        "{message}"
    );
    let server = machine.serve("some/tagger", &["--onnx-file", "./onnx/model.onnx"]);
    assert!(
        server.log().contains("taking the ONNX file of the hub"),
        "{}",
        server.log()
    );
    let model = server.get("/info").body["model"].clone();
    assert_eq!(model["source"]["commit"], json!(machine.commit));
    assert_eq!(model["name"], "tagger");
    assert!(!machine.cache().exists(), "nothing was exported");
    let mut tag = machine.tag("some/tagger");
    let message = fail(tag.args(["--onnx-file", "onnx/model.onnx", "--precision", "fp16"]));
    assert!(message.contains("is taken as its ONNX file"), "{message}");
}

#[test]
fn a_model_of_the_hub_is_refused_before_its_weights_are_fetched() {
    let dir = tempfile::tempdir().unwrap();
    for (edit, reason) in [
        (json!({"model_type": "t5"}), "`t5` is not supported"),
        (
            json!({"id2label": {"0": "LABEL_0"}, "label2id": null}),
            "a placeholder",
        ),
        (
            json!({"id2label": {"0": "PER"}, "label2id": null}),
            "do not include `O`",
        ),
        (
            json!({"architectures": ["BertForMaskedLM"]}),
            "not a token classifier",
        ),
    ] {
        let model = copy_of_tiny(dir.path(), "refused");
        edit_config(&model, |config| {
            config
                .as_object_mut()
                .unwrap()
                .extend(edit.as_object().unwrap().clone());
        });
        let machine = Machine::with(&model);
        let message = fail(&mut machine.tag("some/tagger"));
        assert!(message.contains(reason), "{message}");
        assert_eq!(machine.downloads(), 0, "{message}");
        assert_eq!(machine.hub.requests("tokenizer.json").len(), 0);
    }
    let machine = Machine::with(&tiny().checkpoint());
    let message = fail(machine.tag("some/tagger").args(["--precision", "int8"]));
    assert!(message.contains("--calibration FILE"), "{message}");
    assert_eq!(machine.hub.requests("").len(), 0);
    let message = fail(&mut machine.tag("other/tagger"));
    assert!(
        message.contains("there is no directory other/tagger") && message.contains("404"),
        "{message}"
    );
}

#[test]
fn a_model_of_the_hub_is_evaluated_tagged_and_exported() {
    let machine = Machine::with(&tiny().checkpoint());
    let run = |program: &str, arguments: &[&str]| {
        let mut command = binary(program);
        command.args(arguments).envs(machine.variables());
        succeed(&mut command)
    };
    let corpus = tiny().corpus();
    let corpus = corpus.to_str().unwrap();
    let evaluated = run(
        "nerve-trainer",
        &["evaluate", "--checkpoint", "some/tagger", "--data", corpus],
    );
    assert_eq!(
        evaluated,
        run(
            "nerve-trainer",
            &["evaluate", "--bundle", "some/tagger", "--data", corpus]
        )
    );
    let tagged = run("nerve-trainer", &["tag", "--checkpoint", "some/tagger", corpus]);
    assert!(tagged.contains("Ann\tB-person"), "{tagged}");
    let out = machine.dir.path().join("exported");
    let out = out.to_str().unwrap();
    run(
        "nerve-export",
        &[
            "--checkpoint",
            "some/tagger@main",
            "--out",
            out,
            "--precision",
            "fp32",
        ],
    );
    let manifest = fs::read_to_string(Path::new(out).join("manifest.json")).unwrap();
    assert!(manifest.contains(&machine.commit), "{manifest}");
    run("nerve-export", &["verify", out, "--checkpoint", "some/tagger"]);
}

/// A process that is killed when dropped.
struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn a_server_is_alive_and_stops_at_once_while_it_downloads() {
    let machine = Machine::with(&tiny().checkpoint());
    machine
        .hub
        .fail("model.safetensors?signature", 99, Fault::Stall(1000));
    let server = binary("nerve-server")
        .args([
            "--model",
            "some/tagger",
            "--listen",
            "127.0.0.1:0",
            "--log",
            "json",
        ])
        .envs(machine.variables())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut server = Killed(server);
    let lines = BufReader::new(server.0.stderr.take().unwrap()).lines();
    let address = lines.map_while(Result::ok).find_map(|line| {
        let event: Value = serde_json::from_str(&line).ok()?;
        Some(event.pointer("/fields/listen")?.as_str()?.to_owned())
    });
    let base = format!("http://{}", address.unwrap());
    let agent: ureq::Agent = ureq::Agent::config_builder()
        .http_status_as_error(false)
        .proxy(None)
        .build()
        .into();
    let status = |route: &str| {
        let answer = agent.get(format!("{base}{route}")).call().unwrap();
        assert!(answer.headers().contains_key("x-request-id"));
        answer.status().as_u16()
    };
    assert_eq!(status("/health/live"), 200);
    assert_eq!((status("/health/ready"), status("/info")), (503, 503));
    let sent = Command::new("kill")
        .args(["-s", "TERM", &server.0.id().to_string()])
        .status()
        .unwrap();
    assert!(sent.success());
    // Without the signal, the download would stall for minutes.
    assert_eq!(server.0.wait().unwrap().code(), Some(0));
    assert!(bundles(&machine.cache()).is_empty());
}
