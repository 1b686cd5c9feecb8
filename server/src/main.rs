//! The `nerve-server` program.

use std::net::TcpListener;
use std::process::ExitCode;

use anyhow::Context;
use clap::Parser;
use nerve_server::{
    Command, Flags, SERVING, ServeFlags, Stopped, TAGGING, TagFlags, healthcheck, openapi_json, run,
    start_logging, tag_file,
};
use tokio::signal::unix::{SignalKind, signal};

fn main() -> ExitCode {
    let flags = Flags::parse();
    let outcome = match flags.command {
        Some(Command::Openapi) => openapi_json().map(|text| println!("{text}")).map_err(Into::into),
        Some(Command::Tag(flags)) => tag(&flags),
        Some(Command::Healthcheck(flags)) => healthcheck(flags.listen).map_err(Into::into),
        None => serve(&flags.serve),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("nerve-server: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn serve(flags: &ServeFlags) -> anyhow::Result<()> {
    let config = flags.config()?;
    start_logging(flags.model.log, SERVING);
    let listener =
        TcpListener::bind(flags.listen).with_context(|| format!("cannot listen on {}", flags.listen))?;
    actix_web::rt::System::new().block_on(async {
        // Registered before the model is opened, so that a signal that comes meanwhile is not lost.
        let mut terminate = signal(SignalKind::terminate()).context("cannot listen for SIGTERM")?;
        let mut interrupt = signal(SignalKind::interrupt()).context("cannot listen for SIGINT")?;
        let shutdown = async move {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
        };
        match run(listener, config, shutdown).await? {
            Stopped::Drained => Ok(()),
            Stopped::Late => anyhow::bail!("stopped at the drain deadline with work unfinished"),
        }
    })
}

fn tag(flags: &TagFlags) -> anyhow::Result<()> {
    let (config, work) = flags.work()?;
    start_logging(flags.model.log, TAGGING);
    let tally = actix_web::rt::System::new().block_on(async {
        let mut interrupt = signal(SignalKind::interrupt()).context("cannot listen for SIGINT")?;
        tokio::select! {
            tally = tag_file(config, work) => Ok(tally?),
            // What was written so far of a file is taken away again.
            _ = interrupt.recv() => Err(anyhow::anyhow!("interrupted")),
        }
    })?;
    anyhow::ensure!(
        tally.failed == 0,
        "{} of {} lines failed",
        tally.failed,
        tally.lines
    );
    Ok(())
}
