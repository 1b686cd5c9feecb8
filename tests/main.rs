//! What crosses crates, through the commands and routes a user has.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod broken_bundles;
mod corpus;
mod fixture;
mod parity;
mod pipeline;
mod pipeline_answers;
mod plain_exports;
mod server;
mod stores;
mod tag;
