//! `nerve-study`: a study's file to its report.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use clap::Parser;
use nerve_study::{Scale, Study, StudySettings, run_study};
use nerve_trainer::{INTERRUPTED, TerminalProgress, interrupt_flag, prepare_process};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Trains every variant of a study and compares the scores with what the study concluded.
#[derive(Parser)]
#[command(name = "nerve-study", version, max_term_width = 100)]
struct Cli {
    /// The study's file.
    #[arg(long, value_name = "FILE.toml")]
    study: PathBuf,
    /// Corpus: a directory with a train, a dev and a test file, or `wnut17`.
    #[arg(long, value_name = "DIR|wnut17")]
    data: String,
    /// Pre-trained model; models that start from random weights use its tokenizer.
    #[arg(long, value_name = "DIR|HUB_ID", default_value = "bert-base-uncased")]
    base: String,
    /// Directory for outcomes and report. A study that was stopped continues there.
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// Factor for widths and depths: a number or a fraction such as 1/6.
    #[arg(long, default_value = "1")]
    scale: Scale,
    /// Train only the variant with this id; may be given several times. The report has every variant with an outcome.
    #[arg(long, value_name = "ID")]
    only: Vec<String>,
    /// Threads [default: as many as the machine offers].
    #[arg(long)]
    threads: Option<usize>,
    /// URL from which `wnut17` is downloaded [default: the authors' repository].
    #[arg(long, env = "NERVE_WNUT17_URL", value_name = "URL")]
    wnut17_url: Option<String>,
}

fn main() -> ExitCode {
    prepare_process();
    match run(Cli::parse()) {
        Ok(status) => status,
        Err(error) => {
            // Every error of the library includes its cause in its own text.
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(cli: Cli) -> Result<ExitCode> {
    let study = Study::read(&cli.study)?;
    let settings = StudySettings {
        data: cli.data,
        out: cli.out,
        base: cli.base,
        scale: cli.scale,
        threads: cli.threads,
        only: cli.only,
        wnut17_url: cli.wnut17_url,
    };
    let mut progress = TerminalProgress::new(interrupt_flag()?);
    let announce = |variant: &str| eprintln!("{variant}");
    if run_study(&study, &settings, &mut [&mut progress], announce)?.is_none() {
        eprintln!("stopped; run the same command again to continue");
        return Ok(ExitCode::from(INTERRUPTED));
    }
    println!("{}", settings.out.join("report.html").display());
    Ok(ExitCode::SUCCESS)
}
