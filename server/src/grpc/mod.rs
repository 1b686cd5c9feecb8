//! gRPC: the Open Inference Protocol, health and reflection, through the same engine and limits as HTTP.

mod answer;
mod body;
mod call;
mod codec;
mod count;
mod deadline;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzz;
mod health;
mod infer;
mod listen;
mod message;
pub(crate) mod observe;
pub(crate) mod proto;
pub(crate) mod server;
mod service;
pub(crate) mod stage;
mod stalled;
mod status;
mod stream;
