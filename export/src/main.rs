//! `nerve-export`: checkpoint to bundle.

mod cli;

use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::Parser;
use nerve_export::{Runtime, export, publish, verify};

use crate::cli::{Cli, Command};

fn main() -> ExitCode {
    match run(Cli::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(cli: Cli) -> Result<()> {
    let library = cli.onnxruntime.as_deref();
    match (cli.command, cli.export) {
        (
            Some(Command::Verify {
                bundle,
                checkpoint,
                calibration,
            }),
            _,
        ) => {
            let runtime = Runtime::load(library)?;
            let found = verify(&bundle, checkpoint.as_deref(), calibration.as_deref(), &runtime)?;
            println!("{}", serde_json::to_string_pretty(&found)?);
        }
        (Some(Command::Publish { bundle, store }), _) => {
            println!("{}", publish(&bundle, &store)?.display());
        }
        (None, Some(args)) => {
            let request = args.into_request();
            let manifest = export(&request, &*Runtime::load(library)?)?;
            println!(
                "{} {} {}",
                request.out.display(),
                manifest.precision,
                manifest.version
            );
            if let Some(earned) = manifest.evaluation {
                println!(
                    "{}: precision {:.4}, recall {:.4}, F1 {:.4}",
                    earned.split, earned.precision, earned.recall, earned.f1
                );
            }
        }
        (None, None) => {
            <Cli as clap::CommandFactory>::command()
                .print_help()
                .context("cannot print the help")?;
        }
    }
    Ok(())
}
