use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};

use nerve_inference::ModelError;

use super::*;
use crate::config::EngineConfig;
use crate::models::source::Sessions;
use crate::pipeline::model::TextModel;
use crate::session::{LogitRows, ModelSession, ModelSessionError};
use crate::testing::text_model;

struct Zeros;

impl LogitRows for Zeros {
    fn row(&self, _window: usize, _position: usize) -> Option<&[f32]> {
        Some(&[0.0; 5])
    }
}

struct FakeSession;

impl ModelSession for FakeSession {
    fn run(
        &mut self,
        _windows: &[&crate::scheduler::job::WindowInput],
    ) -> Result<Box<dyn LogitRows>, ModelSessionError> {
        Ok(Box::new(Zeros))
    }
}

/// Versions that are named by their places, some of which are bad.
struct FakeSource {
    current: Mutex<&'static str>,
    opened: AtomicUsize,
    looks: AtomicUsize,
    fallback: Option<&'static str>,
    served: Mutex<Vec<(PathBuf, Option<PathBuf>)>>,
}

impl FakeSource {
    fn new(current: &'static str) -> Self {
        Self {
            current: Mutex::new(current),
            opened: AtomicUsize::new(0),
            looks: AtomicUsize::new(0),
            fallback: None,
            served: Mutex::default(),
        }
    }
}

impl ModelSource for FakeSource {
    fn current(&self) -> Result<VersionPath, EngineError> {
        self.looks.fetch_add(1, Ordering::SeqCst);
        match *self.current.lock().unwrap() {
            "away" => Err(nerve_repository::RemoteError::NoCurrent {
                object: "s3://bucket/store/current".to_owned(),
            }
            .into()),
            version => Ok(VersionPath::named(version)),
        }
    }

    fn fallback(&self) -> Option<VersionPath> {
        self.fallback.map(VersionPath::named)
    }

    fn serves(&self, live: &VersionPath, before: Option<&VersionPath>) {
        let before = before.map(|before| before.at.dir.clone());
        self.served.lock().unwrap().push((live.at.dir.clone(), before));
    }

    fn is_unchanged(&self, _place: &VersionPath) -> bool {
        true
    }

    fn open(&self, place: &VersionPath) -> Result<Opened, EngineError> {
        self.opened.fetch_add(1, Ordering::SeqCst);
        let version = place.at.dir.to_str().unwrap();
        match version {
            "damaged" => Err(EngineError::Model {
                path: PathBuf::from("model"),
                source: ModelError::NotPlain {
                    path: PathBuf::from("model"),
                    option: "onnx-file",
                },
            }),
            "unreadable" => Err(std::io::Error::other("for now").into()),
            version => Ok(Opened {
                model: TextModel {
                    version: version.to_owned(),
                    ..text_model(8)
                },
                sessions: Sessions {
                    of_workers: Arc::new(|| Ok(Box::new(FakeSession))),
                    lone: None,
                },
            }),
        }
    }

    fn watched(&self) -> Option<PathBuf> {
        None
    }
}

async fn track() -> (Arc<FakeSource>, Track) {
    let source = Arc::new(FakeSource::new("v1"));
    let track = track_of(&source).await.unwrap();
    (source, track)
}

async fn track_of(source: &Arc<FakeSource>) -> Result<Track, EngineError> {
    let mut config = EngineConfig::default();
    config.model.workers = Some(1);
    let context = VersionContext::new(config).unwrap();
    let started = Track::start("stable", Arc::clone(source) as _, &context).await;
    started.map(|(track, _started)| track)
}

fn series(track: &Track) -> String {
    String::from_utf8(track.context.metrics.exposition().unwrap()).unwrap()
}

