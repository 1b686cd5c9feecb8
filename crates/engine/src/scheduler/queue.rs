//! The bounded queue between requests and workers: windows in fair order, behind one lock.

use std::collections::BTreeMap;
use std::pin::pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use thiserror::Error;
use tokio::sync::Notify;
use tokio::time::{Instant, timeout_at};
use tracing::Span;

use crate::config::{BatchLimits, QueueLimits};
use crate::health::Readiness;
use crate::metrics::Metrics;
use crate::scheduler::drain::DrainRate;
use crate::scheduler::job::{Job, Waiter, WindowInput};
use crate::scheduler::policy::{LOOKAHEAD, batch_size_for, next_batch};

/// How long bulk work waits for a worker to become ready before it is refused: twice the longest pause between two
/// attempts to open a session.
const WORKER_WAIT: Duration = Duration::from_secs(20);

/// Why the queue did not accept windows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum SubmitError {
    /// The windows are more than an empty queue holds.
    #[error("a window of the text has more tokens than the queue holds (--queue-tokens)")]
    NeverFits,
    /// Too many windows are waiting.
    #[error("too many windows wait for the model (--queue-requests)")]
    WindowsFull {
        /// Seconds after which the queue is expected to have space.
        retry_after: u32,
    },
    /// Too many tokens are waiting.
    #[error("too many tokens wait for the model (--queue-tokens)")]
    TokensFull {
        /// Seconds after which the queue is expected to have space.
        retry_after: u32,
    },
    /// No worker is ready.
    #[error("{}", Readiness::NoWorker.problem())]
    NoWorker,
    /// The queue is closed.
    #[error("{}", Readiness::Draining.problem())]
    Closed,
}

/// Windows that wait for a worker.
///
/// Windows run in the order of start-time fair queueing: the first window of a request gets the virtual start after
/// the one being served, its second window the start after that, and so on. So the windows of a long document
/// alternate with those of other requests, and no window starves.
///
/// A request of many windows submits the first of them at once and the others as those are answered, so that it holds
/// a bounded part of the queue. A new request is refused when the queue is full. Further windows of an admitted
/// request wait for space and are taken first.
pub(crate) struct Queue {
    state: Mutex<QueueState>,
    changed: Condvar,
    /// Notified when windows leave the queue, a worker becomes ready, or the queue closes.
    room: Notify,
    limits: QueueLimits,
    batching: BatchLimits,
    metrics: Arc<Metrics>,
}

#[derive(Default)]
struct QueueState {
    waiting: BTreeMap<VirtualStart, Job>,
    // Invariant: the sum of the waiting jobs' tokens.
    tokens: usize,
    /// Space that further windows of admitted requests wait for.
    reserved: QueueSize,
    drain: DrainRate,
    /// What this queue has added to the gauges, which the queues of all models share.
    shown: QueueSize,
    serving: u64,
    submitted: u64,
    workers: usize,
    idle: usize,
    closed: bool,
}

/// The windows that a worker runs next.
pub(crate) struct Batch {
    /// Never empty.
    pub(crate) jobs: Vec<Job>,
    /// Whether the batch is a single window while no other window waits and no other worker runs.
    pub(crate) is_lone: bool,
}

/// How much space windows take.
#[derive(Clone, Copy, Default)]
struct QueueSize {
    windows: usize,
    tokens: usize,
}

impl QueueSize {
    fn of(jobs: &[Job]) -> Self {
        Self {
            windows: jobs.len(),
            tokens: jobs.iter().map(Job::tokens).sum(),
        }
    }
}

/// Which submissions get space first.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Precedence {
    /// New windows. They leave the reserved space free.
    New,
    /// Further windows of an admitted request.
    Further,
}

/// Space reserved for further windows of an admitted request. Dropping it ends the reservation.
struct Reservation<'q> {
    queue: &'q Queue,
    size: QueueSize,
}

impl<'q> Reservation<'q> {
    fn new(queue: &'q Queue, size: QueueSize) -> Self {
        let mut state = queue.lock();
        state.reserved.windows += size.windows;
        state.reserved.tokens += size.tokens;
        drop(state);
        Self { queue, size }
    }
}

