//! The models that are served, which change while requests run.
//!
//! A [`Track`] follows one model path: its live version answers, the version before can be had back. Beside the stable
//! track there may be a canary, which answers a share of the requests. A request is given one version at its start and
//! keeps it; a version that is replaced ends when its last request does.

mod source;
mod track;
mod watch;

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::time::Instant;

use crate::config::ServerConfig;
use crate::health::{Draining, Readiness};
use crate::http::Named;
use crate::metrics::Metrics;
use crate::pipeline::{Tagger, TextThreads};

pub(crate) use source::{Files, ModelSource, Opened, Place, Sessions};
pub(crate) use track::{Reload, Track, Why};
pub(crate) use watch::watch;

/// Tokenising takes a fraction of a text's inference; a second thread keeps a long text from holding up the rest.
const TEXT_THREADS: usize = 2;

/// What the versions of all models share.
#[derive(Clone)]
pub(crate) struct Shared {
    pub(crate) config: Arc<ServerConfig>,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) threads: Arc<TextThreads>,
    pub(crate) draining: Draining,
}

impl Shared {
    /// What a server with this configuration shares.
    pub(crate) fn new(config: ServerConfig) -> Result<Self, crate::run::ServerError> {
        Ok(Self {
            metrics: Arc::new(Metrics::new()?),
            threads: Arc::new(TextThreads::start(TEXT_THREADS, config.queue.windows)?),
            draining: Draining::default(),
            config: Arc::new(config),
        })
    }
}

/// Every model that is served.
pub(crate) struct Models {
    pub(crate) shared: Shared,
    pub(crate) stable: Track,
    pub(crate) canary: Option<Canary>,
}

/// The model that answers a share of the requests.
pub(crate) struct Canary {
    pub(crate) track: Track,
    /// Its share, from 0 to 100.
    pub(crate) percent: u8,
}

impl Models {
    /// The live version of the stable model.
    pub(crate) fn live(&self) -> Arc<Tagger> {
        self.stable.live()
    }

    /// The version that answers a request: the one it names, or else one by its id.
    ///
    /// A name that is served nowhere is left to be refused by whoever is asked.
    pub(crate) fn choose(&self, request_id: &[u8], named: Option<Named<'_>>) -> Arc<Tagger> {
        let chosen = self.chosen(request_id);
        let Some(named) = named else {
            return chosen;
        };
        let has_name = |tagger: &Tagger| {
            let model = &tagger.model;
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
            if chosen && live.health.readiness() != Readiness::NoWorker {
                return live;
            }
        }
        self.live()
    }

    /// The tracks, the stable one first.
    pub(crate) fn tracks(&self) -> impl Iterator<Item = &Track> {
        std::iter::once(&self.stable).chain(self.canary.iter().map(|canary| &canary.track))
    }

    /// Shows the live versions in the metrics.
    pub(crate) fn show(&self) {
        let live: Vec<_> = self.tracks().map(|track| (track.name(), track.live())).collect();
        let models = live.iter().map(|(track, tagger)| (*track, tagger.model.as_ref()));
        let device = self.shared.config.device().to_string();
        self.shared.metrics.show_models(&device, models);
    }

    /// Drops what waits for any version.
    pub(crate) fn abort(&self) {
        for tagger in self.tracks().flat_map(Track::all) {
            tagger.queue.abort();
        }
    }

    /// Ends the workers of every version; false where one is still busy at the deadline.
    pub(crate) async fn stop(&self, deadline: Instant) -> bool {
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
