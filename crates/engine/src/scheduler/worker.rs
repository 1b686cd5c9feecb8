//! A thread that owns a session: batches in, logits out.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::oneshot;
use tracing::{error, info, warn};

use crate::health::Health;
use crate::metrics::Metrics;
use crate::scheduler::job::{Job, LogitMatrix, WindowFailed, WindowInput};
use crate::scheduler::lone::LoneSession;
use crate::scheduler::queue::{Batch, Queue};
use crate::session::{LogitRows, ModelSession, ModelSessionError, OpenSession};

const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(10);

/// What a worker shares with the rest of the engine.
pub(crate) struct Worker {
    pub(crate) queue: Arc<Queue>,
    pub(crate) health: Arc<Health>,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) open: Arc<OpenSession>,
    /// Opens the session of lone windows; absent if lone windows run in the workers' sessions.
    pub(crate) open_lone: Option<Arc<OpenSession>>,
    pub(crate) lone: LoneSession,
    /// Batches to run before the first request.
    pub(crate) warm_up: Arc<Vec<Vec<WindowInput>>>,
}

/// How serving with one session ended.
enum WorkerEnd {
    QueueClosed,
    /// The session cannot be used any more. The windows of its last batch are to be run again.
    Broken(Vec<Job>),
}

/// Whether a session may run again.
enum SessionState {
    Usable,
    /// A run failed, because of its texts or because of the session. The windows are to be run again, alone.
    Doubtful(Vec<Job>),
    /// A run panicked. The windows are to be run again, alone.
    Broken(Vec<Job>),
}

impl Worker {
    /// Serves until the queue closes, with a new session for each one that breaks. `started` receives whether the
    /// first session opened.
    ///
    /// A first session that cannot be opened ends the worker, since a second attempt would fail the same way. The
    /// first worker also opens the session of lone windows.
    pub(crate) fn run(&self, is_first: bool, started: oneshot::Sender<Result<(), ModelSessionError>>) {
        let first = self.open_and_warm(self.open.as_ref()).and_then(|session| {
            if let Some(open_lone) = self.open_lone.as_ref().filter(|_| is_first) {
                self.lone.set(self.open_and_warm(open_lone.as_ref())?);
            }
            Ok(session)
        });
        let mut session = match first {
            Ok(session) => {
                self.up();
                // The receiver is gone if the engine has given up starting.
                let _gone = started.send(Ok(()));
                session
            }
            Err(error) => {
                let _gone = started.send(Err(error));
                return;
            }
        };
        let mut pause = FIRST_PAUSE;
        loop {
            let ended = self.serve(session.as_mut(), &mut pause);
            let alone = self.down();
            let unfinished = match ended {
                WorkerEnd::QueueClosed => return,
                WorkerEnd::Broken(jobs) => jobs,
            };
            drop_quietly(session);
            // The other workers run these windows; if there are none, this one does with its new session.
            let mut own = self.queue.rerun(unfinished);
            own.extend(alone);
            let Some((reopened, own)) = self.reopen(&mut pause, own) else {
                return;
            };
            session = reopened;
            self.metrics.worker_restarts.inc();
            self.up();
            drop(self.queue.rerun(own));
            info!("a worker has a new session");
        }
    }

    fn up(&self) {
        self.health.worker_up();
        self.metrics.workers_alive.inc();
        self.queue.worker_up();
    }

    fn down(&self) -> Vec<Job> {
        self.health.worker_down();
        self.metrics.workers_alive.dec();
        self.queue.worker_down()
    }

    fn open_and_warm(&self, open: &OpenSession) -> Result<Box<dyn ModelSession>, ModelSessionError> {
        let attempt = catch_unwind(AssertUnwindSafe(|| {
            let mut session = open()?;
            for batch in self.warm_up.iter() {
                let windows: Vec<&WindowInput> = batch.iter().collect();
                let began = Instant::now();
                session.run(&windows)?;
                // Until the first batch of requests has run, `Retry-After` is computed from the warm-up.
                let tokens = windows.iter().map(|window| window.ids.len()).sum();
                self.queue.warmed(tokens, began.elapsed());
            }
            Ok(session)
        }));
        attempt.unwrap_or_else(|_| Err("opening the session panicked".into()))
    }

    /// A new session, attempted with growing pauses; `None` once the queue is closed.
    ///
    /// The pauses grow until a batch has run: a session that opens and breaks at once is retried no faster than one
    /// that does not open. `unfinished` windows wait for the first attempt only.
    fn reopen(
        &self,
        pause: &mut Duration,
        mut unfinished: Vec<Job>,
    ) -> Option<(Box<dyn ModelSession>, Vec<Job>)> {
        while !self.queue.closed_within(*pause) {
            *pause = (*pause * 2).min(LONGEST_PAUSE);
            match self.open_and_warm(self.open.as_ref()) {
                Ok(session) => return Some((session, unfinished)),
                Err(error) => warn!(%error, "a worker's session cannot be opened"),
            }
            unfinished.clear();
        }
        None
    }

