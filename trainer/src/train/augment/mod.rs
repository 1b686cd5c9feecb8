//! Training sentences as they are changed in an epoch.

pub(super) mod augmenter;
mod casing;
mod hashtags;
mod mentions;
mod symbols;
pub(super) mod targets;
mod word;
