//! One followed model: its live version, and how another takes its place.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, Weak};

use serde::Serialize;
use tokio::task::spawn_blocking;
use tokio::time::timeout;
use utoipa::ToSchema;

use crate::context::VersionContext;
use crate::error::EngineError;
use crate::metrics::ReloadResult;
use crate::models::error::{ReloadError, START_LIMIT};
use crate::models::source::{ModelSource, Opened, VersionPath};
use crate::pipeline::aggregation::DecodingOptions;
use crate::pipeline::tagger::Tagger;
use crate::request::input::TagInput;
use crate::scheduler::pool::{SessionReady, all_started};
use crate::scheduler::queue::Flow;

/// Replaced versions that may still have requests, which only streams have for long; of more, the oldest are cut off.
const MOST_REPLACED: usize = 4;
/// What a new version must answer before it is served. Its words are of no matter: that each has a label is.
const SELF_TEST: &str = "Angela Merkel met Tim Cook in Berlin yesterday .";

/// Why the engine looks for another version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReloadTrigger {
    /// An operator requested it.
    Requested,
    /// The files may have changed, or the polling interval has passed.
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
    /// Held while another version is started, so that one follows the other.
    turn: tokio::sync::Mutex<()>,
}

struct TrackState {
    /// Where the live version was found.
    place: VersionPath,
    /// Where the version before it was found.
    before: Option<VersionPath>,
    /// A place that is not followed: it was rolled back from.
    left: Option<VersionPath>,
    /// Why the last attempt failed; absent once an attempt has succeeded.
    problem: Option<String>,
    /// Versions that were replaced and may still have requests.
    replaced: Vec<Weak<Tagger>>,
}

impl Track {
    /// A track whose first version is the current one of this source, its workers being started.
    pub(crate) async fn start(
        name: &'static str,
        source: Arc<dyn ModelSource>,
        context: &VersionContext,
    ) -> Result<(Self, Vec<SessionReady>), EngineError> {
        let opening = Arc::clone(&source);
        let opened = spawn_blocking(move || {
            let place = opening.current()?;
            let opened = opening.open(&place)?;
            Ok::<_, EngineError>((place, opened))
        });
        let (place, Opened { model, sessions }) = opened.await.map_err(|_| EngineError::ThreadLost)??;
        let (live, started) = Tagger::start(model, sessions, context)?;
        let track = Self {
            name,
            context: context.clone(),
            source,
            live: RwLock::new(Arc::new(live)),
            state: Mutex::new(TrackState {
                place,
                before: None,
                left: None,
                problem: None,
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

    /// The version that new requests are given.
    pub fn live(&self) -> Arc<Tagger> {
        Arc::clone(&self.live.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Why the last attempt to serve another version failed; absent once an attempt has succeeded.
    pub fn problem(&self) -> Option<String> {
        self.state().problem.clone()
    }

    /// The live version, and those replaced that still have requests.
    pub(crate) fn all(&self) -> Vec<Arc<Tagger>> {
        let mut all: Vec<_> = self.state().replaced.iter().filter_map(Weak::upgrade).collect();
        all.push(self.live());
        all
    }

    /// Serves the version that is current, if it is another or has changed; one that was rolled back from only as
    /// [`ReloadTrigger::Requested`].
    pub(crate) async fn reload(&self, trigger: ReloadTrigger) -> Result<Reload, ReloadError> {
        let _turn = self.turn.lock().await;
        let result = self.follow(trigger).await;
        self.note(ReloadResult::Loaded, result)
    }

    /// Serves the version before again, until `current` becomes another than the one that is left.
    ///
    /// Where the version to leave is named, it is left at most once: an order that is repeated does not undo itself.
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

    async fn follow(&self, trigger: ReloadTrigger) -> Result<Reload, ReloadError> {
        let source = Arc::clone(&self.source);
        let current = blocking(move || source.current()).await?;
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

    /// The same for a version that was served before, if it is what it was.
    async fn serve_again(&self, place: VersionPath) -> Result<Reload, ReloadError> {
        let (source, known) = (Arc::clone(&self.source), place.clone());
        if !blocking(move || Ok(source.is_unchanged(&known))).await? {
            return Err(ReloadError::Changed);
        }
        self.serve(place).await
    }

    /// Opens, starts and proves the version at this place, and gives it to the requests that come.
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
        let mut state = self.state();
        state.before = Some(std::mem::replace(&mut state.place, place));
        state.replaced.retain(|version| version.strong_count() > 0);
        state.replaced.push(Arc::downgrade(&replaced));
        let too_many = state.replaced.len().saturating_sub(MOST_REPLACED);
        for version in state.replaced[..too_many].iter().filter_map(Weak::upgrade) {
            version.queue.abort();
        }
        drop(state);
        Ok(self.serving(changed))
    }

    fn serving(&self, changed: bool) -> Reload {
        Reload {
            track: self.name,
            version: self.live().model.version.clone(),
            changed,
        }
    }

    /// Leaves on record what came of an attempt.
    fn note(&self, meant: ReloadResult, result: Result<Reload, ReloadError>) -> Result<Reload, ReloadError> {
        let mut state = self.state();
        match &result {
            Ok(reload) => {
                state.problem = None;
                if reload.changed || meant == ReloadResult::RolledBack {
                    self.context.metrics.reloaded(meant);
                    tracing::info!(track = self.name, version = %reload.version, result = ?meant, "another version is served");
                }
            }
            // Nothing was attempted.
            Err(ReloadError::NothingBefore | ReloadError::AnotherServed) => {}
            Err(error) => {
                self.context.metrics.reloaded(ReloadResult::Rejected);
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

    fn state(&self) -> MutexGuard<'_, TrackState> {
        // No code panics while it holds the lock.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What comes of work on files, which may take for ever on a volume that hangs.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, EngineError> + Send + 'static,
) -> Result<T, ReloadError> {
    let done = timeout(START_LIMIT, spawn_blocking(work)).await;
    let done = done.map_err(|_| ReloadError::TooSlow)?;
    Ok(done.map_err(|_| EngineError::ThreadLost)??)
}

/// Waits for every session and has a plain text answered.
async fn prove(tagger: &Tagger, started: Vec<SessionReady>) -> Result<(), ReloadError> {
    all_started(started).await?;
    tagger.health.set_warm();
    let sources = vec![TagInput::Text(SELF_TEST.to_owned())];
    // Patiently, since the load that the version before is under is none of its faults.
    let flow = Flow::default();
    for tagged in tagger
        .tag_patiently(sources, DecodingOptions::default(), &flow)
        .await
    {
        tagged.map_err(ReloadError::SelfTest)?;
    }
    Ok(())
}
