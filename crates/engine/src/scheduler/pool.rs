//! The worker threads.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{Builder, JoinHandle};
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use crate::error::EngineError;
use crate::memory::give_back;
use crate::scheduler::queue::Queue;
use crate::scheduler::worker::Worker;
use crate::session::ModelSessionError;

const POLL: Duration = Duration::from_millis(5);

/// The running workers.
pub(crate) struct Pool {
    /// Empty once all threads have been joined.
    threads: Mutex<Vec<JoinHandle<()>>>,
    queue: Arc<Queue>,
}

/// Receives whether a worker's first session opened.
pub(crate) type SessionReady = oneshot::Receiver<Result<(), ModelSessionError>>;

/// Completes when every worker has a warm session, or fails with the first worker that has none.
pub(crate) async fn all_started(started: Vec<SessionReady>) -> Result<(), EngineError> {
    for worker in started {
        worker
            .await
            .map_err(|_| EngineError::ThreadLost)?
            .map_err(EngineError::Session)?;
    }
    Ok(())
}

impl Pool {
    /// Starts the workers, which open their sessions on their own threads.
    pub(crate) fn start(worker: Worker, count: usize) -> std::io::Result<(Self, Vec<SessionReady>)> {
        let queue = Arc::clone(&worker.queue);
        let worker = Arc::new(worker);
        let pool = Self {
            threads: Mutex::new(Vec::with_capacity(count)),
            queue,
        };
        let mut started = Vec::with_capacity(count);
        for number in 0..count {
            let worker = Arc::clone(&worker);
            let (report, hears) = oneshot::channel();
            let thread = Builder::new().name(format!("nerve-worker-{number}"));
            let run = move || {
                worker.run(number == 0, report);
                // The session's memory is returned, so that a replaced version does not keep it.
                drop(worker);
                give_back();
            };
            pool.threads().push(thread.spawn(run)?);
            started.push(hears);
        }
        Ok((pool, started))
    }

    fn threads(&self) -> MutexGuard<'_, Vec<JoinHandle<()>>> {
        // No code panics while it holds the lock.
        self.threads.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Joins the threads if all of them have returned. False if one is still busy.
    fn join_if_finished(&self) -> bool {
        let mut threads = self.threads();
        let finished = threads.iter().all(JoinHandle::is_finished);
        if finished {
            for thread in threads.drain(..) {
                // A worker that panicked has ended too.
                let _panicked = thread.join();
            }
        }
        finished
    }

    /// Closes the queue and waits for the workers until the deadline. False if a worker is still busy then.
    pub(crate) async fn stop(&self, deadline: Instant) -> bool {
        self.queue.close();
        loop {
            if self.join_if_finished() {
                return true;
            }
            if Instant::now() >= deadline {
                return false;
            }
            tokio::time::sleep(POLL).await;
        }
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.queue.abort();
    }
}
