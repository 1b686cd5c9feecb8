//! The commands on many runs, from arguments to what they print.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Result;
use nerve_trainer::compare::{CompareOptions, Comparison, compare as compare_runs};
use nerve_trainer::{
    Beginning, PretrainOptions, PretrainSettings, Sweep, SweepReport, TerminalProgress, interrupt_flag,
    run_sweep,
};

use crate::commands::{Outcome, failed, resume_command, warn};

pub(crate) fn pretrain(options: PretrainOptions, resume: bool) -> Result<Outcome> {
    let (settings, beginning) = match resume {
        true => (PretrainSettings::resumed(&options)?, Beginning::Resumed),
        false => (PretrainSettings::new(options)?, Beginning::New),
    };
    let interrupted = interrupt_flag()?;
    let announce = |text: &str| eprintln!("{text}");
    let report = nerve_trainer::pretrain(&settings, beginning, &interrupted, announce)?;
    if report.is_interrupted {
        eprintln!(
            "stopped at step {}. Continue with: {}",
            report.steps,
            resume_command(std::env::args_os().skip(1))
        );
        return Ok(Outcome::Interrupted);
    }
    println!("{}", settings.out.join("last").display());
    Ok(Outcome::Done)
}

pub(crate) fn sweep(config: &Path, out: &Path) -> Result<Outcome> {
    let sweep = Sweep::read(config)?;
    let mut progress = TerminalProgress::new(interrupt_flag()?);
    let announce = |text: &str| eprintln!("{text}");
    let Some(report) = run_sweep(&sweep, out, &mut [&mut progress], announce)? else {
        eprintln!("stopped. Run the same command again to continue the sweep");
        return Ok(Outcome::Interrupted);
    };
    print!("{}", sweep_table(&report));
    println!("{}", out.join("sweep.html").display());
    if let Some(best) = report.best() {
        println!("{}", best.command);
    }
    Ok(Outcome::Done)
}

/// The F1, the time and the name of each combination, the best first.
fn sweep_table(report: &SweepReport) -> String {
    let mut table = format!(
        "{:>8}{:>11}{:>9}  combination\n",
        "dev F1", "deviation", "minutes"
    );
    for outcome in &report.outcomes {
        let percent = |value: Option<f64>| {
            value.map_or_else(|| "-".to_owned(), |value| format!("{:.2}", 100.0 * value))
        };
        let failed = outcome.failed.as_ref();
        let failed = failed.map_or_else(String::new, |reason| format!(" (failed: {reason})"));
        table += &format!(
            "{:>8}{:>11}{:>9.1}  {}{failed}\n",
            percent(outcome.dev_f1.map(|spread| spread.mean)),
            percent(outcome.dev_f1.and_then(|spread| spread.deviation)),
            outcome.seconds / 60.0,
            outcome.name
        );
    }
    table
}

pub(crate) fn compare(
    runs: &[PathBuf],
    options: &CompareOptions<'_>,
    page: Option<&Path>,
    json: bool,
) -> Result<()> {
    let found = compare_runs(runs, options)?;
    warn(&found.warnings);
    if let Some(page) = page {
        fs::write(page, found.html()).map_err(|error| failed("write", page, &error))?;
    }
    match json {
        true => println!("{}", serde_json::to_string(&found)?),
        false => print!("{}", comparison_table(&found)),
    }
    Ok(())
}

/// The scores of each run, and the difference from the first one.
fn comparison_table(found: &Comparison) -> String {
    let percent = |value: f64| format!("{:.2}", 100.0 * value);
    let width = found
        .runs
        .iter()
        .map(|run| run.name.chars().count())
        .max()
        .unwrap_or(0);
    let mut text = format!(
        "{:width$}  precision  recall      F1  deviation  models  minutes\n",
        found.split
    );
    for run in &found.runs {
        text += &format!(
            "{:width$}  {:>9}  {:>6}  {:>6}  {:>9}  {:>6}  {:>7.1}\n",
            run.name,
            percent(run.entity.precision),
            percent(run.entity.recall),
            percent(run.entity.f1),
            run.deviation.map_or_else(|| "-".to_owned(), percent),
            run.models,
            run.seconds / 60.0
        );
    }
    for pair in &found.pairs {
        let of = &pair.difference;
        text += &format!(
            "{} - {}: {:+.2} F1, 95% interval {:+.2} to {:+.2}, p = {:.4}{}\n",
            found.runs[pair.other].name,
            found.runs[pair.one].name,
            100.0 * of.f1,
            100.0 * of.low,
            100.0 * of.high,
            of.p,
            if of.is_significant() {
                ""
            } else {
                ": no evidence of a difference"
            }
        );
    }
    text
}
