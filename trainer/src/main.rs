//! `nerve-trainer`: corpus to checkpoint, and how good it is.

mod cli;
mod commands;
mod run_commands;

use std::process::ExitCode;

use anyhow::Result;
use clap::Parser;
use nerve_corpus::ReadOptions;
use nerve_tagging::{Decoding, OrphanRule};
use nerve_trainer::compare::{Bootstrap, CompareOptions};
use nerve_trainer::evaluate::WordDifferences;
use nerve_trainer::{Beginning, INTERRUPTED, PublishError, SoupKind, prepare_process};

use crate::cli::{Cli, Command};
use crate::commands::Outcome;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// The exit status of a run that was not published, as `nerve-export publish` has it.
const NOT_BETTER: u8 = 3;
/// The exit status of a run that was not published because another publisher was faster, as `nerve-export publish` has it.
const CONFLICT: u8 = 4;

fn main() -> ExitCode {
    prepare_process();
    match run(Cli::parse()) {
        Ok(Outcome::Done) => ExitCode::SUCCESS,
        Ok(Outcome::Interrupted) => ExitCode::from(INTERRUPTED),
        Ok(Outcome::NotBetter) => ExitCode::from(NOT_BETTER),
        Err(error) => {
            // Every error of the library names its cause in its own text.
            eprintln!("error: {error}");
            let published = error.downcast_ref::<PublishError>();
            match published.is_some_and(PublishError::is_conflict) {
                true => ExitCode::from(CONFLICT),
                false => ExitCode::FAILURE,
            }
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
        Command::Pretrain { resume, options } => return run_commands::pretrain(*options, resume),
        Command::Sweep { config, out } => return run_commands::sweep(&config, &out),
        Command::Compare {
            runs,
            data,
            read,
            out,
            json,
            resamples,
            seed,
            threads,
        } => {
            let read = read.options()?;
            check_read(data.is_some(), &read)?;
            let bootstrap = Bootstrap {
                resamples: resamples as usize,
                seed,
            };
            let options = CompareOptions {
                data: data.as_deref().map(|path| (path, &read)),
                bootstrap,
                threads: commands::threads_or_all(threads)?,
            };
            run_commands::compare(&runs, &options, out.as_deref(), json)?;
        }
        Command::Evaluate {
            model,
            data,
            read,
            json,
            report,
            raw,
            unconstrained,
        } => {
            let decoding = decoding(unconstrained);
            let (json, read) = (json.as_deref(), read.options()?);
            match raw {
                true => commands::evaluate_raw(&model, decoding, (&data, &read), json)?,
                false => commands::evaluate(&model, decoding, (&data, &read), (json, report.as_deref()))?,
            }
        }
        Command::Score {
            gold,
            read,
            pred,
            strict,
            same_words,
            json,
        } => {
            let orphans = match strict {
                true => OrphanRule::Drop,
                false => OrphanRule::Start,
            };
            let differences = match same_words {
                true => WordDifferences::Refuse,
                false => WordDifferences::Count,
            };
            commands::score((&gold, &read.options()?), &pred, orphans, differences, json)?;
        }
        Command::Calibrate {
            checkpoint,
            data,
            read,
            outside_bias,
            max_length,
            threads,
        } => {
            let read = read.options()?;
            commands::calibrate(&checkpoint, (&data, &read), outside_bias, max_length, threads)?;
        }
        Command::Soup {
            checkpoint,
            out,
            greedy,
            data,
            read,
            threads,
        } => {
            let kind = match greedy {
                true => SoupKind::Greedy,
                false => SoupKind::Uniform,
            };
            let read = read.options()?;
            check_read(data.is_some(), &read)?;
            let data = data.as_deref().map(|data| (data, &read));
            commands::soup(&checkpoint, &out, kind, data, threads)?;
        }
        Command::Inspect {
            data,
            base,
            max_length,
            json,
        } => commands::inspect(&data.resolve()?, base.as_deref(), max_length, json)?,
        Command::Tag {
            model,
            input,
            word_column,
            output,
            unconstrained,
            text,
        } => {
            let read = ReadOptions {
                word_column,
                ..ReadOptions::default()
            };
            commands::tag(&model, decoding(unconstrained), (&text, input, read), output)?;
        }
    }
    Ok(Outcome::Done)
}

fn decoding(unconstrained: bool) -> Decoding {
    match unconstrained {
        true => Decoding::Independent,
        false => Decoding::Constrained,
    }
}

/// An error if options say how the file of `--data` is read, and there is none.
fn check_read(has_data: bool, read: &ReadOptions) -> Result<()> {
    if !has_data && *read != ReadOptions::default() {
        anyhow::bail!(
            "--word-column, --tag-column, --labels and --map-labels say how the file of --data is read; give --data as well"
        );
    }
    Ok(())
}
