//! Texts to tagged texts: prepare, submit, wait, and read as entities.

mod answer;
mod model;
mod prepare;
mod tagger;
mod threads;

pub(crate) use answer::{Answer, View};
pub(crate) use model::TextModel;
pub(crate) use prepare::{PrepareError, Source};
pub(crate) use tagger::{TagError, Tagged, Tagger};
pub(crate) use threads::TextThreads;

#[cfg(test)]
pub(crate) use model::tests::text_model;
#[cfg(test)]
pub(crate) use tagger::tests::tagged;
