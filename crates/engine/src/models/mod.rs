//! The versions of a model: where they are found, which one answers, and when another takes its place.

pub(crate) mod error;
pub(crate) mod named;
mod rejected;
pub(crate) mod remote;
pub(crate) mod source;
pub(crate) mod track;
pub(crate) mod watch;
