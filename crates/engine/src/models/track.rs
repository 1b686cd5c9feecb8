//! One followed model: its live version, and how another version replaces it.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, Weak};

use serde::Serialize;
use tokio::task::spawn_blocking;
use tokio::time::timeout;
use utoipa::ToSchema;

use crate::context::VersionContext;
use crate::error::EngineError;
use crate::metrics::ReloadResult;
use crate::models::error::{ReloadError, START_LIMIT};
use crate::models::rejected::RejectedVersion;
use crate::models::source::{ModelSource, Opened, VersionPath};
use crate::pipeline::aggregation::DecodingOptions;
use crate::pipeline::tagger::Tagger;
use crate::request::input::TagInput;
use crate::scheduler::pool::{SessionReady, all_started};
use crate::scheduler::queue::Flow;

/// The number of replaced versions that may still have requests, which only streams have for long. Beyond it, the
/// oldest are aborted.
const MOST_REPLACED: usize = 4;
/// The text that a new version must tag before it is served. Only that each word gets a label matters.
const SELF_TEST: &str = "Angela Merkel met Tim Cook in Berlin yesterday .";

/// Why the engine looks for another version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReloadTrigger {
    /// An operator requested it.
    Requested,
    /// The files may have changed, or the polling interval has passed. A version that was rejected is tried again if
    /// its files have changed or the cause may have passed.
    FilesChanged,
}

/// What is served after an order to serve another version.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct Reload {
    /// The model that is followed: `stable` or `canary`.
    #[schema(example = "stable")]
    pub track: &'static str,
    /// The version that is served now.
    pub version: String,
    /// Whether it is another than before.
    pub changed: bool,
}

/// One followed model.
pub struct Track {
    name: &'static str,
    context: VersionContext,
    source: Arc<dyn ModelSource>,
    live: RwLock<Arc<Tagger>>,
    state: Mutex<TrackState>,
    /// Held while a version starts, so that versions start one after the other.
    turn: tokio::sync::Mutex<()>,
}

struct TrackState {
    /// The place of the live version.
    place: VersionPath,
    /// The place of the previous version.
    before: Option<VersionPath>,
    /// The place of a version that was rolled back from, which is not followed.
    left: Option<VersionPath>,
    /// The version that the last attempt rejected.
    rejected: Option<RejectedVersion>,
    /// Why the last attempt failed; absent once an attempt has succeeded.
    problem: Option<String>,
    /// Whether the store could not be read at the last look.
    is_store_away: bool,
    /// Replaced versions that may still have requests.
    replaced: Vec<Weak<Tagger>>,
}

impl Track {
    /// A track that serves the source's current version. Its workers open their sessions in the background.
    pub(crate) async fn start(
        name: &'static str,
        source: Arc<dyn ModelSource>,
        context: &VersionContext,
    ) -> Result<(Self, Vec<SessionReady>), EngineError> {
        let opening = Arc::clone(&source);
        let opened = spawn_blocking(move || open_first(&*opening));
        let first = opened.await.map_err(|_| EngineError::ThreadLost)??;
        let FirstVersion {
            place,
            opened,
            failure,
            is_store_read,
        } = first;
        let (live, started) = Tagger::start(opened.model, opened.sessions, context)?;
        context.metrics.store_read(name, is_store_read);
        if let Some(error) = &failure {
            let version = &live.model.version;
            tracing::warn!(track = name, %error, %version, "starting with the version that was served last");
        }
        told(&source, &place, None).await;
        let problem = failure.map(|error| ReloadError::from(error).shown());
        let track = Self {
            name,
            context: context.clone(),
            source,
            live: RwLock::new(Arc::new(live)),
            state: Mutex::new(TrackState {
                place,
                before: None,
                left: None,
                rejected: None,
                is_store_away: !is_store_read,
                problem,
                replaced: Vec::new(),
            }),
            turn: tokio::sync::Mutex::default(),
        };
        Ok((track, started))
    }

    /// The track's name: `stable` or `canary`.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// Where its versions come from.
    pub(crate) fn source(&self) -> &Arc<dyn ModelSource> {
        &self.source
    }

