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
}

impl ModelSource for FakeSource {
    fn current(&self) -> Result<VersionPath, EngineError> {
        Ok(VersionPath::named(*self.current.lock().unwrap()))
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
    let source = Arc::new(FakeSource {
        current: Mutex::new("v1"),
        opened: AtomicUsize::new(0),
    });
    let mut config = EngineConfig::default();
    config.model.workers = Some(1);
    let context = VersionContext::new(config).unwrap();
    let (track, _started) = Track::start("stable", Arc::clone(&source) as _, &context)
        .await
        .unwrap();
    (source, track)
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
