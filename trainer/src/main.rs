//! `nerve-trainer`: corpus to checkpoint, and how good it is.

mod cli;
mod commands;

use std::process::ExitCode;

use anyhow::Result;
use clap::Parser;
use nerve_tagging::Decoding;

use crate::cli::{Cli, Command};

fn main() -> ExitCode {
    one_thread_an_operator();
    match run(Cli::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Every error of the library names its cause in its own text.
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Keeps candle's operators on their callers' threads: shards of a batch run side by side, and candle's pool would have
/// them wait for one another.
fn one_thread_an_operator() {
    for variable in ["CANDLE_NUM_THREADS", "RAYON_NUM_THREADS"] {
        // SAFETY: no other thread has been started that could read the environment meanwhile.
        #[allow(unsafe_code)]
        unsafe {
            std::env::set_var(variable, "1");
        }
    }
}

fn run(cli: Cli) -> Result<()> {
    match cli.command {
        Command::Train { config, options } => commands::train(config.as_deref(), *options),
        Command::Evaluate {
            model,
            data,
            json,
            raw,
            unconstrained,
        } => {
            let decoding = match unconstrained {
                true => Decoding::Independent,
                false => Decoding::Constrained,
            };
            let evaluate = match raw {
                true => commands::evaluate_raw,
                false => commands::evaluate,
            };
            evaluate(&model, decoding, &data, json.as_deref())
        }
        Command::Score {
            gold,
            pred,
            strict,
            json,
        } => commands::score(&gold, &pred, strict, json),
        Command::Tag { model, text } => commands::tag(&model, &text),
    }
}
