//! What the engine is asked, in the types that requests, streams, files and command lines share.

pub(crate) mod error;
pub(crate) mod input;
pub(crate) mod json;
pub(crate) mod object;
pub(crate) mod options;
