//! A watch on answers that clients do not read: the connection of such a client is closed.
//!
//! The system's timeout, which HTTP/1.1 relies on, does not help: a client of HTTP/2 can read the connection and still accept
//! nothing of an answer.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::Waker;
use std::time::Duration;

use tokio::task::AbortHandle;
use tokio::time::{Instant, sleep_until};

/// The end of a connection, which its calls can order.
#[derive(Clone, Default)]
pub(crate) struct ConnectionEnd(Arc<EndState>);

#[derive(Default)]
struct EndState {
    ordered: AtomicBool,
    /// Of the task that reads the connection.
    reader: Mutex<Option<Waker>>,
}

impl ConnectionEnd {
    /// Ends the connection.
    pub(crate) fn order(&self) {
        self.0.ordered.store(true, Ordering::SeqCst);
        let reader = self
            .0
            .reader
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        if let Some(reader) = reader {
            reader.wake();
        }
    }

    /// Whether the connection is to end. If not, the waker is woken when it is.
    pub(crate) fn is_ordered(&self, waker: &Waker) -> bool {
        let mut reader = self.0.reader.lock().unwrap_or_else(PoisonError::into_inner);
        if !reader.as_ref().is_some_and(|known| known.will_wake(waker)) {
            *reader = Some(waker.clone());
        }
        self.0.ordered.load(Ordering::SeqCst)
    }
}

/// Ends the connection of a call when nothing of its answer has been taken for the limit. Dropping it ends the watch.
pub(crate) struct AnswerWatch {
    state: Arc<Mutex<WatchState>>,
    task: AbortHandle,
}

struct WatchState {
    /// When something was last taken; `None` while there is nothing to take.
    since: Option<Instant>,
    /// Parts that the connection has and the client has not taken.
    parts: usize,
    /// Whether the answer has no further part now.
    waits: bool,
}

impl AnswerWatch {
    /// Watches an answer from now on.
    pub(crate) fn start(end: ConnectionEnd, limit: Duration) -> Arc<Self> {
        let state = Arc::new(Mutex::new(WatchState {
            since: Some(Instant::now()),
            parts: 0,
            waits: false,
        }));
        let watched = Arc::clone(&state);
        let task = tokio::spawn(async move {
            loop {
                let since = watched.lock().unwrap_or_else(PoisonError::into_inner).since;
                let now = Instant::now();
                let until = since.unwrap_or(now) + limit;
                if until <= now {
                    break end.order();
                }
                sleep_until(until).await;
            }
        });
        Arc::new(Self {
            state,
            task: task.abort_handle(),
        })
    }

    /// The connection takes a part of the answer.
    pub(crate) fn part_given(&self) {
        self.change(|state| {
            state.parts += 1;
            state.waits = false;
        });
    }

    /// The client has taken a part.
    pub(crate) fn part_taken(&self) {
        self.change(|state| state.parts = state.parts.saturating_sub(1));
    }

    /// The connection takes a further part as soon as there is one.
    pub(crate) fn waits(&self) {
        self.change(|state| state.waits = true);
    }

    fn change(&self, change: impl FnOnce(&mut WatchState)) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        change(&mut state);
        state.since = (state.parts > 0 || !state.waits).then(Instant::now);
    }
}

impl Drop for AnswerWatch {
    fn drop(&mut self) {
        self.task.abort();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: Duration = Duration::from_millis(50);

    #[tokio::test]
    async fn a_connection_ends_once_nothing_is_taken() {
        let end = ConnectionEnd::default();
        let watch = AnswerWatch::start(end.clone(), LIMIT);
        let ended = {
            let end = end.clone();
            tokio::spawn(std::future::poll_fn(move |context| {
                match end.is_ordered(context.waker()) {
                    true => std::task::Poll::Ready(()),
                    false => std::task::Poll::Pending,
                }
            }))
        };
        ended.await.unwrap();
        drop(watch);
        let other = ConnectionEnd::default();
        drop(AnswerWatch::start(other.clone(), LIMIT));
        let waiting = AnswerWatch::start(other.clone(), LIMIT);
        waiting.part_given();
        waiting.waits();
        waiting.part_taken();
        tokio::time::sleep(2 * LIMIT).await;
        assert!(!other.is_ordered(Waker::noop()));
    }
}
