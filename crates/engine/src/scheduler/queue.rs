//! The bounded queue between requests and workers: windows in fair order, behind one lock.

use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::sync::oneshot::error::RecvError;
use tokio::time::{Instant, timeout_at};
use tracing::Span;

use crate::config::{BatchLimits, QueueLimits};
use crate::metrics::Metrics;
use crate::scheduler::job::{Job, JobReply, LogitMatrix, VirtualStart, WindowFailed, WindowInput};
use crate::scheduler::submit_error::SubmitError;
use crate::scheduler::waiting::{Precedence, QueueSize, QueueState};

/// How long bulk work waits for a worker to become ready before it is refused: twice the longest pause between two
/// attempts to open a session.
pub(crate) const WORKER_WAIT: Duration = match cfg!(test) {
    false => Duration::from_secs(20),
    true => Duration::from_millis(100),
};

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
    /// Notified when windows enter the queue, or the queue closes. Only idle workers wait for it, so that the
    /// notification of one window reaches a worker that can run it.
    entered: Condvar,
    /// Notified when the queue closes.
    ended: Condvar,
    /// Notified when windows leave the queue, a worker becomes ready, or the queue closes.
    room: Notify,
    limits: QueueLimits,
    batching: BatchLimits,
    metrics: Arc<Metrics>,
}

/// The windows that a worker runs next.
pub(crate) struct Batch {
    /// Never empty.
    pub(crate) jobs: Vec<Job>,
    /// Whether the batch is a single window while no other window waits and no other worker runs.
    pub(crate) is_lone: bool,
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

/// Windows that the queue did not accept, and why.
struct RefusedJobs {
    reason: SubmitError,
    jobs: Vec<Job>,
}

/// Jobs without trace spans: the spans of a text's first windows are enough.
fn jobs_without_span(inputs: Vec<WindowInput>) -> (Vec<Job>, Vec<JobReply>) {
    let job = |input| Job::new(input, &Span::none());
    inputs.into_iter().map(job).unzip()
}

/// The last virtual start that a series of submissions took, so that together they get the share of one request.
#[derive(Debug, Default)]
pub(crate) struct Flow(AtomicU64);

/// The result of a submitted window. Dropping it earlier takes the window out of the queue.
pub(crate) struct Waiter {
    reply: JobReply,
    start: VirtualStart,
    queue: Arc<Queue>,
    /// Whether the window has ended, with a result or without one.
    ended: bool,
}

impl Future for Waiter {
    /// An error means that the window was dropped without being run.
    type Output = Result<Result<LogitMatrix, WindowFailed>, RecvError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let polled = Pin::new(&mut self.reply).poll(context);
        self.ended = polled.is_ready();
        polled
    }
}

impl Drop for Waiter {
    fn drop(&mut self) {
        if !self.ended {
            self.queue.withdraw(self.start);
        }
    }
}

/// Until when bulk work waits for a worker. The wait begins when no worker is ready, and ends when one accepts work,
/// so that everything submitted in between waits for [`WORKER_WAIT`] together.
#[derive(Debug, Default)]
pub(crate) struct WorkerWait(Option<Instant>);

impl WorkerWait {
    fn end(&mut self) -> Instant {
        *self.0.get_or_insert_with(|| Instant::now() + WORKER_WAIT)
    }
}

