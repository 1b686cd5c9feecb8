//! Texts to tagged texts: tokenize, submit, wait, decide the labels, and show entities.

pub(crate) mod aggregate;
pub(crate) mod aggregation;
pub(crate) mod answer;
pub(crate) mod answer_writer;
pub(crate) mod cache;
pub(crate) mod classifier;
pub(crate) mod decide;
pub(crate) mod direct;
pub(crate) mod error;
pub(crate) mod memory_need;
pub(crate) mod model;
#[cfg(test)]
mod offsets;
pub(crate) mod prepare;
pub(crate) mod start;
pub(crate) mod tagged;
pub(crate) mod tagger;
pub(crate) mod threads;
