//! Windows to logits: a bounded queue, a batching policy and worker threads.

pub(crate) mod drain;
pub(crate) mod job;
pub(crate) mod lone;
pub(crate) mod policy;
pub(crate) mod pool;
pub(crate) mod queue;
pub(crate) mod submit_error;
pub(crate) mod waiting;
pub(crate) mod worker;