    /// The version that new requests are assigned.
    pub fn live(&self) -> Arc<Tagger> {
        Arc::clone(&self.live.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Why the last attempt to serve another version failed; absent once an attempt has succeeded.
    pub fn problem(&self) -> Option<String> {
        self.state().problem.clone()
    }

    /// The live version, and replaced versions that still have requests.
    pub(crate) fn all(&self) -> Vec<Arc<Tagger>> {
        let mut all: Vec<_> = self.state().replaced.iter().filter_map(Weak::upgrade).collect();
        all.push(self.live());
        all
    }

    /// Loads the current version, if it is another one or its files have changed. A version that was rolled back from
    /// is loaded only for [`ReloadTrigger::Requested`].
    pub(crate) async fn reload(&self, trigger: ReloadTrigger) -> Result<Reload, ReloadError> {
        let _turn = self.turn.lock().await;
        if trigger == ReloadTrigger::FilesChanged && self.is_look_held_back() {
            return Ok(self.serving(false));
        }
        let source = Arc::clone(&self.source);
        let current = blocking(move || source.current()).await;
        self.note_look(&current);
        let place = current.as_ref().ok().cloned();
        let before = self.state().rejected.take();
        if trigger == ReloadTrigger::FilesChanged
            && before
                .as_ref()
                .is_some_and(|before| before.is_held_back(place.as_ref()))
        {
            self.state().rejected = before;
            return Ok(self.serving(false));
        }
        let result = match current {
            Ok(current) => self.follow(current, trigger).await,
            Err(error) => Err(error),
        };
        let rejected = result.as_ref().err();
        self.state().rejected = rejected.map(|error| RejectedVersion::new(place, error, before));
        self.note(ReloadResult::Loaded, result)
    }

    /// Whether a store that is asked, rather than watched, failed so recently that it is not asked again yet.
    fn is_look_held_back(&self) -> bool {
        let state = self.state();
        let failed = state.rejected.as_ref();
        self.source.watched().is_none() && failed.is_some_and(|failed| failed.is_held_back(None))
    }

    /// Records whether the current version could be determined. A store that stays away is logged once.
    fn note_look(&self, current: &Result<VersionPath, ReloadError>) {
        self.context.metrics.store_read(self.name, current.is_ok());
        let mut state = self.state();
        let was_away = state.is_store_away;
        state.is_store_away = is_away(current.as_ref().err());
        let version = &self.live().model.version;
        match current {
            Err(error) if state.is_store_away && !was_away => {
                tracing::warn!(track = self.name, %error, still = %version, "the model store cannot be read");
            }
            Ok(_) if was_away => tracing::info!(track = self.name, "the model store can be read again"),
            _ => {}
        }
    }

    /// Serves the previous version again, until `current` names another version than the one that is left.
    ///
    /// With `from`, nothing is done unless that version is live, so that a repeated order is carried out once.
    pub(crate) async fn roll_back(&self, from: Option<&str>) -> Result<Reload, ReloadError> {
        let _turn = self.turn.lock().await;
        let before = self.state().before.clone();
        let result = match before {
            _ if from.is_some_and(|from| from != self.live().model.version) => {
                Err(ReloadError::AnotherServed)
            }
            None => Err(ReloadError::NothingBefore),
            Some(before) => self.serve_again(before).await,
        };
        if result.is_ok() {
            let mut state = self.state();
            state.left = state.before.clone();
        }
        self.note(ReloadResult::RolledBack, result)
    }

    /// Serves the version at the current place, unless it is served already or was rolled back from.
    async fn follow(&self, current: VersionPath, trigger: ReloadTrigger) -> Result<Reload, ReloadError> {
        let known = {
            let mut state = self.state();
            state.left = state.left.take().filter(|left| *left == current);
            current == state.place || (trigger == ReloadTrigger::FilesChanged && state.left.is_some())
        };
        if known {
            return Ok(self.serving(false));
        }
        let reload = self.serve(current).await?;
        self.state().left = None;
        Ok(reload)
    }

    /// Serves a version that was served before, if its files are unchanged.
    async fn serve_again(&self, place: VersionPath) -> Result<Reload, ReloadError> {
        let (source, known) = (Arc::clone(&self.source), place.clone());
        if !blocking(move || Ok(source.is_unchanged(&known))).await? {
            return Err(ReloadError::Changed);
        }
        self.serve(place).await
    }

    /// Opens, starts and tests the version at this place, then assigns it to new requests.
    async fn serve(&self, place: VersionPath) -> Result<Reload, ReloadError> {
        let source = Arc::clone(&self.source);
        let opening = place.clone();
        let opened = blocking(move || source.open(&opening)).await?;
        let (tagger, started) = Tagger::start(opened.model, opened.sessions, &self.context)?;
        let proven = timeout(START_LIMIT, prove(&tagger, started)).await;
        proven.unwrap_or(Err(ReloadError::TooSlow))?;
        let changed = self.live().model.version != tagger.model.version;
        let replaced = {
            let mut live = self.live.write().unwrap_or_else(PoisonError::into_inner);
            std::mem::replace(&mut *live, Arc::new(tagger))
        };
        let (live, before) = {
            let mut state = self.state();
            state.before = Some(std::mem::replace(&mut state.place, place));
            state.replaced.retain(|version| version.strong_count() > 0);
            state.replaced.push(Arc::downgrade(&replaced));
            let too_many = state.replaced.len().saturating_sub(MOST_REPLACED);
            for version in state.replaced[..too_many].iter().filter_map(Weak::upgrade) {
                version.queue.abort();
            }
            (state.place.clone(), state.before.clone())
        };
        told(&self.source, &live, before).await;
        Ok(self.serving(changed))
    }

    fn serving(&self, changed: bool) -> Reload {
        Reload {
            track: self.name,
            version: self.live().model.version.clone(),
            changed,
        }
    }

    /// Records the result of an attempt in the metrics and the log.
    fn note(&self, meant: ReloadResult, result: Result<Reload, ReloadError>) -> Result<Reload, ReloadError> {
        let mut state = self.state();
        match &result {
            Ok(reload) => {
                state.problem = None;
                if reload.changed || meant == ReloadResult::RolledBack {
                    self.context.metrics.reloaded(meant);
                    tracing::info!(track = self.name, version = %reload.version, result = ?meant, "serving another version");
                }
            }
            // Nothing was attempted.
            Err(ReloadError::NothingBefore | ReloadError::AnotherServed) => {}
            // No version was rejected; `note_look` has logged it.
            Err(error) if state.is_store_away => state.problem = Some(error.shown()),
            Err(error) => {
                self.context.metrics.reloaded(ReloadResult::Rejected);
                let problem = error.shown();
                // A version that stays broken is retried again and again; its problem is logged once.
                if state.problem.as_ref() != Some(&problem) {
                    let version = &self.live().model.version;
                    tracing::error!(track = self.name, %error, still = %version, "another version was rejected");
                }
                state.problem = Some(problem);
            }
        }
        drop(state);
        result
    }

    fn state(&self) -> MutexGuard<'_, TrackState> {
        // No code panics while it holds the lock.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The version that a track starts with.
struct FirstVersion {
    place: VersionPath,
    opened: Opened,
    /// Why it is not the current one.
    failure: Option<EngineError>,
    /// Whether the current one could be determined.
    is_store_read: bool,
}

/// Opens the current version, or the one to start with if that fails. Blocks.
fn open_first(source: &dyn ModelSource) -> Result<FirstVersion, EngineError> {
    let current = source.current();
    let is_store_read = current.is_ok();
    let open = |place: VersionPath, failure| {
        let opened = source.open(&place)?;
        Ok(FirstVersion {
            place,
            opened,
            failure,
            is_store_read,
        })
    };
    match current.and_then(|place| open(place, None)) {
        Ok(first) => Ok(first),
        Err(failure) => match source.fallback() {
            Some(place) => open(place, Some(failure)),
            None => Err(failure),
        },
    }
}

/// Tells a source which version answers. A source that takes too long is left to itself.
async fn told(source: &Arc<dyn ModelSource>, live: &VersionPath, before: Option<VersionPath>) {
    let (source, live) = (Arc::clone(source), live.clone());
    let _late = blocking(move || {
        source.serves(&live, before.as_ref());
        Ok(())
    })
    .await;
}

/// Whether a store does not tell what is current.
fn is_away(error: Option<&ReloadError>) -> bool {
    matches!(error, Some(ReloadError::Version(EngineError::Store(_))))
}

/// The result of work on files, which may take forever on a volume that hangs.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, EngineError> + Send + 'static,
) -> Result<T, ReloadError> {
    let done = timeout(START_LIMIT, spawn_blocking(work)).await;
    let done = done.map_err(|_| ReloadError::TooSlow)?;
    Ok(done.map_err(|_| EngineError::ThreadLost)??)
}

/// Waits for every session, then has a plain text tagged.
async fn prove(tagger: &Tagger, started: Vec<SessionReady>) -> Result<(), ReloadError> {
    all_started(started).await?;
    tagger.health.set_warm();
    let sources = vec![TagInput::Text(SELF_TEST.to_owned())];
    // As bulk work, which waits: the load on the live version must not fail the new one.
    let flow = Flow::default();
    for tagged in tagger
        .tag_patiently(sources, DecodingOptions::default(), &flow)
        .await
    {
        tagged.map_err(ReloadError::SelfTest)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests;