#[tokio::test]
async fn a_store_that_is_away_changes_nothing_and_is_asked_again_after_a_pause() {
    let (source, track) = track().await;
    let looks = || source.looks.load(Ordering::SeqCst);
    assert!(series(&track).contains("nerve_model_store_up{track=\"stable\"} 1"));
    *source.current.lock().unwrap() = "away";
    assert!(track.reload(ReloadTrigger::FilesChanged).await.is_err());
    let asked = looks();
    for _poll in 0..20 {
        assert!(!track.reload(ReloadTrigger::FilesChanged).await.unwrap().changed);
    }
    assert_eq!(looks(), asked);
    assert!(
        track.reload(ReloadTrigger::Requested).await.is_err(),
        "an order asks at once"
    );
    assert_eq!(looks(), asked + 1);
    assert!(track.problem().unwrap().contains("nothing is published"));
    for line in [
        "nerve_model_store_up{track=\"stable\"} 0",
        "nerve_reloads_total{result=\"rejected\"} 0",
    ] {
        assert!(series(&track).contains(line), "{line}");
    }
    *source.current.lock().unwrap() = "v2";
    assert!(track.reload(ReloadTrigger::Requested).await.unwrap().changed);
    assert_eq!(track.problem(), None);
    assert!(series(&track).contains("nerve_model_store_up{track=\"stable\"} 1"));
    let served = source.served.lock().unwrap().clone();
    assert_eq!(served, [("v1".into(), None), ("v2".into(), Some("v1".into()))]);
}

#[tokio::test]
async fn a_track_starts_with_what_was_served_last_if_the_current_version_cannot_be_had() {
    for current in ["away", "damaged"] {
        let refused = track_of(&Arc::new(FakeSource::new(current))).await;
        assert!(refused.is_err(), "{current}");
        let source = Arc::new(FakeSource {
            fallback: Some("v0"),
            ..FakeSource::new(current)
        });
        let track = track_of(&source).await.unwrap();
        assert_eq!(track.live().model.version, "v0");
        assert!(track.problem().is_some());
        *source.current.lock().unwrap() = "v1";
        assert_eq!(
            track.reload(ReloadTrigger::FilesChanged).await.unwrap().version,
            "v1"
        );
        assert_eq!(track.problem(), None);
    }
}

#[tokio::test]
async fn a_rejected_version_is_opened_again_only_when_it_changes_or_on_request() {
    for bad in ["damaged", "unreadable"] {
        let (source, track) = track().await;
        let opened = || source.opened.load(Ordering::SeqCst);
        assert_eq!(opened(), 1);
        *source.current.lock().unwrap() = bad;
        assert!(track.reload(ReloadTrigger::FilesChanged).await.is_err());
        for _event in 0..20 {
            let kept = track.reload(ReloadTrigger::FilesChanged).await.unwrap();
            assert!(!kept.changed);
        }
        assert_eq!(opened(), 2, "{bad}");
        assert!(track.problem().is_some());
        assert!(track.reload(ReloadTrigger::Requested).await.is_err());
        assert_eq!(opened(), 3);
        *source.current.lock().unwrap() = "v2";
        assert!(track.reload(ReloadTrigger::FilesChanged).await.unwrap().changed);
        assert_eq!((opened(), track.problem()), (4, None));
    }
}

#[test]
fn only_what_may_pass_is_tried_again_unchanged() {
    let place = || Some(VersionPath::named("v2"));
    let damaged: ReloadError = EngineError::Model {
        path: PathBuf::from("model"),
        source: ModelError::NotPlain {
            path: PathBuf::from("model"),
            option: "onnx-file",
        },
    }
    .into();
    let unreadable: ReloadError = EngineError::Model {
        path: PathBuf::from("model"),
        source: nerve_repository::LocateError::Open {
            path: PathBuf::from("model"),
            source: std::io::Error::other("for now"),
        }
        .into(),
    }
    .into();
    for (error, lasting) in [
        (damaged, true),
        (unreadable, false),
        (ReloadError::TooSlow, false),
    ] {
        let rejected = RejectedVersion::new(place(), &error, None);
        assert_eq!(rejected.is_lasting(), lasting, "{error}");
        assert!(rejected.is_held_back(place().as_ref()));
        assert!(!rejected.is_held_back(Some(&VersionPath::named("v3"))));
    }
}
