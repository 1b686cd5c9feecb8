//! The reasons of refusals.

/// The reason for which work is refused because of load or limits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// A line of a stream has too many bytes.
    LineBytes,
    /// A text has too many bytes.
    TextBytes,
    /// A text has too many words.
    Words,
    /// A text needs too many windows.
    Windows,
    /// Too many windows are waiting.
    QueueWindows,
    /// Too many tokens are waiting.
    QueueTokens,
    /// A window has more tokens than an empty queue holds.
    QueueNever,
    /// Too many texts are waiting to be tokenized.
    Tokenizer,
    /// The sessions are not all open yet.
    Starting,
    /// No worker has a working session.
    NoWorker,
    /// The engine is about to stop.
    Draining,
}

impl Refusal {
    /// Every reason.
    pub const ALL: [Self; 11] = [
        Self::LineBytes,
        Self::TextBytes,
        Self::Words,
        Self::Windows,
        Self::QueueWindows,
        Self::QueueTokens,
        Self::QueueNever,
        Self::Tokenizer,
        Self::Starting,
        Self::NoWorker,
        Self::Draining,
    ];

    /// The reason's name in metrics.
    pub fn name(self) -> &'static str {
        match self {
            Self::LineBytes => "line_bytes",
            Self::TextBytes => "text_bytes",
            Self::Words => "words",
            Self::Windows => "windows",
            Self::QueueWindows => "queue_windows",
            Self::QueueTokens => "queue_tokens",
            Self::QueueNever => "queue_never",
            Self::Tokenizer => "tokenizer",
            Self::Starting => "starting",
            Self::NoWorker => "no_worker",
            Self::Draining => "draining",
        }
    }
}
