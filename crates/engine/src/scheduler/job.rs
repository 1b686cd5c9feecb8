//! One window on its way through the queue.

use std::time::Instant;

use tokio::sync::oneshot;
use tracing::Span;

use crate::trace;

/// The label logits of the positions a window was asked to read, in that order: row-major, a row a position.
pub(crate) type LogitMatrix = Vec<f32>;

/// A window's run gave no logits; the cause is in the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct WindowFailed;

/// What a worker computes: a window, and whose logits are wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WindowInput {
    /// The token ids, special tokens included.
    pub ids: Vec<u32>,
    /// The positions in `ids` whose logits are wanted.
    pub reads: Vec<usize>,
}

/// A window that waits or runs. Dropping it tells the waiter that no answer will come.
#[derive(Debug)]
pub(crate) struct Job {
    pub(crate) input: WindowInput,
    pub(crate) submitted: Instant,
    /// The request's span; none where nobody listens for it.
    request: Span,
    /// That of the stage the window is in; told by being dropped.
    stage: Span,
    reply: oneshot::Sender<Result<LogitMatrix, WindowFailed>>,
}

/// The waiting side of a [`Job`]. Dropping it withdraws the job.
pub(crate) type Waiter = oneshot::Receiver<Result<LogitMatrix, WindowFailed>>;

impl Job {
    /// A job of a request, and its waiter.
    pub(crate) fn new(input: WindowInput, request: &Span) -> (Self, Waiter) {
        let (reply, waiter) = oneshot::channel();
        let job = Self {
            request: request.clone(),
            stage: trace::queue(request, input.ids.len()),
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

    /// The window waits no longer: it runs in a batch of so many windows and positions.
    pub(crate) fn taken(&mut self, windows: usize, positions: usize) {
        self.stage = trace::inference(&self.request, windows, positions);
    }

    /// Whether nobody waits any more.
    pub(crate) fn is_withdrawn(&self) -> bool {
        self.reply.is_closed()
    }

    /// Answers the waiter; one that has gone meanwhile is no error.
    pub(crate) fn answer(self, logits: Result<LogitMatrix, WindowFailed>) {
        let _gone = self.reply.send(logits);
    }
}
