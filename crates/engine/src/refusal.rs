//! The reasons of refusals.

/// Defines [`Refusal`] from a single list, so that no reason can be missing in the metrics.
macro_rules! refusals {
    ($($(#[$doc:meta])+ $reason:ident = $name:literal,)+) => {
        /// The reason for which the engine, or the program that serves it, refuses work because of load or limits.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Refusal {
            $($(#[$doc])+ $reason,)+
        }

        impl Refusal {
            /// Every reason.
            pub const ALL: &'static [Self] = &[$(Self::$reason,)+];

            /// The reason's name in metrics.
            pub fn name(self) -> &'static str {
                match self {
                    $(Self::$reason => $name,)+
                }
            }
        }
    };
}

refusals! {
    /// The request has no valid key.
    Key = "key",
    /// The body has too many bytes.
    BodyBytes = "body_bytes",
    /// The body does not arrive in time.
    BodySlow = "body_slow",
    /// Other requests and their answers hold all memory, or the request needs more than all of it.
    BodyMemory = "body_memory",
    /// A batch has too many texts.
    Texts = "texts",
    /// A line of a stream has too many bytes.
    LineBytes = "line_bytes",
    /// A text has too many bytes.
    TextBytes = "text_bytes",
    /// A text has too many words.
    Words = "words",
    /// A text needs too many windows.
    Windows = "windows",
    /// Too many windows are waiting.
    QueueWindows = "queue_windows",
    /// Too many tokens are waiting.
    QueueTokens = "queue_tokens",
    /// A window has more tokens than an empty queue holds.
    QueueNever = "queue_never",
    /// Too many texts are waiting to be tokenized.
    Tokenizer = "tokenizer",
    /// The sessions are not all open yet.
    Starting = "starting",
    /// No worker has a working session.
    NoWorker = "no_worker",
    /// The engine is about to stop.
    Draining = "draining",
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_has_a_name_of_its_own() {
        let names: std::collections::BTreeSet<_> = Refusal::ALL.iter().map(|reason| reason.name()).collect();
        assert_eq!(names.len(), Refusal::ALL.len());
    }
}
