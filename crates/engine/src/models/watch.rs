//! When the engine looks for another version: on file notifications, at a polling interval, and at SIGHUP.

use std::sync::Arc;
use std::time::Duration;

use notify::{RecommendedWatcher, RecursiveMode, Watcher};
use tokio::signal::unix::Signal;
use tokio::sync::mpsc;
use tokio::time::{MissedTickBehavior, interval};
use tracing::warn;

use crate::engine::Engine;
use crate::models::track::ReloadTrigger;

/// The delay between a notification and the look: publishing takes several file operations.
const SETTLE: Duration = Duration::from_millis(50);
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
    loop {
        let trigger = tokio::select! {
            _ = ticks.tick() => ReloadTrigger::FilesChanged,
            Some(()) = changed.recv() => {
                tokio::time::sleep(SETTLE).await;
                while changed.try_recv().is_ok() {}
                ReloadTrigger::FilesChanged
            }
            Some(()) = hangup.recv() => ReloadTrigger::Requested,
        };
        for track in engine.tracks() {
            // The track logs why a version is rejected, and knows when it may be tried again.
            let _rejected = engine.reload(track, trigger).await;
        }
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