    fn serve(&self, session: &mut dyn ModelSession, pause: &mut Duration) -> WorkerEnd {
        while let Some(batch) = self.queue.take() {
            match self.run_batch(session, batch) {
                SessionState::Usable => *pause = FIRST_PAUSE,
                SessionState::Doubtful(jobs) if self.still_runs(session) => drop(self.queue.rerun(jobs)),
                SessionState::Doubtful(jobs) | SessionState::Broken(jobs) => return WorkerEnd::Broken(jobs),
            }
        }
        WorkerEnd::QueueClosed
    }

    /// Whether the session still runs a batch of its warm-up.
    fn still_runs(&self, session: &mut dyn ModelSession) -> bool {
        let positions =
            |batch: &&Vec<WindowInput>| batch.iter().map(|window| window.ids.len()).sum::<usize>();
        let Some(shortest) = self.warm_up.iter().min_by_key(positions) else {
            return true;
        };
        let windows: Vec<&WindowInput> = shortest.iter().collect();
        let ran = catch_unwind(AssertUnwindSafe(|| session.run(&windows).map(drop)));
        let runs = matches!(ran, Ok(Ok(())));
        if !runs {
            error!("the session fails every run; opening a new one");
        }
        runs
    }

    fn run_batch(&self, session: &mut dyn ModelSession, batch: Batch) -> SessionState {
        let Batch { mut jobs, is_lone } = batch;
        let taken = Instant::now();
        for job in &jobs {
            self.metrics
                .stages
                .queue
                .observe(taken.duration_since(job.submitted).as_secs_f64());
        }
        let real: usize = jobs.iter().map(Job::tokens).sum();
        let count = jobs.len();
        let padded = jobs.iter().map(Job::tokens).max().unwrap_or(0) * count;
        for job in &mut jobs {
            job.taken(count, padded);
        }
        let windows: Vec<&WindowInput> = jobs.iter().map(|job| &job.input).collect();
        // The session is replaced after a panic, so its state after the panic is never observed.
        let ran = catch_unwind(AssertUnwindSafe(|| {
            let logits = match is_lone {
                true => self.lone.run(session, &windows)?,
                false => session.run(&windows)?,
            };
            Ok::<_, ModelSessionError>(read_all(logits.as_ref(), &jobs))
        }));
        match ran {
            Ok(Ok(logits)) => {
                let took = taken.elapsed();
                self.metrics.batch_ran(jobs.len(), real, padded, took);
                self.queue.ran(real, took);
                for (job, logits) in jobs.into_iter().zip(logits) {
                    if logits.is_err() {
                        error!(
                            tokens = job.tokens(),
                            "the model gave no finite logits for a word"
                        );
                    }
                    job.answer(logits);
                }
                SessionState::Usable
            }
            Ok(Err(error)) => {
                error!(%error, windows = jobs.len(), padded, "inference failed");
                SessionState::Doubtful(to_rerun(jobs))
            }
            Err(_) => {
                error!(
                    windows = jobs.len(),
                    padded, "inference panicked; opening a new session"
                );
                SessionState::Broken(to_rerun(jobs))
            }
        }
    }
}

fn read_all(logits: &dyn LogitRows, batch: &[Job]) -> Vec<Result<LogitMatrix, WindowFailed>> {
    let windows = batch.iter().enumerate();
    windows.map(|(at, job)| read(logits, at, &job.input)).collect()
}

fn read(logits: &dyn LogitRows, window: usize, input: &WindowInput) -> Result<LogitMatrix, WindowFailed> {
    let mut matrix = Vec::new();
    for &position in &input.reads {
        let row = logits.row(window, position).ok_or(WindowFailed)?;
        if row.iter().any(|logit| !logit.is_finite()) {
            return Err(WindowFailed);
        }
        if matrix.is_empty() {
            matrix.reserve_exact(row.len() * input.reads.len());
        }
        matrix.extend_from_slice(row);
    }
    Ok(matrix)
}

/// The windows of a failed batch that are to be run again. A window that was alone has failed by itself.
fn to_rerun(mut batch: Vec<Job>) -> Vec<Job> {
    if batch.len() > 1 {
        return batch;
    }
    for job in batch.drain(..) {
        job.answer(Err(WindowFailed));
    }
    batch
}

/// Drops a session that panicked; its destructor may panic too.
fn drop_quietly(session: Box<dyn ModelSession>) {
    if catch_unwind(AssertUnwindSafe(|| drop(session))).is_err() {
        warn!("a broken session panicked again when it was closed");
    }
}

#[cfg(test)]
mod tests;
