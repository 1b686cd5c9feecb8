//! `nerve-export`: exports, verifies and publishes bundles.

mod cli;

use std::process::ExitCode;

use anyhow::{Result, anyhow};
use clap::Parser;
use nerve_corpus::read_words;
use nerve_export::{
    Cancellation, CompareError, Comparison, VerifyRequest, checkpoint_dir, export, publish_if_better,
    start_logging, verify,
};
use nerve_inference::Runtime;
use nerve_repository::PublishError;

use crate::cli::{Cli, Command, read_corpus};

/// The exit status if a bundle is not published because it is not better.
const NOT_BETTER: u8 = 3;
/// The exit status if another publisher was faster.
const CONFLICT: u8 = 4;

fn main() -> ExitCode {
    start_logging();
    match run(Cli::parse()) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error}");
            match is_conflict(&error) {
                true => ExitCode::from(CONFLICT),
                false => ExitCode::FAILURE,
            }
        }
    }
}

fn is_conflict(error: &anyhow::Error) -> bool {
    let published = error.downcast_ref::<PublishError>();
    let compared = error.downcast_ref::<CompareError>();
    published.is_some_and(PublishError::is_conflict) || compared.is_some_and(CompareError::is_conflict)
}

fn run(cli: Cli) -> Result<ExitCode> {
    let library = cli.onnxruntime.as_deref();
    match (cli.command, cli.export) {
        (
            Some(Command::Verify {
                bundle,
                checkpoint,
                calibration,
                min_agreement,
                kernels,
            }),
            _,
        ) => {
            let runtime = Runtime::load(library)?;
            let sentences = calibration.as_deref().map(read_words).transpose()?;
            let checkpoint = checkpoint.as_ref().map(checkpoint_dir).transpose()?;
            let request = VerifyRequest {
                bundle: &bundle,
                checkpoint: checkpoint.as_ref().map(|checkpoint| checkpoint.path.as_path()),
                sentences,
                min_agreement,
                kernels,
                cancellation: &Cancellation::default(),
            };
            let found = verify(&request, &runtime)?;
            println!("{}", serde_json::to_string_pretty(&found)?);
        }
        (
            Some(Command::Publish {
                bundle,
                store,
                only_if_better: None,
            }),
            _,
        ) => {
            println!("{}", store.begin()?.publish(&bundle)?);
        }
        (
            Some(Command::Publish {
                bundle,
                store,
                only_if_better: Some(dev),
            }),
            _,
        ) => {
            let dev = read_corpus(&dev)?;
            let runtime = Runtime::load(library)?;
            return Ok(report(&publish_if_better(&bundle, &store, &dev, &runtime)?));
        }
        (Some(Command::Rollback { version, store }), _) => {
            println!("{}", store.begin()?.restore(&version)?);
        }
        (None, Some(args)) => {
            let request = args.into_request()?;
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
                .map_err(|error| anyhow!("cannot print the help: {error}"))?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Prints the outcome of a comparison with the live version.
fn report(compared: &Comparison) -> ExitCode {
    let live = compared.live_f1.map_or_else(
        || "the store had no version".to_owned(),
        |f1| format!("live version {f1:.4}"),
    );
    eprintln!("entity F1: bundle {:.4}, {live}", compared.f1);
    match &compared.published {
        Some(place) => {
            println!("{place}");
            ExitCode::SUCCESS
        }
        None => {
            eprintln!("not better: the store is unchanged");
            ExitCode::from(NOT_BETTER)
        }
    }
}