impl Drop for Reservation<'_> {
    fn drop(&mut self) {
        let mut state = self.queue.lock();
        state.reserved.windows -= self.size.windows;
        state.reserved.tokens -= self.size.tokens;
        drop(state);
        // A submission refused because of the reservation is notified by nothing else.
        self.queue.room.notify_waiters();
    }
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct VirtualStart {
    turn: u64,
    serial: u64,
}

/// Windows that the queue did not accept, and why.
struct RefusedJobs {
    reason: SubmitError,
    jobs: Vec<Job>,
}

/// Jobs without trace spans: the spans of a text's first windows are enough.
fn jobs_without_span(inputs: Vec<WindowInput>) -> (Vec<Job>, Vec<Waiter>) {
    let job = |input| Job::new(input, &Span::none());
    inputs.into_iter().map(job).unzip()
}

/// The last virtual start that a series of submissions took, so that together they get the share of one request.
#[derive(Debug, Default)]
pub(crate) struct Flow(AtomicU64);

impl Queue {
    /// An empty queue without workers.
    pub(crate) fn new(limits: QueueLimits, batching: BatchLimits, metrics: Arc<Metrics>) -> Self {
        Self {
            state: Mutex::default(),
            changed: Condvar::new(),
            room: Notify::new(),
            limits,
            batching,
            metrics,
        }
    }

    /// How much may wait.
    pub(crate) fn limits(&self) -> QueueLimits {
        self.limits
    }

    /// What a batch may hold.
    pub(crate) fn batching(&self) -> BatchLimits {
        self.batching
    }

    /// Accepts all of a request's first windows, or none.
    pub(crate) fn submit(&self, inputs: Vec<WindowInput>, flow: &Flow) -> Result<Vec<Waiter>, SubmitError> {
        self.check_fits(&inputs)?;
        let request = Span::current();
        let (jobs, waiters) = inputs.into_iter().map(|input| Job::new(input, &request)).unzip();
        self.enter(jobs, flow, Precedence::New)
            .map_err(|refused| refused.reason)?;
        Ok(waiters)
    }

    /// Accepts further windows of an admitted request as soon as there is space, before any new request.
    pub(crate) async fn submit_further(
        &self,
        inputs: Vec<WindowInput>,
        flow: &Flow,
    ) -> Result<Vec<Waiter>, SubmitError> {
        self.check_fits(&inputs)?;
        let (jobs, waiters) = jobs_without_span(inputs);
        self.enter_in_time(jobs, flow, Precedence::Further, None).await?;
        Ok(waiters)
    }

    /// Accepts windows of bulk work. Where a request would be refused because of load, bulk work waits for space,
    /// behind all others.
    pub(crate) async fn submit_patiently(
        &self,
        inputs: Vec<WindowInput>,
        flow: &Flow,
    ) -> Result<Vec<Waiter>, SubmitError> {
        self.check_fits(&inputs)?;
        let (jobs, waiters) = jobs_without_span(inputs);
        let worker_end = Instant::now() + WORKER_WAIT;
        self.enter_in_time(jobs, flow, Precedence::New, Some(worker_end))
            .await?;
        Ok(waiters)
    }

    /// Accepts the jobs once there is space. With `worker_end`, waits until then for a worker to become ready.
    async fn enter_in_time(
        &self,
        mut jobs: Vec<Job>,
        flow: &Flow,
        precedence: Precedence,
        worker_end: Option<Instant>,
    ) -> Result<(), SubmitError> {
        let size = QueueSize::of(&jobs);
        let mut claim = None;
        loop {
            let mut room = pin!(self.room.notified());
            // Enabled before the attempt, so that space freed right after it is noticed.
            room.as_mut().enable();
            let Err(refused) = self.enter(jobs, flow, precedence) else {
                return Ok(());
            };
            match (refused.reason, worker_end) {
                (SubmitError::WindowsFull { .. } | SubmitError::TokensFull { .. }, _) => {
                    if precedence == Precedence::Further {
                        claim.get_or_insert_with(|| Reservation::new(self, size));
                    }
                    room.await;
                }
                (SubmitError::NoWorker, Some(end)) => {
                    timeout_at(end, room).await.map_err(|_| SubmitError::NoWorker)?;
                }
                (SubmitError::NoWorker, None) | (SubmitError::NeverFits | SubmitError::Closed, _) => {
                    return Err(refused.reason);
                }
            }
            jobs = refused.jobs;
        }
    }

