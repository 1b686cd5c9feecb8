//! The pages of a running server in headless Chromium, through chromedriver: `make browser-test`.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod accessibility;
mod api_page;
mod chromium;
#[allow(dead_code)]
#[path = "../fixture.rs"]
mod fixture;
mod page;
mod proxy;
#[allow(dead_code)]
#[path = "../server.rs"]
mod server;
mod tagging_page;
