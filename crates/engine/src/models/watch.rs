//! When another version is looked for: as files change, every so often, and at SIGHUP.

use std::sync::Arc;
use std::time::Duration;

use notify::{RecommendedWatcher, RecursiveMode, Watcher};
use tokio::signal::unix::Signal;
use tokio::sync::mpsc;
use tokio::time::{Instant, MissedTickBehavior, interval};
use tracing::warn;

use crate::engine::Engine;
use crate::models::track::{ReloadTrigger, Track};

/// Between a change and the look at it: a store is written in a few steps.
const SETTLE: Duration = Duration::from_millis(50);
/// After a version that was refused; doubled each time, up to the longest.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(60);
/// The polling interval where polling is off: only orders have versions reloaded.
const NEVER: Duration = Duration::from_secs(365 * 24 * 3600);

/// Serves new versions as they come; never ends.
pub async fn watch(engine: Arc<Engine>, poll: Option<Duration>, mut hangup: Signal) {
    let (tell, mut changed) = mpsc::channel(1);
    // Kept: its events end when it is dropped.
    let _watcher = poll.and_then(|_| watcher(&engine, tell));
    let mut ticks = interval(poll.unwrap_or(NEVER));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks.tick().await;
    let mut backoffs: Vec<ReloadBackoff> = engine.tracks().map(|_| ReloadBackoff::default()).collect();
    loop {
        let trigger = tokio::select! {
            _ = ticks.tick() => ReloadTrigger::FilesChanged,
            Some(()) = changed.recv() => {
                tokio::time::sleep(SETTLE).await;
                while changed.try_recv().is_ok() {}
                backoffs.fill(ReloadBackoff::default());
                ReloadTrigger::FilesChanged
            }
            Some(()) = hangup.recv() => ReloadTrigger::Requested,
        };
        for (track, backoff) in engine.tracks().zip(&mut backoffs) {
            if trigger == ReloadTrigger::Requested || backoff.is_due() {
                backoff.reload(track, trigger, &engine).await;
            }
        }
    }
}

/// When a track is looked at again after a refused version.
#[derive(Clone, Copy, Default)]
struct ReloadBackoff {
    pause: Option<Duration>,
    due: Option<Instant>,
}

impl ReloadBackoff {
    fn is_due(&self) -> bool {
        self.due.is_none_or(|due| due <= Instant::now())
    }

    async fn reload(&mut self, track: &Track, trigger: ReloadTrigger, engine: &Engine) {
        // The track logs why a version is refused.
        if engine.reload(track, trigger).await.is_ok() {
            *self = Self::default();
            return;
        }
        let pause = self
            .pause
            .map_or(FIRST_PAUSE, |pause| (pause * 2).min(LONGEST_PAUSE));
        (self.pause, self.due) = (Some(pause), Some(Instant::now() + pause));
    }
}

/// Tells of changes where the models are; without it, as on some network volumes, they are found by looking.
fn watcher(engine: &Engine, tell: mpsc::Sender<()>) -> Option<RecommendedWatcher> {
    let told = move |event: notify::Result<notify::Event>| {
        if event.is_ok_and(|event| !event.kind.is_access()) {
            // A full channel has told already.
            let _full = tell.try_send(());
        }
    };
    let unwatched =
        |error: notify::Error| warn!(%error, "file events are not to be had; changes are found by polling");
    let mut watcher = notify::recommended_watcher(told).map_err(unwatched).ok()?;
    for path in engine.tracks().filter_map(|track| track.source().watched()) {
        watcher
            .watch(&path, RecursiveMode::NonRecursive)
            .map_err(unwatched)
            .ok()?;
    }
    Some(watcher)
}