    fn check_fits(&self, inputs: &[WindowInput]) -> Result<(), SubmitError> {
        let tokens: usize = inputs.iter().map(|input| input.ids.len()).sum();
        if inputs.len() > self.limits.windows || tokens > self.limits.tokens {
            return Err(SubmitError::NeverFits);
        }
        Ok(())
    }

    /// Refuses a new request while there is no space for even one window, before its text is read: an overloaded
    /// server saves that work. A text that would be refused for another reason is refused here too.
    pub(crate) fn check_room(&self) -> Result<(), SubmitError> {
        let least = QueueSize {
            windows: 1,
            tokens: 1,
        };
        self.admit(&mut self.lock(), least, Precedence::New)
    }

    fn admit(
        &self,
        state: &mut QueueState,
        size: QueueSize,
        precedence: Precedence,
    ) -> Result<(), SubmitError> {
        if state.refusal(self.limits, size, precedence).is_some() {
            state.forget_withdrawn();
        }
        state.refusal(self.limits, size, precedence).map_or(Ok(()), Err)
    }

    fn enter(&self, jobs: Vec<Job>, flow: &Flow, precedence: Precedence) -> Result<(), RefusedJobs> {
        let size = QueueSize::of(&jobs);
        let mut state = self.lock();
        if let Err(reason) = self.admit(&mut state, size, precedence) {
            return Err(RefusedJobs { reason, jobs });
        }
        let many = jobs.len() > 1;
        let before = state.serving.max(flow.0.load(Ordering::Relaxed));
        flow.0.store(before + jobs.len() as u64, Ordering::Relaxed);
        for (turn, job) in (before + 1..).zip(jobs) {
            let serial = state.submitted;
            state.submitted += 1;
            state.waiting.insert(VirtualStart { turn, serial }, job);
        }
        state.tokens += size.tokens;
        self.show(&mut state);
        drop(state);
        if many {
            self.changed.notify_all();
        } else {
            self.changed.notify_one();
        }
        Ok(())
    }

