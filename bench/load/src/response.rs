//! What comes back for a request.

/// A complete response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Response {
    pub(crate) status: u16,
    /// A hash of the body.
    pub(crate) hash: u64,
    pub(crate) body_bytes: usize,
    /// Whether the server closes the connection after the response.
    pub(crate) last: bool,
}

/// The reason why a request has no response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Failure {
    /// The connection could not be opened or written to, or was reset.
    Broken,
    /// The connection was closed before the response was complete.
    Closed,
    /// The response is not HTTP/1.1 with a content length.
    Malformed,
}
