//! `sweep.html`: the combinations of a sweep, the best first, and dev F1 as a function of each option.

use std::path::{Path, PathBuf};

use maud::{Markup, html};
use toml::Value;

use crate::report::chart::bar::{Bar, BarChart};
use crate::report::chart::line::{LineChart, Series};
use crate::report::error::{ReportError, write as write_file};
use crate::report::html::{Page, Section, figures, table};
use crate::report::number::{format_number, format_percent};
use crate::train::spread::Spread;
use crate::train::sweep::command_line::text;
use crate::train::sweep::draw::number;
use crate::train::sweep::outcome::{CombinationOutcome, SweepReport};

/// Values whose greatest is this many times their least are drawn by their logarithm.
const WIDE: f64 = 20.0;

/// Writes the page as `sweep.html` into the directory of a sweep and returns its path.
pub(crate) fn write(dir: &Path, report: &SweepReport) -> Result<PathBuf, ReportError> {
    let name = dir.file_name().unwrap_or(dir.as_os_str()).to_string_lossy();
    write_file(dir.join("sweep.html"), &page(&name, report))
}

/// The page as one HTML document.
fn page(name: &str, report: &SweepReport) -> String {
    let mut sections = Vec::new();
    if let Some(best) = report.best() {
        sections.push(Section::new(
            "Best combination",
            html! { p { code { (best.command) } } },
        ));
    }
    sections.push(Section::new("Combinations", combinations(report)));
    let charts = charts(report);
    if !charts.is_empty() {
        sections.push(Section::new(
            "Options",
            html! {
                p { "Each point is a combination, whose other options differ as well." }
                (figures(&charts))
            },
        ));
    }
    Page {
        title: name.to_owned(),
        lead: lead(report),
        sections,
    }
    .html()
}

fn lead(report: &SweepReport) -> String {
    let failed = report
        .outcomes
        .iter()
        .filter(|outcome| outcome.failed.is_some())
        .count();
    let failed = match failed {
        0 => String::new(),
        failed => format!(", {failed} of them failed"),
    };
    let best = report.best().and_then(|best| best.dev_f1);
    let best = best.map_or_else(String::new, |spread| {
        format!(" The highest mean dev entity F1 is {}.", shown(spread))
    });
    format!(
        "{} of {} combinations are complete{failed}.{best} Nothing here is measured on test.",
        report.outcomes.len(),
        report.combinations
    )
}

fn shown(spread: Spread) -> String {
    let deviation = spread
        .deviation
        .map_or_else(String::new, |of| format!(" ± {}", format_percent(of)));
    format!("{}{deviation}", format_percent(spread.mean))
}

/// A table of the combinations, with a link to each run's report.
fn combinations(report: &SweepReport) -> Markup {
    let mut header: Vec<&str> = vec!["rank", "dev F1 %"];
    header.extend(report.tried.iter().map(String::as_str));
    header.extend(["precision %", "recall %", "minutes", "runs"]);
    let rows = report.outcomes.iter().enumerate().map(|(at, outcome)| {
        let f1 = outcome.dev_f1.map_or_else(|| "failed".to_owned(), shown);
        let mut row = vec![html! { (at + 1) }, html! { (f1) }];
        let value = |option: &String| outcome.values.get(option).map(plain).unwrap_or_default();
        row.extend(report.tried.iter().map(|option| html! { (value(option)) }));
        let means = [outcome.mean(|prf| prf.precision), outcome.mean(|prf| prf.recall)];
        row.extend(means.map(|mean| html! { (format_percent(mean.unwrap_or(f64::NAN))) }));
        row.push(html! { (format!("{:.1}", outcome.seconds / 60.0)) });
        row.push(runs(outcome));
        row
    });
    html! {
        p {
            "Dev F1 is the entity F1 of the best evaluation of each run: the mean of the runs of a combination, ± their standard \
             deviation. A difference below the deviation of the seeds decides nothing."
        }
        (table(&header, rows))
        @for outcome in &report.outcomes {
            @if let Some(failed) = &outcome.failed { p { (outcome.name) ": " (failed) } }
        }
    }
}

/// The F1 of each run, with a link to its report, which does not exist if the sweep writes no reports.
fn runs(outcome: &CombinationOutcome) -> Markup {
    html! {
        @for (at, run) in outcome.runs.iter().enumerate() {
            @if at > 0 { ", " }
            @let f1 = run.dev.map_or_else(|| "failed".to_owned(), |dev| format_percent(dev.f1));
            @if run.dev.is_some() && run.options.reports != Some(false) {
                a href=(format!("{}/report.html", run.run)) { (f1) }
            } @else { (f1) }
        }
    }
}

/// Mean dev F1 by the values of each option that has several.
fn charts(report: &SweepReport) -> Vec<Markup> {
    let of_option = |option: &String| {
        let mut points: Vec<(&Value, f64)> = Vec::new();
        for outcome in &report.outcomes {
            points.extend(
                outcome
                    .values
                    .get(option)
                    .zip(outcome.dev_f1.map(|spread| spread.mean)),
            );
        }
        let first = points.first()?.0;
        if points.iter().all(|(value, _)| *value == first) {
            return None;
        }
        let numbers: Option<Vec<(f64, f64)>> = points
            .iter()
            .map(|(value, f1)| Some((number(value)?, *f1)))
            .collect();
        Some(match numbers {
            Some(points) => scatter(option, points),
            None => bars(option, &points),
        })
    };
    report.tried.iter().filter_map(of_option).collect()
}

