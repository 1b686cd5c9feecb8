//! HTTP: requests to the engine, and its answers to responses.

mod admin;
pub(crate) mod app;
mod body;
mod deadline;
pub(crate) mod error;
mod framework;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzz;
#[cfg(any(test, fuzzing))]
mod fuzz_check;
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
mod request_id;
mod responses;
pub(crate) mod route;
mod served;
pub(crate) mod state;
pub(crate) mod stream;
mod v2;
