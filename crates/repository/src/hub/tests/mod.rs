//! Against a server that behaves as the hub does, with faults.

mod cache;
mod datasets;
mod faults;
mod python;
mod resume;
#[path = "../../../../../tests/hub.rs"]
mod server;

use std::path::{Path, PathBuf};
use std::time::Duration;

use tempfile::TempDir;

use crate::address::{HubModel, ModelAddress};
use crate::hub::client::{HubClient, HubSnapshot};
use crate::hub::error::{HubError, HubFault};
use crate::hub::files::Files;
use crate::hub::limits::Limits;
use crate::hub::settings::HubSettings;
use crate::hub::tests::server::Hub;

const ID: &str = "some/model";
const VOCABULARY: &[u8] = b"[PAD]\n[UNK]\n";
const CONFIG: &[u8] = b"{\"model_type\": \"bert\"}";

/// A hub with a model, a cache and a client.
struct Fixture {
    hub: Hub,
    cache: TempDir,
    client: HubClient,
    commit: String,
    weights: Vec<u8>,
}

impl Fixture {
    fn new() -> Self {
        let hub = Hub::start();
        let cache = tempfile::tempdir().unwrap();
        let weights: Vec<u8> = (0..300_000u32).map(|at| (at % 251) as u8).collect();
        let commit = hub.commit(
            ID,
            "main",
            &[
                ("config.json", CONFIG),
                ("vocab.txt", VOCABULARY),
                ("model.safetensors", &weights),
                ("README.md", b"# A model"),
            ],
        );
        let client = client(&hub, cache.path());
        Self {
            hub,
            cache,
            client,
            commit,
            weights,
        }
    }

    fn fetch(&self) -> Result<HubSnapshot, HubError> {
        self.client.fetch(&model(ID), Files::Checkpoint)
    }

    /// Why the checkpoint `a/b`, which has these files, is refused, and the file that the error names.
    fn refused(&self, files: &[(&str, &[u8])]) -> (String, HubFault) {
        self.hub.commit("a/b", "main", files);
        let refused = self.client.fetch(&model("a/b"), Files::Checkpoint);
        fault_of(refused.unwrap_err())
    }

    /// Fetches the model, and checks that the files are those of the hub.
    fn fetch_whole(&self) {
        let snapshot = self.fetch().unwrap();
        assert_eq!(snapshot.commit, self.commit);
        assert_eq!(std::fs::read(snapshot.dir.join("config.json")).unwrap(), CONFIG);
        assert_eq!(
            std::fs::read(snapshot.dir.join("model.safetensors")).unwrap(),
            self.weights
        );
        self.client.verify(&model(ID), &snapshot).unwrap();
        assert_eq!(incomplete(self.cache.path()), Vec::<PathBuf>::new());
    }

    /// The file and the cause of the error of a fetch.
    fn fault(&self) -> (String, HubFault) {
        fault_of(self.fetch().unwrap_err())
    }

    fn blobs(&self) -> PathBuf {
        self.cache.path().join("models--some--model/blobs")
    }

    /// Where a part of the weights is, of which this was received.
    fn write_part(&self, content: &[u8]) -> PathBuf {
        std::fs::create_dir_all(self.blobs()).unwrap();
        let path = self
            .blobs()
            .join(format!("{}.incomplete", server::sha256(&self.weights)));
        std::fs::write(&path, content).unwrap();
        path
    }
}

fn settings(hub: &Hub, cache: &Path) -> HubSettings {
    HubSettings {
        endpoint: hub.url.parse().unwrap(),
        cache: cache.to_owned(),
        token: None,
        offline: false,
    }
}

/// A client that waits for nothing longer than the tests do.
fn client(hub: &Hub, cache: &Path) -> HubClient {
    client_of(settings(hub, cache))
}

fn client_of(settings: HubSettings) -> HubClient {
    let limits = Limits {
        idle: Duration::from_millis(300),
        attempts: 3,
        first_wait: Duration::from_millis(1),
        longest_wait: Duration::from_secs(5),
        ..Limits::default()
    };
    HubClient::with_limits(settings, limits)
}

fn model(name: &str) -> HubModel {
    match name.parse() {
        Ok(ModelAddress::Hub(model)) => model,
        other => panic!("{name}: {other:?}"),
    }
}

fn fault_of(error: HubError) -> (String, HubFault) {
    let text = error.to_string();
    match error {
        HubError::File {
            repository,
            file,
            fault,
        } => {
            assert!(text.starts_with(&format!("{repository}: {file}: ")), "{text}");
            (file, *fault)
        }
        other => panic!("{other}"),
    }
}

/// The files of the cache whose download has not ended.
fn incomplete(cache: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for model in std::fs::read_dir(cache).unwrap().flatten() {
        let blobs = std::fs::read_dir(model.path().join("blobs"));
        let paths = blobs.into_iter().flatten().flatten().map(|entry| entry.path());
        found.extend(paths.filter(|path| path.extension().is_some()));
    }
    found
}
