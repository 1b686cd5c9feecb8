//! The engine: the models that answer.
//!
//! A [`Track`] follows one model path. Its live version answers; the previous version can be restored. Beside the
//! stable track there may be a canary, which answers a share of the requests. A request is assigned one version at
//! its start and keeps it; a replaced version ends when its last request does.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use nerve_inference::{Device, Runtime};
use nerve_repository::{HubSource, ModelAddress, StoreMirror};
use tokio::task::spawn_blocking;

use crate::choose_device::with_device;
use crate::config::EngineConfig;
use crate::context::VersionContext;
use crate::error::EngineError;
use crate::health::Readiness;
use crate::metrics::Metrics;
use crate::models::error::ReloadError;
use crate::models::named::NamedModel;
use crate::models::remote::RemoteSource;
use crate::models::source::{Files, ModelSource};
use crate::models::track::{Reload, ReloadTrigger, Track};
use crate::pipeline::tagger::Tagger;
use crate::scheduler::pool::{SessionReady, all_started};

/// How long [`Engine::close`] waits for a worker, which may be opening a session.
const CLOSE_LIMIT: Duration = Duration::from_secs(30);

/// The models that answer, and their workers.
pub struct Engine {
    context: VersionContext,
    stable: Track,
    canary: Option<Canary>,
    /// Results of opening the first versions' sessions, until [`Engine::ready`] takes them.
    started: Mutex<Vec<SessionReady>>,
    /// Held while the live versions are published, so that the latest ones are published last.
    showing: Mutex<()>,
}

/// The model that answers a share of the requests.
struct Canary {
    track: Track,
    /// Its share in percent, from 0 to 100.
    percent: u8,
}

impl Engine {
    /// Opens the models of a configuration. Their workers open sessions in the background; [`Self::ready`] waits for
    /// them.
    ///
    /// The models must be on disk or in stores on object storage. Must run on a Tokio runtime. Files are read, and a device is chosen, on blocking threads.
    pub async fn open(config: EngineConfig) -> Result<Self, EngineError> {
        config.validate()?;
        let opened = spawn_blocking(move || {
            let runtime = Runtime::load(config.model.onnxruntime.as_deref())?;
            let model = with_device(config.model, &runtime);
            let files = |address: &ModelAddress, source: Option<&HubSource>| {
                let files = |path: &Path| Files::new(path, &runtime, &model, source);
                let source: Arc<dyn ModelSource> = match address {
                    ModelAddress::Local(path) => Arc::new(files(path)),
                    ModelAddress::ObjectStore(url) => {
                        let mirror = StoreMirror::open(url)?;
                        let files = files(mirror.dir());
                        Arc::new(RemoteSource::new(mirror, files))
                    }
                    ModelAddress::Hub(_) => {
                        let address = address.clone();
                        return Err(EngineError::NotLocal { address });
                    }
                };
                Ok(source)
            };
            let stable = files(&model.address, model.source.as_ref())?;
            let canary = config.versions.canary.as_ref();
            let canary = canary.map(|canary| files(&canary.address, canary.source.as_ref()));
            let canary = canary.transpose()?;
            Ok::<_, EngineError>((EngineConfig { model, ..config }, stable, canary))
        });
        let (config, stable, canary) = opened.await.map_err(|_| EngineError::ThreadLost)??;
        Self::of_sources(VersionContext::new(config)?, stable, canary).await
    }

    /// [`Self::open`] for models that do not come from files.
    pub async fn with_sources(
        config: EngineConfig,
        stable: Arc<dyn ModelSource>,
        canary: Option<Arc<dyn ModelSource>>,
    ) -> Result<Self, EngineError> {
        Self::of_sources(VersionContext::new(config)?, stable, canary).await
    }

    pub(crate) async fn of_sources(
        context: VersionContext,
        stable: Arc<dyn ModelSource>,
        canary: Option<Arc<dyn ModelSource>>,
    ) -> Result<Self, EngineError> {
        let (stable, mut started) = Track::start("stable", stable, &context).await?;
        let canary = match canary.zip(context.config.versions.canary.as_ref()) {
            None => None,
            Some((source, canary)) => {
                let (track, more) = match Track::start("canary", source, &context).await {
                    Ok(track) => track,
                    Err(error) => {
                        close([&stable]).await;
                        return Err(error);
                    }
                };
                started.extend(more);
                let percent = canary.percent;
                Some(Canary { track, percent })
            }
        };
        let engine = Self {
            context,
            stable,
            canary,
            started: Mutex::new(started),
            showing: Mutex::default(),
        };
        engine.show();
        Ok(engine)
    }

    /// Completes when every worker has a warm session, from when on texts are tagged. Fails with the first session
    /// that does not open.
    pub async fn ready(&self) -> Result<(), EngineError> {
        let started = std::mem::take(&mut *self.started.lock().unwrap_or_else(PoisonError::into_inner));
        all_started(started).await?;
        for track in self.tracks() {
            track.live().health.set_warm();
        }
        Ok(())
    }

    /// The configuration, with a definite device.
    pub fn config(&self) -> &EngineConfig {
        &self.context.config
    }

    /// Where the models run.
    pub fn device(&self) -> Device {
        self.context.config.model.device()
    }

    /// The engine's metrics.
    pub fn metrics(&self) -> &Arc<Metrics> {
        &self.context.metrics
    }

