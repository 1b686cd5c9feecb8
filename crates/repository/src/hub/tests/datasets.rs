//! Data sets: their configurations and splits, the cache, and faults.

use std::fs;
use std::path::PathBuf;

use super::server::{Fault, Hub, sha256};
use super::{client, client_of, fault_of, settings};
use crate::dataset_address::HubDataset;
use crate::hub::client::{DatasetSnapshot, HubClient};
use crate::hub::dataset::DatasetSplit;
use crate::hub::error::{HubError, HubFault};

const BRANCH: &str = "refs/convert/parquet";
const TRAIN: &[u8] = b"PAR1 train";

/// A hub with a data set of one configuration, and a cache.
fn hub() -> (Hub, tempfile::TempDir, String) {
    let hub = Hub::start();
    let commit = commit(&hub, TRAIN);
    (hub, tempfile::tempdir().unwrap(), commit)
}

fn commit(hub: &Hub, train: &[u8]) -> String {
    let files: [(&str, &[u8]); 6] = [
        ("README.md", b"# A data set"),
        ("default/train/0000.parquet", train),
        ("default/train/0001.parquet", b"PAR1 more"),
        ("default/validation/0000.parquet", b"PAR1 dev"),
        ("default/test/0000.parquet", b"PAR1 test"),
        ("default/unsupervised/0000.parquet", b"PAR1 large"),
    ];
    hub.commit("datasets/some/set", BRANCH, &files)
}

fn fetch(client: &HubClient, name: &str) -> Result<DatasetSnapshot, HubError> {
    client.fetch_dataset(&HubDataset::parse(name).unwrap())
}

fn offline(hub: &Hub, cache: &tempfile::TempDir) -> HubClient {
    let mut settings = settings(hub, cache.path());
    settings.offline = true;
    client_of(settings)
}

fn names(files: &[PathBuf]) -> Vec<String> {
    let name = |path: &PathBuf| path.file_name().unwrap().to_str().unwrap().to_owned();
    files.iter().map(name).collect()
}

#[test]
fn the_splits_are_fetched_into_the_cache_of_huggingface_hub() {
    let (hub, cache, commit) = hub();
    let client = client(&hub, cache.path());
    let found = fetch(&client, "some/set").unwrap();
    assert_eq!(found.commit, commit);
    let train = &found.splits[&DatasetSplit::Train];
    assert_eq!(names(train), ["0000.parquet", "0001.parquet"]);
    assert_eq!(found.splits.len(), 3);
    let dir = cache.path().join("datasets--some--set");
    let expected = dir
        .join("snapshots")
        .join(&commit)
        .join("default/train/0000.parquet");
    assert_eq!(train[0], expected);
    assert_eq!(fs::read(&expected).unwrap(), TRAIN);
    let link = fs::read_link(&expected).unwrap();
    assert_eq!(
        link.to_str().unwrap(),
        format!("../../../../blobs/{}", sha256(TRAIN))
    );
    assert_eq!(fs::read_to_string(dir.join("refs").join(BRANCH)).unwrap(), commit);
    // What no one reads was not downloaded.
    assert!(hub.requests("unsupervised").is_empty() && hub.requests("README").is_empty());
    let listed = hub.requests("GET /api/datasets/some/set/revision/");
    assert_eq!(
        listed[0].path,
        "/api/datasets/some/set/revision/refs%2Fconvert%2Fparquet"
    );
    // A commit whose files are there needs no request; the branch is asked for once more.
    hub.forget();
    assert_eq!(fetch(&client, &format!("some/set@{commit}")).unwrap(), found);
    assert!(hub.requests("").is_empty());
    assert_eq!(fetch(&client, "some/set:default").unwrap(), found);
    assert_eq!(hub.requests("").len(), 1);
    assert_eq!(fetch(&offline(&hub, &cache), "some/set").unwrap(), found);
}

#[test]
fn one_of_several_configurations_must_be_named() {
    let (hub, cache, _) = hub();
    let files: [(&str, &[u8]); 3] = [
        ("de/train/0000.parquet", b"PAR1 de"),
        ("en/train/0000.parquet", b"PAR1 en"),
        ("en/dev/0000.parquet", b"PAR1 en dev"),
    ];
    hub.commit("datasets/a/b", BRANCH, &files);
    let client = client(&hub, cache.path());
    let (file, fault) = fault_of(fetch(&client, "a/b").unwrap_err());
    assert_eq!(file, "list of files");
    assert!(
        fault
            .to_string()
            .contains("several configurations: de, en; name one after a colon, as in a/b:de"),
        "{fault}"
    );
    let (_, fault) = fault_of(fetch(&client, "a/b:fr").unwrap_err());
    assert!(
        fault.to_string().contains("no configuration `fr`; it has de, en"),
        "{fault}"
    );
    let found = fetch(&client, "a/b:en").unwrap();
    assert_eq!(
        (found.splits.len(), found.splits[&DatasetSplit::Dev].len()),
        (2, 1)
    );
    assert!(hub.requests("de/train").is_empty());
    // The other configuration is not in the cache.
    let (file, fault) = fault_of(fetch(&offline(&hub, &cache), "a/b:de").unwrap_err());
    assert_eq!(file, "de/train/0000.parquet");
    assert!(
        matches!(fault, HubFault::Offline { .. }) && fault.to_string().contains("fetch the data set on"),
        "{fault}"
    );
}

