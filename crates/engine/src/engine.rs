//! The engine: the models that answer, which change while requests run.
//!
//! A [`Track`] follows one model path: its live version answers, the version before can be had back. Beside the stable
//! track there may be a canary, which answers a share of the requests. A request is given one version at its start and
//! keeps it; a version that is replaced ends when its last request does.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use nerve_inference::{Device, Runtime};
use tokio::task::spawn_blocking;

use crate::choose_device::with_device;
use crate::config::EngineConfig;
use crate::context::VersionContext;
use crate::error::EngineError;
use crate::health::Readiness;
use crate::metrics::Metrics;
use crate::models::error::ReloadError;
use crate::models::named::NamedModel;
use crate::models::source::{Files, ModelSource};
use crate::models::track::{Reload, ReloadTrigger, Track};
use crate::pipeline::tagger::Tagger;
use crate::scheduler::pool::{SessionReady, all_started};

/// Every model that answers.
pub struct Engine {
    context: VersionContext,
    stable: Track,
    canary: Option<Canary>,
    /// The workers of the first versions, until they are waited for.
    started: Mutex<Vec<SessionReady>>,
}

/// The model that answers a share of the requests.
struct Canary {
    track: Track,
    /// Its share, from 0 to 100.
    percent: u8,
}

impl Engine {
    /// The engine of a configuration. Its workers open their sessions meanwhile, which [`Self::ready`] waits for.
    ///
    /// Must run on a Tokio runtime; opening files and choosing a device are left to threads that may block.
    pub async fn open(config: EngineConfig) -> Result<Self, EngineError> {
        config.validate()?;
        let opened = spawn_blocking(move || {
            let runtime = Runtime::load(config.model.onnxruntime.as_deref())?;
            let model = with_device(config.model, &runtime);
            let files = |path: &std::path::Path| -> Arc<dyn ModelSource> {
                Arc::new(Files::new(path, &runtime, &model))
            };
            let stable = files(&model.path);
            let canary = config.versions.canary.as_ref().map(|canary| files(&canary.path));
            Ok::<_, EngineError>((EngineConfig { model, ..config }, stable, canary))
        });
        let (config, stable, canary) = opened.await.map_err(|_| EngineError::ThreadLost)??;
        Self::of_sources(VersionContext::new(config)?, stable, canary).await
    }

    /// [`Self::open`] for models that come from elsewhere than files.
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
                let (track, more) = Track::start("canary", source, &context).await?;
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
        };
        engine.show();
        Ok(engine)
    }

    /// Ends when every worker has a warm session, from when on texts are answered, or with the first that has none.
    pub async fn ready(&self) -> Result<(), EngineError> {
        let started = std::mem::take(&mut *self.started.lock().unwrap_or_else(PoisonError::into_inner));
        all_started(started).await?;
        for track in self.tracks() {
            track.live().health.set_warm();
        }
        Ok(())
    }

    /// What the engine was told before it started, with its device chosen.
    pub fn config(&self) -> &EngineConfig {
        &self.context.config
    }

    /// Where the models run.
    pub fn device(&self) -> Device {
        self.context.config.model.device()
    }

    /// What Prometheus scrapes of it.
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

    /// The percentage of requests that a canary answers.
    pub fn canary_percent(&self) -> u8 {
        self.canary.as_ref().map_or(0, |canary| canary.percent)
    }

    /// The tracks, the stable one first.
    pub fn tracks(&self) -> impl Iterator<Item = &Track> {
        std::iter::once(&self.stable).chain(self.canary.iter().map(|canary| &canary.track))
    }

    /// The version that answers a request: the one it names, or else one by its id.
    ///
    /// A name that is served nowhere is left to be refused by whoever is asked.
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

    /// The version of this id: the same for the same id, here and on every replica.
    fn chosen(&self, request_id: &[u8]) -> Arc<Tagger> {
        if let Some(canary) = &self.canary {
            let chosen = bucket(request_id) < u64::from(canary.percent);
            let live = canary.track.live();
            // A canary that cannot answer costs no request.
            if chosen && live.readiness() != Readiness::NoWorker {
                return live;
            }
        }
        self.live()
    }

    /// Serves the version that is current of a track, if it is another or has changed; one that was rolled back from only
    /// as [`ReloadTrigger::Requested`].
    pub async fn reload(&self, track: &Track, why: ReloadTrigger) -> Result<Reload, ReloadError> {
        let reload = track.reload(why).await?;
        if reload.changed {
            self.show();
        }
        Ok(reload)
    }

    /// Serves the stable model's version before again, until `current` becomes another than the one that is left.
    ///
    /// Where the version to leave is named, it is left at most once: an order that is repeated does not undo itself.
    pub async fn roll_back(&self, from: Option<&str>) -> Result<Reload, ReloadError> {
        let reload = self.stable.roll_back(from).await?;
        self.show();
        Ok(reload)
    }

    /// Shows the live versions in the metrics.
    fn show(&self) {
        let live: Vec<_> = self.tracks().map(|track| (track.name(), track.live())).collect();
        let models = live.iter().map(|(track, tagger)| (*track, tagger.model()));
        self.context
            .metrics
            .show_models(&self.device().to_string(), models);
    }

    /// Has readiness fall: the engine is about to stop. What comes yet is still answered.
    pub fn drain(&self) {
        self.context.draining.set();
    }

    /// Drops what waits for any version.
    pub fn abort(&self) {
        for tagger in self.tracks().flat_map(Track::all) {
            tagger.queue.abort();
        }
    }

    /// Ends the workers of every version; false where one is still busy at the deadline.
    pub async fn stop(&self, deadline: Instant) -> bool {
        let mut stopped = true;
        for tagger in self.tracks().flat_map(Track::all) {
            stopped &= tagger.pool.stop(deadline).await;
        }
        stopped
    }
}

/// One of a hundred places, by the id alone.
fn bucket(request_id: &[u8]) -> u64 {
    // Without a random key, so that every replica has the same.
    let mut hasher = DefaultHasher::new();
    request_id.hash(&mut hasher);
    hasher.finish() % 100
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_fall_evenly_and_always_alike() {
        let ids = || (0..10_000).map(|number| format!("request-{number}"));
        let below = ids().filter(|id| bucket(id.as_bytes()) < 20).count();
        assert!((1800..2200).contains(&below), "{below}");
        assert!(ids().all(|id| bucket(id.as_bytes()) == bucket(id.clone().as_bytes())));
    }
}
