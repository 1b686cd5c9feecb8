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
use crate::scheduler::{Flow, Started};

/// How long a new version may take to open its sessions and answer its first text.
const START_LIMIT: Duration = Duration::from_secs(300);
/// Replaced versions that may still have requests, which only streams have for long; of more, the oldest are cut off.
const MOST_REPLACED: usize = 4;
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
    #[error("the version could not be read and started within {} s", START_LIMIT.as_secs())]
    TooSlow,
    /// The version before is not what it was.
    #[error("the files of the version before have changed since it was served")]
    Changed,
    /// Another version is served than the one that is to be left.
    #[error("`from` is not the version that is served")]
    AnotherServed,
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

/// The text with each path reduced to its last part, whatever stands around it.
fn without_directories(text: &str) -> String {
    let ends = |c: char| c.is_whitespace() || "\"'`()[]<>,;=".contains(c);
    let shortened = text
        .split_inclusive(ends)
        .map(|word| word.rsplit_once('/').map_or(word, |(_, last)| last));
    shortened.collect()
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
    ///
    /// Where the version to leave is named, it is left at most once: an order that is repeated does not undo itself.
    pub(crate) async fn roll_back(&self, from: Option<&str>, models: &Models) -> Result<Reload, ReloadError> {
        let _turn = self.turn.lock().await;
        let before = self.state().before.clone();
        let result = match before {
            _ if from.is_some_and(|from| from != self.live().model.version) => {
                Err(ReloadError::AnotherServed)
            }
            None => Err(ReloadError::NothingBefore),
            Some(before) => self.serve_again(before, models).await,
        };
        if result.is_ok() {
            let mut state = self.state();
            state.left = state.before.clone();
        }
        self.note(models, ReloadResult::RolledBack, result)
    }

    async fn follow(&self, why: Why, models: &Models) -> Result<Reload, ReloadError> {
        let source = Arc::clone(&self.source);
        let current = blocking(move || source.current()).await?;
        let known = {
            let mut state = self.state();
            state.left = state.left.take().filter(|left| *left == current);
            current == state.place || (why == Why::Noticed && state.left.is_some())
        };
        if known {
            return Ok(self.serving(false));
        }
        let reload = self.serve(current, models).await?;
        self.state().left = None;
        Ok(reload)
    }

    /// The same for a version that was served before, if it is what it was.
    async fn serve_again(&self, place: Place, models: &Models) -> Result<Reload, ReloadError> {
        let (source, known) = (Arc::clone(&self.source), place.clone());
        if !blocking(move || Ok(source.is_unchanged(&known))).await? {
            return Err(ReloadError::Changed);
        }
        self.serve(place, models).await
    }

    /// Opens, starts and proves the version at this place, and gives it to the requests that come.
    async fn serve(&self, place: Place, models: &Models) -> Result<Reload, ReloadError> {
        let source = Arc::clone(&self.source);
        let opening = place.clone();
        let opened = blocking(move || source.open(&opening)).await?;
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
        let too_many = state.replaced.len().saturating_sub(MOST_REPLACED);
        for version in state.replaced[..too_many].iter().filter_map(Weak::upgrade) {
            version.queue.abort();
        }
        drop(state);
        models.show();
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
            Err(ReloadError::NothingBefore | ReloadError::AnotherServed) => {}
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

/// What comes of work on files, which may take for ever on a volume that hangs.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, ServerError> + Send + 'static,
) -> Result<T, ReloadError> {
    let done = timeout(START_LIMIT, spawn_blocking(work)).await;
    let done = done.map_err(|_| ReloadError::TooSlow)?;
    Ok(done.map_err(|_| ServerError::ThreadLost)??)
}

/// Waits for every session and has a plain text answered.
async fn prove(tagger: &Tagger, started: Started) -> Result<(), ReloadError> {
    all_started(started).await?;
    tagger.health.set_warm();
    let sources = vec![Source::Text(SELF_TEST.to_owned())];
    // Patiently, since the load that the version before is under is none of its faults.
    let flow = Flow::default();
    for tagged in tagger.tag_patiently(sources, Reading::default(), &flow).await {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_shown_by_their_last_part() {
        for (text, shown) in [
            (
                "cannot open /srv/store/model.onnx: gone",
                "cannot open model.onnx: gone",
            ),
            ("store/current: no", "current: no"),
            ("at \"/a/b.json\" (in /e/f)", "at \"b.json\" (in f)"),
            ("no such model", "no such model"),
        ] {
            assert_eq!(without_directories(text), shown);
        }
    }
}
