//! Whether the server can answer, without touching the inference queue.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

/// What readiness depends on.
#[derive(Debug, Default)]
pub(crate) struct Health {
    warm: AtomicBool,
    draining: AtomicBool,
    workers: AtomicUsize,
}

/// Whether requests are taken, and if not, why.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Readiness {
    /// Requests are answered.
    Ready,
    /// The sessions have not all been opened and warmed up yet.
    Starting,
    /// Every worker has failed; they are being restarted.
    NoWorker,
    /// The server was told to stop.
    Draining,
}

impl Health {
    /// Whether requests are taken now.
    pub(crate) fn readiness(&self) -> Readiness {
        if self.draining.load(Ordering::Acquire) {
            Readiness::Draining
        } else if !self.warm.load(Ordering::Acquire) {
            Readiness::Starting
        } else if self.workers() == 0 {
            Readiness::NoWorker
        } else {
            Readiness::Ready
        }
    }

    /// Every session is open and has run.
    pub(crate) fn set_warm(&self) {
        self.warm.store(true, Ordering::Release);
    }

    /// The server was told to stop.
    pub(crate) fn set_draining(&self) {
        self.draining.store(true, Ordering::Release);
    }

    /// How many workers have a working session.
    pub(crate) fn workers(&self) -> usize {
        self.workers.load(Ordering::Acquire)
    }

    /// One more worker has a working session; yields their number.
    pub(crate) fn worker_up(&self) -> usize {
        self.workers.fetch_add(1, Ordering::AcqRel) + 1
    }

    /// A worker lost its session; yields how many are left.
    pub(crate) fn worker_down(&self) -> usize {
        self.workers.fetch_sub(1, Ordering::AcqRel).saturating_sub(1)
    }
}
