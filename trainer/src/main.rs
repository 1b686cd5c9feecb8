//! `nerve-trainer`: corpus to checkpoint, and how good it is.

mod cli;
mod commands;

use std::process::ExitCode;

use anyhow::Result;
use clap::Parser;
use nerve_tagging::Decoding;
use nerve_trainer::Beginning;
use nerve_trainer::study::StudySettings;

use crate::cli::{Cli, Command};
use crate::commands::Outcome;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// `mi_option_purge_delay` of mimalloc.h: milliseconds after which freed pages go back to the system, -1 for never.
const PURGE_DELAY: libmimalloc_sys::mi_option_t = 15;

/// The exit status of a training that was interrupted, as a shell has it of a process that Ctrl-C ended.
const INTERRUPTED: u8 = 130;
/// The exit status of a run that was not published, as `nerve-export publish` has it.
const NOT_BETTER: u8 = 3;

fn main() -> ExitCode {
    keep_freed_pages();
    one_thread_an_operator();
    match run(Cli::parse()) {
        Ok(Outcome::Done) => ExitCode::SUCCESS,
        Ok(Outcome::Interrupted) => ExitCode::from(INTERRUPTED),
        Ok(Outcome::NotBetter) => ExitCode::from(NOT_BETTER),
        Err(error) => {
            // Every error of the library names its cause in its own text.
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Keeps the pages of a step's tensors for those of the next, which need as many.
fn keep_freed_pages() {
    // SAFETY: the option exists, and any thread may set it at any time.
    #[allow(unsafe_code)]
    unsafe {
        libmimalloc_sys::mi_option_set(PURGE_DELAY, -1);
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

fn run(cli: Cli) -> Result<Outcome> {
    match cli.command {
        Command::Train {
            config,
            resume,
            options,
            publish,
        } => {
            let beginning = match resume {
                true => Beginning::Resumed,
                false => Beginning::New,
            };
            return commands::train(config.as_deref(), *options, beginning, publish.publication());
        }
        Command::Study {
            study,
            data,
            base,
            out,
            scale,
            only,
            threads,
            wnut17_url,
        } => {
            let settings = StudySettings {
                data,
                out,
                base,
                scale,
                threads,
                only,
                wnut17_url,
            };
            return commands::study(&study, &settings);
        }
        Command::Evaluate {
            model,
            data,
            json,
            report,
            raw,
            padded,
            unconstrained,
        } => {
            let decoding = decoding(unconstrained);
            let json = json.as_deref();
            match (raw, padded) {
                (true, _) => commands::evaluate_raw(&model, decoding, &data, json)?,
                (false, true) => commands::evaluate_padded(&model, &data, json)?,
                (false, false) => commands::evaluate(&model, decoding, &data, (json, report.as_deref()))?,
            }
        }
        Command::Score {
            gold,
            pred,
            strict,
            json,
        } => commands::score(&gold, &pred, strict, json)?,
        Command::Calibrate {
            checkpoint,
            data,
            max_length,
            threads,
        } => commands::calibrate(&checkpoint, &data, max_length, threads)?,
        Command::Tag {
            model,
            input,
            output,
            unconstrained,
            text,
        } => commands::tag(&model, decoding(unconstrained), &text, (input, output))?,
    }
    Ok(Outcome::Done)
}

fn decoding(unconstrained: bool) -> Decoding {
    match unconstrained {
        true => Decoding::Independent,
        false => Decoding::Constrained,
    }
}
