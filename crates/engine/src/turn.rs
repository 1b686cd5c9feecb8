//! A turn of other tasks between steps of a poll.

use std::pin::pin;
use std::task::Context;

use tokio::task::yield_now;

/// Has the task polled again once the runtime has looked at its connections and timers.
///
/// A task that only wakes itself may be polled thousands of times before that.
pub fn wake_after_others(context: &mut Context<'_>) {
    let _pending = pin!(yield_now()).poll(context);
}
