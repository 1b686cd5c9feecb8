//! `/v2`: the Open Inference Protocol, as KServe and Triton clients speak it.

mod answer;
mod contract;
pub(crate) mod error;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzz;
mod infer;
mod metadata;
mod named;
pub(crate) mod routes;
mod tensor;