/// A point for each combination, and a line through the means of equal values if values repeat.
fn scatter(option: &str, mut points: Vec<(f64, f64)>) -> Markup {
    points.sort_by(|one, other| one.0.total_cmp(&other.0).then(one.1.total_cmp(&other.1)));
    let least = points.first().map_or(0.0, |point| point.0);
    let is_log = least > 0.0 && points.last().is_some_and(|point| point.0 > WIDE * least);
    if is_log {
        points.iter_mut().for_each(|point| point.0 = point.0.log10());
    }
    let means: Vec<(f64, f64)> = points
        .chunk_by(|one, other| one.0 == other.0)
        .map(|equal| {
            let sum: f64 = equal.iter().map(|point| point.1).sum();
            (equal[0].0, sum / equal.len() as f64)
        })
        .collect();
    // What is not finite interrupts the line after each point.
    let apart = points.iter().flat_map(|&point| [point, (f64::NAN, f64::NAN)]);
    let mut series = vec![Series::new("combination", apart.collect())];
    if means.len() < points.len() {
        series.push(Series::new("mean of equal values", means));
    }
    LineChart {
        title: option.to_owned(),
        x_label: match is_log {
            true => format!("decimal logarithm of {option}"),
            false => option.to_owned(),
        },
        y_label: "mean dev F1".to_owned(),
        series,
        ..LineChart::default()
    }
    .figure()
}

/// The mean of the combinations of each value.
fn bars(option: &str, points: &[(&Value, f64)]) -> Markup {
    let mut names: Vec<String> = points.iter().map(|(value, _)| plain(value)).collect();
    names.sort();
    names.dedup();
    let bar = |name: String| {
        let of_value: Vec<f64> = points
            .iter()
            .filter(|(value, _)| plain(value) == name)
            .map(|(_, f1)| *f1)
            .collect();
        Bar {
            values: vec![of_value.iter().sum::<f64>() / of_value.len().max(1) as f64],
            name,
        }
    };
    BarChart {
        title: option.to_owned(),
        x_label: "mean dev F1".to_owned(),
        series: vec!["mean dev F1".to_owned()],
        bars: names.into_iter().map(bar).collect(),
    }
    .figure()
}

/// A value as a table shows it: a fraction with few digits, a text without quotes.
fn plain(value: &Value) -> String {
    match value {
        Value::Float(number) => format_number(*number),
        value => text(value),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::train::options::TrainOptions;
    use crate::train::sweep::outcome::RunOutcome;
    use nerve_tagging::Prf;

    fn outcome(rate: f64, schedule: &str, f1: Option<f64>) -> CombinationOutcome {
        let values: toml::Table =
            toml::from_str(&format!("learning_rate = {rate:?}\nschedule = \"{schedule}\"")).unwrap();
        let run = |seed: usize, f1: f64| RunOutcome {
            options: TrainOptions::default(),
            run: format!("{schedule}/seed-{seed}"),
            dev: Some(Prf { f1, ..Prf::default() }),
            type_f1: Default::default(),
            seconds: 60.0,
            failed: None,
        };
        let runs: Vec<RunOutcome> = f1.iter().flat_map(|f1| [run(1, *f1), run(2, f1 + 0.1)]).collect();
        CombinationOutcome {
            name: format!("{rate} {schedule}"),
            values,
            dev_f1: f1.and_then(|f1| Spread::of(&[f1, f1 + 0.1])),
            seconds: 120.0,
            runs,
            failed: f1.is_none().then(|| "step 3: the loss is <NaN>".to_owned()),
            command: "nerve-trainer train --data='a <b>'".to_owned(),
        }
    }

    #[test]
    fn the_page_has_the_best_first_the_failures_and_a_chart_of_each_option() {
        let report = SweepReport {
            tried: vec!["learning_rate".to_owned(), "schedule".to_owned()],
            combinations: 4,
            outcomes: vec![
                outcome(1e-4, "linear", Some(0.5)),
                outcome(1e-2, "linear", Some(0.4)),
                outcome(1e-2, "cosine", None),
            ],
        };
        let html = page("a & b", &report);
        for expected in [
            "3 of 4 combinations are complete, 1 of them failed.",
            "The highest mean dev entity F1 is 55.00 ± 7.07.",
            "--data='a &lt;b&gt;'",
            "step 3: the loss is &lt;NaN&gt;",
            "<a href=\"linear/seed-2/report.html\">60.00</a>",
            "decimal logarithm of learning_rate",
        ] {
            assert!(html.contains(expected), "{expected}\n{html}");
        }
        // All that succeeded have one schedule.
        assert_eq!(html.matches("<svg ").count(), 1);
        let more = SweepReport {
            outcomes: vec![
                outcome(1e-4, "linear", Some(0.5)),
                outcome(1e-4, "cosine", Some(0.3)),
            ],
            ..report
        };
        let html = page("a", &more);
        assert!(html.contains("\ncosine\n") && html.matches("<svg ").count() == 1);
    }
}
