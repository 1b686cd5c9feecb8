//! `nerve-study`: a study's file to its report.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Result, anyhow};
use clap::{Args, Parser, Subcommand};
use nerve_corpus::Corpus;
use nerve_study::{Scale, Study, StudySettings, evaluate_padded, padded_table, run_study};
use nerve_trainer::evaluate::CheckpointTagger;
use nerve_trainer::{INTERRUPTED, TerminalProgress, interrupt_flag, prepare_process};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Trains every variant of a study and compares the scores with what the study concluded.
#[derive(Parser)]
#[command(name = "nerve-study", version, max_term_width = 100)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    study: Option<StudyArgs>,
}

#[derive(Subcommand)]
enum Command {
    /// Print the original study's metric of a checkpoint, beside that of a tagger that answers O everywhere.
    Evaluate(EvaluateArgs),
}

#[derive(Args)]
struct EvaluateArgs {
    /// Checkpoint directory.
    #[arg(long, value_name = "DIR")]
    checkpoint: PathBuf,
    /// Labeled sentences: CoNLL or JSON lines.
    #[arg(long, value_name = "FILE")]
    data: PathBuf,
    /// Also write the figures as JSON.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Longest window in tokens.
    #[arg(long, value_name = "TOKENS", default_value_t = 128)]
    max_length: usize,
}

#[derive(Args)]
struct StudyArgs {
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
    /// Train only from the start of this name; may be given several times.
    #[arg(long, value_name = "NAME")]
    start: Vec<String>,
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
    match (cli.command, cli.study) {
        (Some(Command::Evaluate(args)), _) => evaluate(&args),
        (None, Some(args)) => study(args),
        (None, None) => anyhow::bail!("--study, --data and --out are needed; see --help"),
    }
}

fn study(args: StudyArgs) -> Result<ExitCode> {
    let study = Study::read(&args.study)?;
    let settings = StudySettings {
        data: args.data,
        out: args.out,
        base: args.base,
        scale: args.scale,
        threads: args.threads,
        only: args.only,
        starts: args.start,
        wnut17_url: args.wnut17_url,
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

fn evaluate(args: &EvaluateArgs) -> Result<ExitCode> {
    let tagger = CheckpointTagger::open(&args.checkpoint, args.max_length, 1)?;
    let found = evaluate_padded(&tagger, &Corpus::read(&args.data)?)?;
    print!("{}", padded_table(&found));
    if let Some(path) = &args.json {
        let text = serde_json::to_vec_pretty(&found)?;
        std::fs::write(path, text).map_err(|error| anyhow!("cannot write {}: {error}", path.display()))?;
    }
    Ok(ExitCode::SUCCESS)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Cli, clap::Error> {
        Cli::try_parse_from(line.split(' '))
    }

    #[test]
    fn a_study_is_run_without_a_subcommand() {
        let cli = parse("nerve-study --study s.toml --data wnut17 --out o --scale 1/4").unwrap();
        let args = cli.study.unwrap();
        assert!(cli.command.is_none() && args.base == "bert-base-uncased");
        let cli = parse("nerve-study evaluate --checkpoint c --data f").unwrap();
        assert!(matches!(cli.command, Some(Command::Evaluate(args)) if args.max_length == 128));
        for wrong in [
            "nerve-study",
            "nerve-study --study s.toml",
            "nerve-study evaluate --out o",
        ] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }
}
