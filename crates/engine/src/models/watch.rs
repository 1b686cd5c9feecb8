//! When the engine looks for another version: on file notifications, at a polling interval, and at SIGHUP.

use std::sync::Arc;
use std::time::Duration;

use notify::{RecommendedWatcher, RecursiveMode, Watcher};
use tokio::signal::unix::Signal;
use tokio::sync::mpsc;
use tokio::time::{Instant, MissedTickBehavior, interval};
use tracing::warn;

use crate::engine::Engine;
use crate::models::track::{ReloadTrigger, Track};

/// The delay between a notification and the look: publishing takes several file operations.
const SETTLE: Duration = Duration::from_millis(50);
/// The pause after a rejected version; doubled each time, up to the longest.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(60);
/// The polling interval if polling is off: versions are then loaded only by orders.
const NEVER: Duration = Duration::from_secs(365 * 24 * 3600);

/// Loads new versions as they are published; never returns.
pub async fn watch(engine: Arc<Engine>, poll: Option<Duration>, mut hangup: Signal) {
    let (tell, mut changed) = mpsc::channel(1);
    // Kept alive: dropping the watcher ends the notifications.
    let _watcher = poll.and_then(|poll| watcher(&engine, tell, poll));
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

/// When a track is retried after a rejected version.
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

/// Notifies of changes in the models' directories. `None` where notifications are unavailable, as on some network
/// volumes.
fn watcher(engine: &Engine, tell: mpsc::Sender<()>, poll: Duration) -> Option<RecommendedWatcher> {
    let told = move |event: notify::Result<notify::Event>| {
        if event.is_ok_and(|event| !event.kind.is_access()) {
            // The channel holds a notification already.
            let _full = tell.try_send(());
        }
    };
    let seconds = poll.as_secs_f64();
    let unwatched = |error: notify::Error| warn!(%error, "file notifications are unavailable; polling every {seconds} s instead");
    let mut watcher = notify::recommended_watcher(told).map_err(unwatched).ok()?;
    for path in engine.tracks().filter_map(|track| track.source().watched()) {
        watcher
            .watch(&path, RecursiveMode::NonRecursive)
            .map_err(unwatched)
            .ok()?;
    }
    Some(watcher)
}
