//! How far a server has come.

/// How far a server has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    /// Calls are accepted.
    Serving,
    /// The listener is closed, and current calls are answered.
    Draining,
    /// Current calls are dropped.
    Ended,
}
