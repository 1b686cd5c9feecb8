//! Whether a model can answer, without touching the queue.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use crate::refusal::Refusal;

/// Whether the engine is about to stop.
#[derive(Clone, Debug, Default)]
pub(crate) struct DrainFlag(Arc<AtomicBool>);

impl DrainFlag {
    /// The engine is about to stop.
    pub(crate) fn set(&self) {
        self.0.store(true, Ordering::Release);
    }

    /// Whether it is.
    pub(crate) fn is_set(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }
}

/// What the readiness of a version depends on.
#[derive(Debug, Default)]
pub(crate) struct Health {
    warm: AtomicBool,
    draining: DrainFlag,
    workers: AtomicUsize,
}

/// Whether requests are accepted, and if not, why.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Readiness {
    /// Requests are answered.
    Ready,
    /// Not all sessions have been opened and warmed up yet.
    Starting,
    /// Every worker has failed and is being restarted.
    NoWorker,
    /// Every thread that tokenizes has been busy with one step of a text for seconds. Requests are accepted, and wait.
    TextThreadsStuck,
    /// The engine is about to stop.
    Draining,
}

impl Readiness {
    /// Why requests are not accepted.
    pub(crate) fn problem(self) -> &'static str {
        match self {
            Self::Starting => "the model is not ready yet",
            // `Ready` means that a worker has been restarted since the work was dropped.
            Self::NoWorker | Self::Ready => "no worker can run the model; the workers are restarting",
            Self::TextThreadsStuck => "every thread that tokenizes has been busy with one text for seconds",
            Self::Draining => "the server is stopping",
        }
    }

    /// The reason under which a refusal is counted.
    pub(crate) fn refusal(self) -> Refusal {
        match self {
            Self::Starting => Refusal::Starting,
            Self::NoWorker | Self::Ready => Refusal::NoWorker,
            Self::TextThreadsStuck => Refusal::Tokenizer,
            Self::Draining => Refusal::Draining,
        }
    }
}

impl Health {
    /// The health of a version whose workers have not started.
    pub(crate) fn new(draining: DrainFlag) -> Self {
        Self {
            draining,
            ..Self::default()
        }
    }

    /// Whether requests are accepted now.
    pub(crate) fn readiness(&self) -> Readiness {
        if self.draining.is_set() {
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

    /// The number of workers with a working session.
    pub(crate) fn workers(&self) -> usize {
        self.workers.load(Ordering::Acquire)
    }

    /// A worker has a working session.
    pub(crate) fn worker_up(&self) {
        self.workers.fetch_add(1, Ordering::AcqRel);
    }

    /// A worker lost its session.
    pub(crate) fn worker_down(&self) {
        self.workers.fetch_sub(1, Ordering::AcqRel);
    }
}
