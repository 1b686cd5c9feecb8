//! Windows to logits: a bounded queue, a batching policy and worker threads.

mod drain;
mod job;
mod lone;
mod policy;
mod pool;
mod queue;
mod worker;

pub(crate) use job::{LogitMatrix, Waiter, WindowFailed, WindowInput};
pub(crate) use lone::LoneSession;
pub use policy::{LOOKAHEAD, next_batch, share};
pub(crate) use pool::{Pool, Started};
pub(crate) use queue::{Flow, Queue, SubmitError};
pub(crate) use worker::Worker;
