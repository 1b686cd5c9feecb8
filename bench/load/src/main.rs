//! `nerve-load` sends the request bodies of a file to an HTTP or gRPC server and prints the measurements as JSON.

mod arguments;
mod arrivals;
mod connection;
mod drive;
mod grpc;
mod response;
mod tally;

use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::Parser;

use crate::arguments::Arguments;
use crate::drive::drive;

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("nerve-load: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<()> {
    let plan = Arguments::parse().plan()?;
    let report = drive(&plan).context("the event loop failed")?;
    println!("{}", serde_json::to_string(&report)?);
    Ok(())
}
