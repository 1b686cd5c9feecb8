//! Distillation: what teachers say of the words of a corpus and of text without labels.

pub(super) mod distill;
pub(super) mod error;
mod model;
mod probability_sum;
mod student_labels;
pub(super) mod targets_file;
