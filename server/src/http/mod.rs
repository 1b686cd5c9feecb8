//! HTTP: requests to the engine, and its answers to responses.

mod admin;
mod answer;
mod answer_body;
pub(crate) mod app;
mod body;
pub(crate) mod coding;
pub(crate) mod compress;
mod deadline;
pub(crate) mod decompress;
pub(crate) mod error;
mod framework;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzz;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzz_check;
mod hugging_face;
pub(crate) mod idle;
pub(crate) mod keys;
pub(crate) mod metrics;
mod ner;
mod observe;
pub(crate) mod openapi;
mod operations;
mod pages;
mod query;
mod request;
pub(crate) mod request_id;
mod responses;
pub(crate) mod route;
mod served;
pub(crate) mod shown;
pub(crate) mod starting;
pub(crate) mod state;
pub(crate) mod stream;
pub(crate) mod v2;
