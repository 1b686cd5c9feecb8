//! A partial file is continued.

use std::time::Duration;

use super::server::Fault;
use super::{Fixture, ID, model};
use crate::hub::error::HubFault;
use crate::hub::files::Files;

const WEIGHTS: &str = "/model.safetensors?signature";

/// The ranges that the storage was asked for.
fn ranges(fixture: &Fixture) -> Vec<Option<String>> {
    let requests = fixture.hub.requests(WEIGHTS).into_iter();
    requests
        .map(|request| request.headers.get("range").cloned())
        .collect()
}

fn from(start: usize) -> Option<String> {
    Some(format!("bytes={start}-"))
}

#[test]
fn a_cut_answer_is_continued_where_it_ended() {
    let fixture = Fixture::new();
    for _ in 0..6 {
        // More often than attempts are made without progress.
        fixture.hub.fail(WEIGHTS, 1, Fault::Cut(10_000));
    }
    fixture.fetch_whole();
    let expected: Vec<_> = (0..=6)
        .map(|cut| (cut > 0).then(|| from(cut * 10_000)).flatten())
        .collect();
    assert_eq!(ranges(&fixture), expected);
}

#[test]
fn an_answer_that_stops_is_continued() {
    let fixture = Fixture::new();
    fixture.hub.fail(WEIGHTS, 1, Fault::Stall(10_000));
    fixture.fetch_whole();
    assert_eq!(ranges(&fixture), [None, from(10_000)]);
}

#[test]
fn the_next_process_continues_a_part() {
    let fixture = Fixture::new();
    fixture.write_part(&fixture.weights[..100_000]);
    fixture.fetch_whole();
    assert_eq!(ranges(&fixture), [from(100_000)]);
}

#[test]
fn a_whole_part_is_only_checked() {
    let fixture = Fixture::new();
    fixture.write_part(&fixture.weights);
    fixture.fetch_whole();
    assert!(ranges(&fixture).is_empty());
}

#[test]
fn a_part_of_another_content_is_dropped() {
    for part in [vec![7; 100_000], vec![7; 300_000], vec![7; 300_001]] {
        let fixture = Fixture::new();
        fixture.write_part(&part);
        fixture.fetch_whole();
        assert_eq!(ranges(&fixture).last(), Some(&None));
    }
}

#[test]
fn a_part_is_continued_only_with_the_same_content() {
    let fixture = Fixture::new();
    fixture.hub.fail(WEIGHTS, 1, Fault::Cut(10_000));
    fixture.fetch_whole();
    let requests = fixture.hub.requests(WEIGHTS);
    assert_eq!(requests[1].headers.get("if-range").unwrap(), "\"stored-300000\"");
    // The content changed meanwhile, as its ETag says.
    let fixture = Fixture::new();
    fixture.hub.fail(WEIGHTS, 1, Fault::Header("etag", "\"other\""));
    fixture.write_part(b"part");
    fixture.fetch_whole();
}

#[test]
fn a_range_that_is_ignored_starts_the_file_anew() {
    let fixture = Fixture::new();
    fixture.write_part(&fixture.weights[..100_000]);
    fixture.hub.fail(WEIGHTS, 1, Fault::IgnoreRange);
    fixture.fetch_whole();
}

#[test]
fn another_range_than_the_one_asked_for_is_refused() {
    let fixture = Fixture::new();
    fixture.write_part(&fixture.weights[..100_000]);
    fixture.hub.fail(
        WEIGHTS,
        1,
        Fault::Header("content-range", "bytes 5-299999/300000"),
    );
    let (file, fault) = fixture.fault();
    assert!(matches!(fault, HubFault::Answer { .. }), "{fault}");
    assert_eq!(file, "model.safetensors");
    fixture.fetch_whole();
}

#[test]
fn a_range_that_the_hub_does_not_have_starts_the_file_anew() {
    let fixture = Fixture::new();
    fixture.write_part(&fixture.weights[..100_000]);
    fixture.hub.fail(WEIGHTS, 1, Fault::Status(416, vec![]));
    fixture.fetch_whole();
    assert_eq!(ranges(&fixture), [from(100_000), None]);
}

#[test]
fn a_size_that_the_hub_does_not_give_is_that_of_the_answer() {
    let fixture = Fixture::new();
    fixture.hub.fail("HEAD", 99, Fault::Header("x-linked-size", ""));
    fixture.hub.fail(WEIGHTS, 1, Fault::Cut(10_000));
    fixture.fetch_whole();
}

#[test]
fn a_download_below_the_lowest_speed_ends() {
    let mut fixture = Fixture::new();
    fixture.client.limits.file = Duration::from_millis(100);
    fixture.client.limits.lowest_speed = u64::MAX;
    fixture.hub.fail(WEIGHTS, 99, Fault::Stall(10_000));
    let (_, fault) = fixture.fault();
    assert!(
        matches!(fault, HubFault::TooSlow { received: 10_000, .. }),
        "{fault}"
    );
    fixture.hub.repair();
    fixture.fetch_whole();
}

#[test]
fn the_token_is_not_sent_to_another_host() {
    let fixture = Fixture::new();
    fixture.hub.require_token("secret");
    let mut settings = super::settings(&fixture.hub, fixture.cache.path());
    settings.token = Some("secret".to_owned());
    super::client_of(settings)
        .fetch(&model(ID), Files::Checkpoint)
        .unwrap();
    let requests = fixture.hub.requests("");
    let with_token = |is_storage: bool| {
        let requests = requests.iter().filter(|request| request.is_storage == is_storage);
        requests
            .map(|request| request.headers.contains_key("authorization"))
            .collect::<Vec<_>>()
    };
    assert_eq!(with_token(true), [false]);
    assert!(with_token(false).iter().all(|has| *has));
}
