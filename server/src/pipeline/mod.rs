//! Texts to tagged texts: prepare, submit, wait, and read as entities.

mod aggregation;
mod answer;
mod cache;
mod classifier;
mod classify;
#[cfg(any(test, fuzzing))]
mod direct;
mod model;
#[cfg(test)]
mod offsets;
mod prepare;
mod start;
mod tagger;
mod threads;

pub(crate) use aggregation::{Aggregation, Reading};
pub(crate) use answer::{Answer, View};
pub(crate) use cache::AnswerCache;
pub(crate) use classifier::Classification;
pub(crate) use classify::{Classified, Postprocessing};
pub(crate) use model::TextModel;
pub(crate) use prepare::{PrepareError, Source};
pub(crate) use tagger::{MANY_WORDS, TagError, Tagged, Tagger};
pub(crate) use threads::TextThreads;

#[cfg(any(test, fuzzing))]
pub(crate) use direct::{classify_directly, tag_directly};
#[cfg(any(test, fuzzing))]
pub(crate) use model::testing::text_model;
#[cfg(test)]
pub(crate) use tagger::tests::tagged;
