//! One followed model: its live version, and how another takes its place.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, Weak};
use std::time::Duration;

use serde::Serialize;
use thiserror::Error;
use tokio::task::spawn_blocking;
use tokio::time::timeout;
use utoipa::ToSchema;

use crate::metrics::ReloadResult;
use crate::models::Models;
use crate::models::source::{ModelSource, Opened, Place};
use crate::pipeline::{Reading, Source, TagError, Tagger};
use crate::run::{ServerError, all_started};
use crate::scheduler::Started;

/// How long a new version may take to open its sessions and answer its first text.
const START_LIMIT: Duration = Duration::from_secs(300);
/// What a new version must answer before it is served. Its words are of no matter: that each has a label is.
const SELF_TEST: &str = "Angela Merkel met Tim Cook in Berlin yesterday .";

/// Why another version is not served; the one before still is.
#[derive(Debug, Error)]
pub(crate) enum ReloadError {
    /// The version cannot be found, opened or started.
    #[error(transparent)]
    Version(#[from] ServerError),
    /// It does not answer a plain text.
    #[error("the version fails its self-test: {0:?}")]
    SelfTest(TagError),
    /// It takes too long.
    #[error("the version did not start within {} s", START_LIMIT.as_secs())]
    TooSlow,
    /// There was no version before.
    #[error("no other version has been served before")]
    NothingBefore,
}

impl ReloadError {
    /// The error as a client may see it: without the path of the model, which is in the log.
    pub(crate) fn shown(&self) -> String {
        match self {
            Self::Version(ServerError::Model { source, .. }) => without_directories(&source.to_string()),
            other => without_directories(&other.to_string()),
        }
    }
}

/// The text with each path reduced to its last part.
fn without_directories(text: &str) -> String {
    let shortened = text.split(' ').map(|word| match word.strip_prefix('/') {
        Some(path) => path.rsplit('/').next().unwrap_or_default(),
        None => word,
    });
    shortened.collect::<Vec<_>>().join(" ")
}

/// Why another version is looked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Why {
    /// Somebody asked for it.
    Asked,
    /// The files may have changed.
    Noticed,
}

/// What is served after an order to serve another version.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub(crate) struct Reload {
    /// The model that is followed: `stable` or `canary`.
    #[schema(example = "stable")]
    pub(crate) track: &'static str,
    /// The version that is served now.
    pub(crate) version: String,
    /// Whether it is another than before.
    pub(crate) changed: bool,
}

/// One followed model.
pub(crate) struct Track {
    name: &'static str,
    source: Arc<dyn ModelSource>,
    live: RwLock<Arc<Tagger>>,
    state: Mutex<State>,
    /// Held while another version is started, so that one follows the other.
    turn: tokio::sync::Mutex<()>,
}

struct State {
    /// Where the live version was found.
    place: Place,
    /// Where the version before it was found.
    before: Option<Place>,
    /// A place that is not followed: it was rolled back from.
    left: Option<Place>,
    /// Why the last attempt failed; absent once one has succeeded.
    problem: Option<String>,
    /// Versions that were replaced and may still have requests.
    replaced: Vec<Weak<Tagger>>,
}

impl Track {
    /// A track whose first version is at this place and starts its workers.
    pub(crate) fn new(name: &'static str, source: Arc<dyn ModelSource>, place: Place, live: Tagger) -> Self {
        Self {
            name,
            source,
            live: RwLock::new(Arc::new(live)),
            state: Mutex::new(State {
                place,
                before: None,
                left: None,
                problem: None,
                replaced: Vec::new(),
            }),
            turn: tokio::sync::Mutex::default(),
        }
    }