    /// The live version of the stable model.
    pub fn live(&self) -> Arc<Tagger> {
        self.stable.live()
    }

    /// The stable model's track.
    pub fn stable(&self) -> &Track {
        &self.stable
    }

    /// The percentage of requests that the canary answers; 0 without a canary.
    pub fn canary_percent(&self) -> u8 {
        self.canary.as_ref().map_or(0, |canary| canary.percent)
    }

    /// The tracks, the stable one first.
    pub fn tracks(&self) -> impl Iterator<Item = &Track> {
        std::iter::once(&self.stable).chain(self.canary.iter().map(|canary| &canary.track))
    }

    /// The version that answers a request: the one it names, otherwise one chosen by its id.
    ///
    /// If no live version has the name, the stable one is returned, for the caller to refuse the request.
    pub fn choose(&self, request_id: &[u8], named: Option<NamedModel<'_>>) -> Arc<Tagger> {
        let chosen = self.chosen(request_id);
        let Some(named) = named else {
            return chosen;
        };
        let has_name = |tagger: &Tagger| {
            let model = tagger.model();
            model.name == named.model && named.version.is_none_or(|version| model.version == version)
        };
        if has_name(&chosen) {
            return chosen;
        }
        let mut live = self.tracks().map(Track::live);
        live.find(|live| has_name(live)).unwrap_or_else(|| self.live())
    }

    /// The version for this id: the same for the same id, here and on every replica.
    fn chosen(&self, request_id: &[u8]) -> Arc<Tagger> {
        if let Some(canary) = &self.canary {
            let chosen = bucket(request_id) < u64::from(canary.percent);
            let live = canary.track.live();
            // A request is not lost because its canary has no worker.
            if chosen && live.readiness() != Readiness::NoWorker {
                return live;
            }
        }
        self.live()
    }

    /// Loads the current version of a track, if it is another one or its files have changed. A version that was
    /// rolled back from is loaded only for [`ReloadTrigger::Requested`].
    pub async fn reload(&self, track: &Track, why: ReloadTrigger) -> Result<Reload, ReloadError> {
        let reload = track.reload(why).await?;
        if reload.changed {
            self.show();
        }
        Ok(reload)
    }

    /// Serves the stable model's previous version again, until `current` names another version than the one that is
    /// left.
    ///
    /// With `from`, nothing is done unless that version is live, so that a repeated order is carried out once.
    pub async fn roll_back(&self, from: Option<&str>) -> Result<Reload, ReloadError> {
        let reload = self.stable.roll_back(from).await?;
        self.show();
        Ok(reload)
    }

    /// Publishes the live versions in the metrics.
    fn show(&self) {
        let _showing = self.showing.lock().unwrap_or_else(PoisonError::into_inner);
        let live: Vec<_> = self.tracks().map(|track| (track.name(), track.live())).collect();
        let models = live.iter().map(|(track, tagger)| (*track, tagger.model()));
        self.context
            .metrics
            .show_models(&self.device().to_string(), models);
    }

    /// Makes readiness fail because the engine is about to stop. Requests that still arrive are answered.
    pub fn drain(&self) {
        self.context.draining.set();
    }

    /// Drops the waiting windows of every version.
    pub fn abort(&self) {
        for tagger in self.tracks().flat_map(Track::all) {
            tagger.queue.abort();
        }
    }

    /// Ends the workers of every version. False if a worker is still busy at the deadline.
    pub async fn stop(&self, deadline: Instant) -> bool {
        let mut stopped = true;
        for tagger in self.tracks().flat_map(Track::all) {
            stopped &= tagger.pool.stop(deadline).await;
        }
        stopped
    }

    /// Drops the waiting windows and ends the workers, for at most 30 s.
    ///
    /// A program that gives up calls this before it exits: exiting while a worker opens or runs a session can crash in ONNX
    /// Runtime.
    pub async fn close(&self) {
        close(self.tracks()).await;
    }
}

/// [`Engine::close`] for these tracks.
async fn close<'t>(tracks: impl IntoIterator<Item = &'t Track>) {
    let deadline = Instant::now() + CLOSE_LIMIT;
    for tagger in tracks.into_iter().flat_map(Track::all) {
        tagger.queue.abort();
        let _busy = tagger.pool.stop(deadline).await;
    }
}

/// One of a hundred buckets, by the id alone: its FNV-1a hash, so that replicas of every version of this program agree.
fn bucket(request_id: &[u8]) -> u64 {
    const OFFSET_BASIS: u64 = 0xcbf2_9ce4_8422_2325;
    const PRIME: u64 = 0x0000_0100_0000_01b3;
    let hash = request_id.iter().fold(OFFSET_BASIS, |hash, &byte| {
        (hash ^ u64::from(byte)).wrapping_mul(PRIME)
    });
    hash % 100
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_fall_evenly_and_always_alike() {
        let ids = || (0..10_000).map(|number| format!("request-{number}"));
        let below = ids().filter(|id| bucket(id.as_bytes()) < 20).count();
        assert!((1800..2200).contains(&below), "{below}");
    }

    #[test]
    fn an_id_keeps_its_bucket_for_ever() {
        for (id, expected) in [
            ("", 37),
            ("a", 96),
            ("request-1", 56),
            ("7b1f3c1e-6a52-4a7e-9f0e-1f6a3c2b9d10", 82),
        ] {
            assert_eq!(bucket(id.as_bytes()), expected, "{id}");
        }
    }
}