#[test]
fn files_of_the_author_are_read_at_another_revision() {
    let (hub, cache, _) = hub();
    let files: [(&str, &[u8]); 2] = [
        ("data/train-00000-of-00001.parquet", TRAIN),
        ("data/test-00000-of-00001.parquet", b"PAR1 test"),
    ];
    hub.commit("datasets/a/b", "main", &files);
    let found = fetch(&client(&hub, cache.path()), "a/b@main").unwrap();
    assert_eq!(
        found.splits.keys().copied().collect::<Vec<_>>(),
        [DatasetSplit::Train, DatasetSplit::Test]
    );
    assert!(cache.path().join("datasets--a--b/refs/main").is_file());
}

#[test]
fn what_is_no_data_set_to_train_on_is_an_error_with_a_remedy() {
    let (hub, cache, _) = hub();
    hub.commit("datasets/no/parquet", BRANCH, &[("README.md", b"#")]);
    hub.commit(
        "datasets/no/train",
        BRANCH,
        &[("default/test/0000.parquet", TRAIN)],
    );
    hub.commit(
        "datasets/escaping/set",
        BRANCH,
        &[("../train/0000.parquet", TRAIN)],
    );
    hub.commit("some/model", "main", &[("config.json", b"{}")]);
    let client = client(&hub, cache.path());
    for (name, problem) in [
        ("no/parquet", "load_dataset('no/parquet')"),
        ("no/train", "no split `train`; it has default/test/0000.parquet"),
        ("escaping/set", "no Parquet files"),
        (
            "some/model",
            "has no such data set (404); check the name, and set HF_TOKEN",
        ),
        ("some/set@v9", "the data set has no revision `v9`"),
    ] {
        let (_, fault) = fault_of(fetch(&client, name).unwrap_err());
        assert!(fault.to_string().contains(problem), "{fault}");
    }
}

#[test]
fn a_gated_data_set_names_the_page_of_its_conditions() {
    let (hub, cache, _) = hub();
    let gated = Fault::Status(403, vec![("x-error-code", "GatedRepo".to_owned())]);
    hub.fail("resolve", 9, gated);
    let (_, fault) = fault_of(fetch(&client(&hub, cache.path()), "some/set").unwrap_err());
    let page = format!(
        "the data set is gated (403); accept its conditions at {}/datasets/some/set,",
        hub.url
    );
    assert!(fault.to_string().contains(&page), "{fault}");
}

#[test]
fn a_download_that_is_cut_or_altered_is_repaired_or_refused() {
    let (hub, cache, _) = hub();
    let client = client(&hub, cache.path());
    hub.fail("train/0000.parquet?signature", 1, Fault::Cut(4));
    let found = fetch(&client, "some/set").unwrap();
    assert_eq!(fs::read(&found.splits[&DatasetSplit::Train][0]).unwrap(), TRAIN);
    let ranges = hub.requests("train/0000.parquet?signature");
    assert_eq!(ranges[1].headers["range"], "bytes=4-");
    let (hub, cache, _) = self::hub();
    let client = super::client(&hub, cache.path());
    hub.fail("train/0001.parquet?signature", 9, Fault::Alter);
    let (file, fault) = fault_of(fetch(&client, "some/set").unwrap_err());
    assert_eq!(file, "default/train/0001.parquet");
    assert!(matches!(fault, HubFault::Altered { .. }), "{fault}");
    // Part of a data set is not taken for all of it.
    let (_, fault) = fault_of(fetch(&offline(&hub, &cache), "some/set").unwrap_err());
    assert!(matches!(fault, HubFault::Offline { .. }), "{fault}");
    hub.repair();
    fetch(&client, "some/set").unwrap();
    // A blob that something altered later is named.
    let blob = cache.path().join("datasets--some--set/blobs").join(sha256(TRAIN));
    fs::write(&blob, b"PAR1 trBin").unwrap();
    let (_, fault) = fault_of(fetch(&client, "some/set").unwrap_err());
    assert!(matches!(fault, HubFault::CacheAltered { .. }), "{fault}");
}

#[test]
fn without_network_the_last_commit_of_the_cache_is_used() {
    let (hub, cache, first) = hub();
    let client = client(&hub, cache.path());
    let (_, fault) = fault_of(fetch(&offline(&hub, &cache), "some/set").unwrap_err());
    assert!(matches!(fault, HubFault::Offline { .. }), "{fault}");
    fetch(&client, "some/set").unwrap();
    let second = commit(&hub, b"PAR1 new train");
    hub.fail("signature", 99, Fault::Close);
    fetch(&client, "some/set").unwrap_err();
    assert_eq!(fetch(&offline(&hub, &cache), "some/set").unwrap().commit, first);
    hub.repair();
    assert_eq!(fetch(&client, "some/set").unwrap().commit, second);
    hub.fail("", 99, Fault::Close);
    assert_eq!(fetch(&client, "some/set").unwrap().commit, second);
}
