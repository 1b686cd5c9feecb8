//! How the texts of a file are tagged and shown.

use std::sync::Arc;

use nerve_engine::{AnswerOptions, BulkLimits, DecodingOptions, Tagger};

/// How the texts of a file are tagged and shown.
pub(crate) struct Bulk {
    pub(crate) tagger: Arc<Tagger>,
    pub(crate) limits: BulkLimits,
    pub(crate) reading: DecodingOptions,
    pub(crate) view: AnswerOptions,
}
