//! The section on the calibration of the probabilities before and after temperature scaling.

use maud::{Markup, html};

use crate::evaluate::calibration::{CalibrationReport, ReliabilityDiagram};
use crate::report::chart::line::{LineChart, Series};
use crate::report::html::{details, figures, table};
use crate::report::number::{format_number, format_percent};

/// The reliability diagrams and the calibration errors.
pub(super) fn calibration(report: &CalibrationReport) -> Markup {
    let (before, after) = (&report.before, &report.after);
    let temperature = format!("temperature {}", format_number(report.temperature));
    let bins = [
        ("words, temperature 1", &before.words),
        ("words, calibrated", &after.words),
        ("entities, temperature 1", &before.entities),
        ("entities, calibrated", &after.entities),
    ];
    html! {
        p {
            "Temperature scaling (Guo et al. 2017) divides the logits by a temperature that is fitted to the gold labels of "
            (report.words) " words; it does not change the predicted labels. "
            @if report.is_at_bound() {
                "The negative log-likelihood has no minimum inside the bounds of the search. The temperature "
                (format_number(report.temperature)) " is one of the bounds and therefore not used: scores are stated at temperature 1. "
            } @else {
                "The temperature " (format_number(report.temperature)) " gives the lowest negative log-likelihood. "
            }
            "The diagrams sort words, by their most probable label, and predicted entities into 15 bins by confidence. \
             For a point on the diagonal, accuracy equals confidence. The table of bins states how many words or entities each point \
             represents."
        }
        (figures(&[
            diagram("Words", &before.words, &after.words),
            diagram("Predicted entities", &before.entities, &after.entities),
        ]))
        (table(
            &["", "temperature 1", &temperature],
            [
                ("negative log-likelihood per word", format_number(before.nll), format_number(after.nll)),
                (
                    "expected calibration error of words, %",
                    format_percent(before.words.ece),
                    format_percent(after.words.ece),
                ),
                (
                    "expected calibration error of entities, %",
                    format_percent(before.entities.ece),
                    format_percent(after.entities.ece),
                ),
            ]
            .map(|(name, before, after)| [name.to_owned(), before, after]),
        ))
        (details("Table of bins", &html! { @for (name, reliability) in bins { (bin_table(name, reliability)) } }))
    }
}

fn diagram(title: &str, before: &ReliabilityDiagram, after: &ReliabilityDiagram) -> Markup {
    let points = |reliability: &ReliabilityDiagram| {
        let filled = reliability.bins.iter().filter(|bin| bin.count > 0);
        filled.map(|bin| (bin.confidence, bin.accuracy)).collect()
    };
    LineChart {
        title: title.to_owned(),
        x_label: "confidence".to_owned(),
        y_label: "fraction correct".to_owned(),
        series: vec![
            Series::new("temperature 1", points(before)),
            Series::new("calibrated", points(after)),
            Series::new("ideal", vec![(0.0, 0.0), (1.0, 1.0)]),
        ],
        y_includes: vec![0.0, 1.0],
        ..LineChart::default()
    }
    .figure()
}

fn bin_table(name: &str, reliability: &ReliabilityDiagram) -> Markup {
    let width = 1.0 / reliability.bins.len().max(1) as f64;
    let filled = reliability
        .bins
        .iter()
        .enumerate()
        .filter(|(_, bin)| bin.count > 0);
    let rows = filled.map(|(at, bin)| {
        [
            format!("{:.2}–{:.2}", at as f64 * width, (at + 1) as f64 * width),
            bin.count.to_string(),
            format_percent(bin.confidence),
            format_percent(bin.accuracy),
        ]
    });
    table(&[name, "count", "confidence %", "correct %"], rows)
}
