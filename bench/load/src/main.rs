//! `nerve-load`: drives an HTTP server with the bodies of a file and prints what came back, as JSON.

mod arguments;
mod arrivals;
mod connection;
mod drive;
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