    /// The track's name: `stable` or `canary`.
    pub(crate) fn name(&self) -> &'static str {
        self.name
    }

    /// Where its versions come from.
    pub(crate) fn source(&self) -> &Arc<dyn ModelSource> {
        &self.source
    }

    /// The version that new requests are given.
    pub(crate) fn live(&self) -> Arc<Tagger> {
        Arc::clone(&self.live.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Why the last attempt to serve another version failed.
    pub(crate) fn problem(&self) -> Option<String> {
        self.state().problem.clone()
    }

    /// The live version, and those replaced that still have requests.
    pub(crate) fn all(&self) -> Vec<Arc<Tagger>> {
        let mut all: Vec<_> = self.state().replaced.iter().filter_map(Weak::upgrade).collect();
        all.push(self.live());
        all
    }

    /// Serves the version that is current, if it is another or has changed; one that was rolled back from only as
    /// [`Why::Asked`].
    pub(crate) async fn reload(&self, why: Why, models: &Models) -> Result<Reload, ReloadError> {
        let _turn = self.turn.lock().await;
        let result = self.follow(why, models).await;
        self.note(models, ReloadResult::Loaded, result)
    }

    /// Serves the version before again, until `current` becomes another than the one that is left.
    pub(crate) async fn roll_back(&self, models: &Models) -> Result<Reload, ReloadError> {
        let _turn = self.turn.lock().await;
        let before = self.state().before.clone();
        let result = match before {
            None => Err(ReloadError::NothingBefore),
            Some(before) => self.serve(before, models).await,
        };
        if result.is_ok() {
            let mut state = self.state();
            state.left = state.before.clone();
        }
        self.note(models, ReloadResult::RolledBack, result)
    }

    async fn follow(&self, why: Why, models: &Models) -> Result<Reload, ReloadError> {
        let current = self.current().await?;
        let known = {
            let state = self.state();
            current == state.place || (why == Why::Noticed && state.left.as_ref() == Some(&current))
        };
        if known {
            return Ok(self.serving(false));
        }
        let reload = self.serve(current, models).await?;
        self.state().left = None;
        Ok(reload)
    }

    /// Opens, starts and proves the version at this place, and gives it to the requests that come.
    async fn serve(&self, place: Place, models: &Models) -> Result<Reload, ReloadError> {
        let source = Arc::clone(&self.source);
        let opening = place.clone();
        let opened = spawn_blocking(move || source.open(&opening));
        let opened = opened.await.map_err(|_| ServerError::ThreadLost)??;
        let (tagger, started) = Tagger::start(opened.model, opened.sessions, &models.shared)?;
        let proven = timeout(START_LIMIT, prove(&tagger, started)).await;
        proven.unwrap_or(Err(ReloadError::TooSlow))?;
        let changed = self.live().model.version != tagger.model.version;
        let replaced = {
            let mut live = self.live.write().unwrap_or_else(PoisonError::into_inner);
            std::mem::replace(&mut *live, Arc::new(tagger))
        };
        let mut state = self.state();
        state.before = Some(std::mem::replace(&mut state.place, place));
        state.replaced.retain(|version| version.strong_count() > 0);
        state.replaced.push(Arc::downgrade(&replaced));
        drop(state);
        models.show();
        Ok(self.serving(changed))
    }

    async fn current(&self) -> Result<Place, ServerError> {
        let source = Arc::clone(&self.source);
        let found = spawn_blocking(move || source.current()).await;
        found.map_err(|_| ServerError::ThreadLost)?
    }

    fn serving(&self, changed: bool) -> Reload {
        Reload {
            track: self.name,
            version: self.live().model.version.clone(),
            changed,
        }
    }

    /// Leaves on record what came of an attempt.
    fn note(
        &self,
        models: &Models,
        meant: ReloadResult,
        result: Result<Reload, ReloadError>,
    ) -> Result<Reload, ReloadError> {
        let mut state = self.state();
        match &result {
            Ok(reload) => {
                state.problem = None;
                if reload.changed || meant == ReloadResult::RolledBack {
                    models.shared.metrics.reloaded(meant);
                    tracing::info!(track = self.name, version = %reload.version, result = ?meant, "another version is served");
                }
            }
            // Nothing was attempted.
            Err(ReloadError::NothingBefore) => {}
            Err(error) => {
                models.shared.metrics.reloaded(ReloadResult::Rejected);
                let problem = error.shown();
                // A version that stays bad is tried again and again, and named once.
                if state.problem.as_ref() != Some(&problem) {
                    let version = &self.live().model.version;
                    tracing::error!(track = self.name, %error, still = %version, "another version is not served");
                }
                state.problem = Some(problem);
            }
        }
        drop(state);
        result
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // No code panics while it holds the lock.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Waits for every session and has a plain text answered.
async fn prove(tagger: &Tagger, started: Started) -> Result<(), ReloadError> {
    all_started(started).await?;
    tagger.health.set_warm();
    let sources = vec![Source::Text(SELF_TEST.to_owned())];
    let answered = tagger.tag(sources, Reading::default()).await;
    for tagged in answered.map_err(ReloadError::SelfTest)? {
        tagged.map_err(ReloadError::SelfTest)?;
    }
    Ok(())
}

impl Opened {
    /// The configured model's first version, opened.
    pub(crate) fn first(source: &dyn ModelSource) -> Result<(Place, Self), ServerError> {
        let place = source.current()?;
        let opened = source.open(&place)?;
        Ok((place, opened))
    }
}
