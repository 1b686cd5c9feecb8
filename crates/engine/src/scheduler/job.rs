//! A window in the queue.

use std::time::Instant;

use tokio::sync::oneshot;
use tracing::Span;

use crate::trace;

/// The label logits of the positions that a window reads, in that order: row-major, one row per position.
pub(crate) type LogitMatrix = Vec<f32>;

/// A window's run gave no logits. The cause is in the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct WindowFailed;

/// A window to compute, and the positions whose logits are wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WindowInput {
    /// The token ids, special tokens included.
    pub ids: Vec<u32>,
    /// The positions in `ids` whose logits are wanted.
    pub reads: Vec<usize>,
}

/// A window's place in the order of a queue.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct VirtualStart {
    pub(crate) turn: u64,
    pub(crate) serial: u64,
}

impl VirtualStart {
    /// This place and those of the windows that were submitted after it in one submission.
    pub(crate) fn and_following(self) -> impl Iterator<Item = Self> {
        (self.turn..)
            .zip(self.serial..)
            .map(|(turn, serial)| Self { turn, serial })
    }
}

/// A window that waits or runs. Dropping it tells the receiver that no answer will come.
#[derive(Debug)]
pub(crate) struct Job {
    pub(crate) input: WindowInput,
    /// When it last entered the queue.
    pub(crate) submitted: Instant,
    /// The place in the queue that it was submitted to.
    pub(crate) start: VirtualStart,
    /// Whether it must not share a batch, because a batch that it was in has failed.
    pub(crate) runs_alone: bool,
    /// The request's span; disabled if no subscriber records it.
    request: Span,
    /// The span of the window's current stage, which ends when it is dropped.
    stage: Span,
    reply: oneshot::Sender<Result<LogitMatrix, WindowFailed>>,
}

/// The receiving side of a [`Job`].
pub(crate) type JobReply = oneshot::Receiver<Result<LogitMatrix, WindowFailed>>;

impl Job {
    /// A job of a request, and its receiver.
    pub(crate) fn new(input: WindowInput, request: &Span) -> (Self, JobReply) {
        let (reply, receiver) = oneshot::channel();
        let job = Self {
            request: request.clone(),
            stage: trace::queue(request, input.ids.len()),
            input,
            submitted: Instant::now(),
            start: VirtualStart::default(),
            runs_alone: false,
            reply,
        };
        (job, receiver)
    }

    /// The number of tokens of the window.
    pub(crate) fn tokens(&self) -> usize {
        self.input.ids.len()
    }

    /// Notes that the window runs now, in a batch of so many windows and positions.
    pub(crate) fn taken(&mut self, windows: usize, positions: usize) {
        self.stage = trace::inference(&self.request, windows, positions);
    }

    /// Notes that the window waits again, to run alone.
    pub(crate) fn waits_again(&mut self) {
        self.runs_alone = true;
        self.submitted = Instant::now();
        self.stage = trace::queue(&self.request, self.input.ids.len());
    }

    /// Whether the receiver is gone.
    pub(crate) fn is_withdrawn(&self) -> bool {
        self.reply.is_closed()
    }

    /// Sends the result. A receiver that is gone is no error.
    pub(crate) fn answer(self, logits: Result<LogitMatrix, WindowFailed>) {
        let _gone = self.reply.send(logits);
    }
}
