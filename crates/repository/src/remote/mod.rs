//! Stores of versions on object storage: `versions/<version>/<files>`, and the object `current` that names one of them.

pub(crate) mod client;
pub(crate) mod download;
pub(crate) mod error;
pub(crate) mod lease;
pub(crate) mod mirror;
pub(crate) mod objects;
pub(crate) mod publish;
#[cfg(test)]
mod tests;
