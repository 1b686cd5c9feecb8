//! `/v2`: the Open Inference Protocol, as KServe and Triton clients speak it.

mod answer;
mod contract;
pub(crate) mod error;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzz;
mod infer;
pub(crate) mod inference;
pub(crate) mod metadata;
pub(crate) mod named;
pub(crate) mod outputs;
pub(crate) mod parameters;
pub(crate) mod routes;
pub(crate) mod tensor;