    /// The next batch, once there is one. `None` once the queue is closed and empty.
    pub(crate) fn take(&self) -> Option<Batch> {
        let mut state = self.lock();
        state.idle += 1;
        loop {
            let jobs = state.next_batch(self.batching);
            if !jobs.is_empty() || state.closed {
                let is_lone = jobs.len() == 1 && state.waiting.is_empty() && state.idle == state.workers;
                state.idle -= 1;
                self.show(&mut state);
                drop(state);
                self.room.notify_waiters();
                return (!jobs.is_empty()).then_some(Batch { jobs, is_lone });
            }
            self.show(&mut state);
            // Withdrawn windows have left the queue too.
            self.room.notify_waiters();
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Records how long a worker took to warm up on so many tokens.
    pub(crate) fn warmed(&self, tokens: usize, took: Duration) {
        self.lock().drain.warmed(tokens, took);
    }

    /// Records how long a worker took for a batch of so many tokens.
    pub(crate) fn ran(&self, tokens: usize, took: Duration) {
        self.lock().drain.ran(tokens, took);
    }

    /// A worker is ready.
    pub(crate) fn worker_up(&self) {
        self.lock().workers += 1;
        self.room.notify_waiters();
    }

    /// A worker is not ready any more. When the last one goes, waiting windows are dropped, which their receivers
    /// notice.
    pub(crate) fn worker_down(&self) {
        let mut state = self.lock();
        state.workers = state.workers.saturating_sub(1);
        if state.workers == 0 {
            state.clear();
        }
        self.show(&mut state);
        drop(state);
        self.room.notify_waiters();
    }

    /// Accepts no more windows. Waiting windows are still served.
    pub(crate) fn close(&self) {
        self.lock().closed = true;
        self.changed.notify_all();
        self.room.notify_waiters();
    }

    /// Accepts no more windows and drops the waiting ones.
    pub(crate) fn abort(&self) {
        let mut state = self.lock();
        state.closed = true;
        state.clear();
        self.show(&mut state);
        drop(state);
        self.changed.notify_all();
        self.room.notify_waiters();
    }

    /// Waits at most `pause`. True once the queue is closed.
    pub(crate) fn closed_within(&self, pause: std::time::Duration) -> bool {
        let state = self.lock();
        let waited = self
            .changed
            .wait_timeout_while(state, pause, |state| !state.closed);
        waited.unwrap_or_else(PoisonError::into_inner).0.closed
    }

    fn lock(&self) -> MutexGuard<'_, QueueState> {
        // No code panics while it holds the lock, and every update leaves the state valid.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn show(&self, state: &mut QueueState) {
        let now = QueueSize {
            windows: state.waiting.len(),
            tokens: state.tokens,
        };
        let before = std::mem::replace(&mut state.shown, now);
        let grown = |now: usize, before: usize| now as i64 - before as i64;
        self.metrics.queue_windows.add(grown(now.windows, before.windows));
        self.metrics.queue_tokens.add(grown(now.tokens, before.tokens));
    }
}

impl QueueState {
    fn next_batch(&mut self, limits: BatchLimits) -> Vec<Job> {
        let mut turns = Vec::new();
        let mut lengths = Vec::new();
        let mut withdrawn = Vec::new();
        for (&turn, job) in &self.waiting {
            if job.is_withdrawn() {
                withdrawn.push(turn);
                continue;
            }
            turns.push(turn);
            lengths.push(job.tokens());
            if turns.len() == LOOKAHEAD {
                break;
            }
        }
        for turn in withdrawn {
            self.remove(turn);
        }
        let share = batch_size_for(self.waiting.len(), self.idle);
        if let Some(oldest) = turns.first() {
            self.serving = self.serving.max(oldest.turn);
        }
        next_batch(&lengths, limits, share)
            .into_iter()
            .filter_map(|at| self.remove(turns[at]))
            .collect()
    }

    /// The reason why windows of this size may not enter, if there is one.
    fn refusal(&self, limits: QueueLimits, size: QueueSize, precedence: Precedence) -> Option<SubmitError> {
        let reserved = match precedence {
            Precedence::New => self.reserved,
            Precedence::Further => QueueSize::default(),
        };
        if self.closed {
            Some(SubmitError::Closed)
        } else if self.workers == 0 {
            Some(SubmitError::NoWorker)
        } else if self.waiting.len() + reserved.windows + size.windows > limits.windows {
            Some(SubmitError::WindowsFull {
                retry_after: self.retry_after(size),
            })
        } else if self.tokens + reserved.tokens + size.tokens > limits.tokens {
            Some(SubmitError::TokensFull {
                retry_after: self.retry_after(size),
            })
        } else {
            None
        }
    }

    /// Seconds after which windows of this size are expected to fit, at the recent rate.
    fn retry_after(&self, size: QueueSize) -> u32 {
        self.drain.seconds_for(self.tokens + size.tokens, self.workers)
    }

    fn remove(&mut self, turn: VirtualStart) -> Option<Job> {
        let job = self.waiting.remove(&turn)?;
        self.tokens -= job.tokens();
        Some(job)
    }

    fn forget_withdrawn(&mut self) {
        self.waiting.retain(|_, job| !job.is_withdrawn());
        self.tokens = self.waiting.values().map(Job::tokens).sum();
    }

    fn clear(&mut self) {
        self.waiting.clear();
        self.tokens = 0;
    }
}

#[cfg(test)]
mod tests;
