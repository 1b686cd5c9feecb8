//! Bulk work: a stream of lines or texts to a stream of tagged ones, in order and in bounded memory.

pub(crate) mod error;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzz;
pub(crate) mod group;
pub(crate) mod limits;
pub(crate) mod lines;
pub(crate) mod piece;
pub(crate) mod record;
pub(crate) mod stream;
pub(crate) mod texts;
