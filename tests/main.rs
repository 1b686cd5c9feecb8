//! Tests across crates, through commands and routes.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod broken_bundles;
mod calibration;
mod checkpoints;
mod corpus;
mod devices;
mod failed_starts;
mod families;
mod fixture;
mod formats;
mod hostile;
mod hub;
mod hub_models;
mod invisible;
mod kernels;
mod logs;
mod models;
mod parity;
mod pipeline;
mod pipeline_answers;
mod plain_exports;
mod resume;
mod server;
mod stores;
mod tag;
mod tag_tables;
