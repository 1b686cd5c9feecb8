//! The windows that wait, in order of virtual start, and whether further ones may join them.

use std::collections::BTreeMap;

use crate::config::{BatchLimits, QueueLimits};
use crate::scheduler::drain::DrainRate;
use crate::scheduler::job::{Job, VirtualStart};
use crate::scheduler::policy::{LOOKAHEAD, batch_size_for, next_batch};
use crate::scheduler::submit_error::SubmitError;

/// How much space windows take.
#[derive(Clone, Copy, Default)]
pub(super) struct QueueSize {
    pub(super) windows: usize,
    pub(super) tokens: usize,
}

impl QueueSize {
    pub(super) fn of(jobs: &[Job]) -> Self {
        Self {
            windows: jobs.len(),
            tokens: jobs.iter().map(Job::tokens).sum(),
        }
    }
}

/// Which submissions get space first.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Precedence {
    /// New windows. They leave the reserved space free.
    New,
    /// Further windows of an admitted request.
    Further,
}

/// The state of a queue.
#[derive(Default)]
pub(super) struct QueueState {
    waiting: BTreeMap<VirtualStart, Job>,
    // Invariant: the sum of the waiting jobs' tokens.
    tokens: usize,
    /// Space that further windows of admitted requests wait for.
    pub(super) reserved: QueueSize,
    pub(super) drain: DrainRate,
    /// What this queue has added to the gauges, which the queues of all models share.
    pub(super) shown: QueueSize,
    serving: u64,
    submitted: u64,
    pub(super) workers: usize,
    pub(super) idle: usize,
    pub(super) closed: bool,
}

impl QueueState {
    /// The windows that wait.
    pub(super) fn size(&self) -> QueueSize {
        QueueSize {
            windows: self.waiting.len(),
            tokens: self.tokens,
        }
    }

    /// Adds windows of a flow whose last virtual start was `last_turn`. Yields the first one's virtual start; those of
    /// the others follow it.
    pub(super) fn add(&mut self, jobs: Vec<Job>, last_turn: u64) -> VirtualStart {
        let first = VirtualStart {
            turn: self.serving.max(last_turn) + 1,
            serial: self.submitted,
        };
        self.submitted += jobs.len() as u64;
        for (start, mut job) in first.and_following().zip(jobs) {
            job.start = start;
            self.insert(job);
        }
        first
    }

    /// Adds a window in its place.
    pub(super) fn insert(&mut self, job: Job) {
        self.tokens += job.tokens();
        self.waiting.insert(job.start, job);
    }

    /// The windows to run next. A window that runs alone is in no batch with others.
    pub(super) fn next_batch(&mut self, limits: BatchLimits) -> Vec<Job> {
        let share = batch_size_for(self.waiting.len(), self.idle);
        let Some((&oldest, first)) = self.waiting.first_key_value() else {
            return Vec::new();
        };
        self.serving = self.serving.max(oldest.turn);
        let candidates = match first.runs_alone {
            true => 1,
            false => LOOKAHEAD,
        };
        let (starts, lengths): (Vec<VirtualStart>, Vec<usize>) = self
            .waiting
            .iter()
            .take(candidates)
            .filter(|&(&start, job)| start == oldest || !job.runs_alone)
            .map(|(&start, job)| (start, job.tokens()))
            .unzip();
        next_batch(&lengths, limits, share)
            .into_iter()
            .filter_map(|at| self.remove(*starts.get(at)?))
            .collect()
    }

    /// The reason why windows of this size may not enter, if there is one.
    pub(super) fn refusal(
        &self,
        limits: QueueLimits,
        size: QueueSize,
        precedence: Precedence,
    ) -> Option<SubmitError> {
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

    /// Takes a window out of the queue; `None` if it has left already.
    pub(super) fn remove(&mut self, start: VirtualStart) -> Option<Job> {
        let job = self.waiting.remove(&start)?;
        self.tokens -= job.tokens();
        Some(job)
    }

    /// Takes all windows out of the queue. The caller drops them after the lock, because that wakes their receivers.
    pub(super) fn drain(&mut self) -> Vec<Job> {
        self.tokens = 0;
        std::mem::take(&mut self.waiting).into_values().collect()
    }
}
