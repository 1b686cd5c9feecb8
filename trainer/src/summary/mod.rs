//! What a corpus holds: counts by split and type, and what a user should know of it before training.

pub(crate) mod corpus;
pub(crate) mod inspect;
pub(crate) mod notices;
pub(crate) mod split;
pub(crate) mod table;

pub use corpus::CorpusSummary;
pub use inspect::{InspectError, Inspection, inspect_corpus};
pub use split::{LongestSentence, SplitSummary, TokenSummary};