impl Queue {
    /// An empty queue without workers.
    pub(crate) fn new(limits: QueueLimits, batching: BatchLimits, metrics: Arc<Metrics>) -> Self {
        Self {
            state: Mutex::default(),
            entered: Condvar::new(),
            ended: Condvar::new(),
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
    pub(crate) fn submit(
        self: &Arc<Self>,
        inputs: Vec<WindowInput>,
        flow: &Flow,
    ) -> Result<Vec<Waiter>, SubmitError> {
        self.check_fits(&inputs)?;
        let request = Span::current();
        let (jobs, replies) = inputs.into_iter().map(|input| Job::new(input, &request)).unzip();
        let first = self
            .enter(jobs, flow, Precedence::New)
            .map_err(|refused| refused.reason)?;
        Ok(self.waiters(first, replies))
    }

    /// Accepts further windows of an admitted request as soon as there is space, before any new request.
    pub(crate) async fn submit_further(
        self: &Arc<Self>,
        inputs: Vec<WindowInput>,
        flow: &Flow,
    ) -> Result<Vec<Waiter>, SubmitError> {
        self.check_fits(&inputs)?;
        let (jobs, replies) = jobs_without_span(inputs);
        let first = self.enter_in_time(jobs, flow, Precedence::Further, None).await?;
        Ok(self.waiters(first, replies))
    }

    /// Accepts windows of bulk work. Where a request would be refused because of load, bulk work waits for space,
    /// behind all others.
    pub(crate) async fn submit_patiently(
        self: &Arc<Self>,
        inputs: Vec<WindowInput>,
        flow: &Flow,
        wait: &mut WorkerWait,
    ) -> Result<Vec<Waiter>, SubmitError> {
        self.check_fits(&inputs)?;
        let (jobs, replies) = jobs_without_span(inputs);
        let first = self
            .enter_in_time(jobs, flow, Precedence::New, Some(wait))
            .await?;
        Ok(self.waiters(first, replies))
    }

    fn waiters(self: &Arc<Self>, first: VirtualStart, replies: Vec<JobReply>) -> Vec<Waiter> {
        let waiter = |(start, reply)| Waiter {
            reply,
            start,
            queue: Arc::clone(self),
            ended: false,
        };
        first.and_following().zip(replies).map(waiter).collect()
    }

    /// Accepts the jobs once there is space, and yields the first one's place. With `wait`, waits for a worker to
    /// become ready.
    async fn enter_in_time(
        &self,
        mut jobs: Vec<Job>,
        flow: &Flow,
        precedence: Precedence,
        mut wait: Option<&mut WorkerWait>,
    ) -> Result<VirtualStart, SubmitError> {
        let size = QueueSize::of(&jobs);
        let mut claim = None;
        loop {
            let mut room = pin!(self.room.notified());
            // Enabled before the attempt, so that space freed right after it is noticed.
            room.as_mut().enable();
            let entered = self.enter(jobs, flow, precedence);
            let no_worker = matches!(&entered, Err(refused) if refused.reason == SubmitError::NoWorker);
            if let Some(wait) = wait.as_deref_mut().filter(|_| !no_worker) {
                *wait = WorkerWait::default();
            }
            let refused = match entered {
                Ok(first) => return Ok(first),
                Err(refused) => refused,
            };
            match (refused.reason, wait.as_deref_mut()) {
                (SubmitError::WindowsFull { .. } | SubmitError::TokensFull { .. }, _) => {
                    if precedence == Precedence::Further {
                        claim.get_or_insert_with(|| Reservation::new(self, size));
                    }
                    room.await;
                }
                (SubmitError::NoWorker, Some(wait)) => {
                    let waited = timeout_at(wait.end(), room).await;
                    waited.map_err(|_| SubmitError::NoWorker)?;
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
        let refusal = self.lock().refusal(self.limits, least, Precedence::New);
        refusal.map_or(Ok(()), Err)
    }

    /// Accepts all jobs, and yields the first one's place, or none.
    fn enter(
        &self,
        jobs: Vec<Job>,
        flow: &Flow,
        precedence: Precedence,
    ) -> Result<VirtualStart, RefusedJobs> {
        let size = QueueSize::of(&jobs);
        let mut state = self.lock();
        if let Some(reason) = state.refusal(self.limits, size, precedence) {
            return Err(RefusedJobs { reason, jobs });
        }
        let first = state.add(jobs, flow.0.load(Ordering::Relaxed));
        flow.0
            .store(first.turn + size.windows as u64 - 1, Ordering::Relaxed);
        self.show(&mut state);
        drop(state);
        if size.windows > 1 {
            self.entered.notify_all();
        } else {
            self.entered.notify_one();
        }
        Ok(first)
    }

    /// Takes back the windows of a batch that failed, each to be run alone. Windows whose receivers are gone are
    /// dropped. Yields the others if there is no worker to run them, or the queue is closed.
    pub(crate) fn rerun(&self, mut jobs: Vec<Job>) -> Vec<Job> {
        jobs.retain(|job| !job.is_withdrawn());
        let mut state = self.lock();
        if jobs.is_empty() || state.workers == 0 || state.closed {
            return jobs;
        }
        for mut job in jobs {
            job.waits_again();
            state.insert(job);
        }
        self.show(&mut state);
        drop(state);
        self.entered.notify_all();
        Vec::new()
    }

    /// Drops a window whose result is not wanted any more, if it still waits.
    fn withdraw(&self, start: VirtualStart) {
        let mut state = self.lock();
        let withdrawn = state.remove(start);
        self.show(&mut state);
        drop(state);
        if withdrawn.is_some() {
            self.room.notify_waiters();
        }
    }

    /// The next batch, once there is one. `None` once the queue is closed and empty.
    pub(crate) fn take(&self) -> Option<Batch> {
        let mut state = self.lock();
        state.idle += 1;
        loop {
            let jobs = state.next_batch(self.batching);
            if !jobs.is_empty() || state.closed {
                let is_lone = jobs.len() == 1 && state.size().windows == 0 && state.idle == state.workers;
                state.idle -= 1;
                self.show(&mut state);
                drop(state);
                self.room.notify_waiters();
                return (!jobs.is_empty()).then_some(Batch { jobs, is_lone });
            }
            state = self.entered.wait(state).unwrap_or_else(PoisonError::into_inner);
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
    /// notice, except those that were to run alone: they are yielded, to be run when the worker is ready again.
    pub(crate) fn worker_down(&self) -> Vec<Job> {
        let mut state = self.lock();
        state.workers = state.workers.saturating_sub(1);
        let mut jobs = match state.workers {
            0 => state.drain(),
            _ => Vec::new(),
        };
        self.show(&mut state);
        drop(state);
        jobs.retain(|job| job.runs_alone);
        self.room.notify_waiters();
        jobs
    }

    /// Accepts no more windows. Waiting windows are still served.
    pub(crate) fn close(&self) {
        self.lock().closed = true;
        self.notify_of_end();
    }

    /// Accepts no more windows and drops the waiting ones.
    pub(crate) fn abort(&self) {
        let mut state = self.lock();
        state.closed = true;
        let jobs = state.drain();
        self.show(&mut state);
        drop(state);
        drop(jobs);
        self.notify_of_end();
    }

    fn notify_of_end(&self) {
        self.entered.notify_all();
        self.ended.notify_all();
        self.room.notify_waiters();
    }

    /// Waits at most `pause`. True once the queue is closed.
    pub(crate) fn closed_within(&self, pause: Duration) -> bool {
        let state = self.lock();
        let waited = self.ended.wait_timeout_while(state, pause, |state| !state.closed);
        waited.unwrap_or_else(PoisonError::into_inner).0.closed
    }

    fn lock(&self) -> MutexGuard<'_, QueueState> {
        // No code panics while it holds the lock, and every update leaves the state valid.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn show(&self, state: &mut QueueState) {
        let now = state.size();
        let before = std::mem::replace(&mut state.shown, now);
        let grown = |now: usize, before: usize| now as i64 - before as i64;
        self.metrics.queue_windows.add(grown(now.windows, before.windows));
        self.metrics.queue_tokens.add(grown(now.tokens, before.tokens));
    }
}

#[cfg(test)]
mod tests;
