//! What is asked of the engine, as requests, streams, files and command lines spell it.

pub(crate) mod error;
pub(crate) mod input;
pub(crate) mod json;
pub(crate) mod options;
