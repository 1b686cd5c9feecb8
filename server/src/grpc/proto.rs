//! The messages and services that `build.rs` generates from `proto/inference.proto`.

#![allow(missing_docs, unreachable_pub, clippy::all, reason = "generated")]

tonic::include_proto!("inference");

/// The description of the service, which reflection answers with.
pub(crate) const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/inference.bin"));
