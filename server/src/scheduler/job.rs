//! One window on its way through the queue.

use std::time::Instant;

use nerve_tagging::WordLabel;
use tokio::sync::oneshot;

/// The labels of the words a window answers; `None` for a word without subwords.
pub(crate) type WindowLabels = Vec<Option<WordLabel>>;

/// A window's run gave no labels; the cause is in the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct WindowFailed;

/// What a worker computes: a window and what to read from its logits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct WindowInput {
    /// The token ids, special tokens included.
    pub(crate) ids: Vec<u32>,
    /// For each word the window answers, the position of its first subword in `ids`; `None` for a word without one.
    pub(crate) reads: Vec<Option<usize>>,
}

/// A window that waits or runs. Dropping it tells the waiter that no answer will come.
#[derive(Debug)]
pub(crate) struct Job {
    pub(crate) input: WindowInput,
    pub(crate) submitted: Instant,
    reply: oneshot::Sender<Result<WindowLabels, WindowFailed>>,
}

/// The waiting side of a [`Job`]. Dropping it withdraws the job.
pub(crate) type Waiter = oneshot::Receiver<Result<WindowLabels, WindowFailed>>;

impl Job {
    /// A job and its waiter.
    pub(crate) fn new(input: WindowInput) -> (Self, Waiter) {
        let (reply, waiter) = oneshot::channel();
        let job = Self {
            input,
            submitted: Instant::now(),
            reply,
        };
        (job, waiter)
    }

    /// How many tokens the window has.
    pub(crate) fn tokens(&self) -> usize {
        self.input.ids.len()
    }

    /// Whether nobody waits any more.
    pub(crate) fn is_withdrawn(&self) -> bool {
        self.reply.is_closed()
    }

    /// Answers the waiter; one that has gone meanwhile is no error.
    pub(crate) fn answer(self, labels: Result<WindowLabels, WindowFailed>) {
        let _gone = self.reply.send(labels);
    }
}
