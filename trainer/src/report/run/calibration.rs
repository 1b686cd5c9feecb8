//! How far the probabilities can be believed, before and after temperature scaling.

use super::percent;
use crate::evaluate::{CalibrationReport, Reliability};
use crate::report::chart::{LineChart, Series};
use crate::report::html::{details, figure, figures, paragraph, table};

/// The reliability diagrams and figures.
pub(super) fn calibration(report: &CalibrationReport) -> String {
    let (before, after) = (&report.before, &report.after);
    let mut html = paragraph(&format!(
        "Logits divided by {} fit the gold labels of {} words best (temperature scaling, Guo et al. 2017). Labels are decided \
         without it. A point on the diagonal is right as often as it is sure; the most probable labels of words and the whole \
         entities predicted are each put into 15 bins by confidence. The table of bins says how many stand behind each point.",
        figure(report.temperature),
        report.words
    ));
    html.push_str(&figures([
        diagram("Words", &before.words, &after.words),
        diagram("Predicted entities", &before.entities, &after.entities),
    ]));
    let temperature = format!("temperature {}", figure(report.temperature));
    let header = ["", "temperature 1", &temperature];
    let row = |name: &str, before: String, after: String| [name.to_owned(), before, after];
    html.push_str(&table(
        &header,
        [
            row(
                "negative log-likelihood a word",
                figure(before.nll),
                figure(after.nll),
            ),
            row(
                "expected calibration error of words, %",
                percent(before.words.ece),
                percent(after.words.ece),
            ),
            row(
                "expected calibration error of entities, %",
                percent(before.entities.ece),
                percent(after.entities.ece),
            ),
        ],
    ));
    let bins = [
        ("words, temperature 1", &before.words),
        ("words, calibrated", &after.words),
        ("entities, temperature 1", &before.entities),
        ("entities, calibrated", &after.entities),
    ];
    html.push_str(&details(
        "The bins",
        &bins.map(|(name, of)| bin_table(name, of)).concat(),
    ));
    html
}

fn diagram(title: &str, before: &Reliability, after: &Reliability) -> String {
    let points = |of: &Reliability| {
        let filled = of.bins.iter().filter(|bin| bin.count > 0);
        filled.map(|bin| (bin.confidence, bin.accuracy)).collect()
    };
    LineChart {
        title: title.to_owned(),
        x_label: "confidence".to_owned(),
        y_label: "share that is right".to_owned(),
        series: vec![
            Series::new("temperature 1", points(before)),
            Series::new("calibrated", points(after)),
            Series::new("ideal", vec![(0.0, 0.0), (1.0, 1.0)]),
        ],
        y_includes: vec![0.0, 1.0],
        ..LineChart::default()
    }
    .svg()
}

fn bin_table(name: &str, of: &Reliability) -> String {
    let width = 1.0 / of.bins.len().max(1) as f64;
    let filled = of.bins.iter().enumerate().filter(|(_, bin)| bin.count > 0);
    let rows = filled.map(|(at, bin)| {
        let ends = format!("{:.2}–{:.2}", at as f64 * width, (at + 1) as f64 * width);
        [
            ends,
            bin.count.to_string(),
            percent(bin.confidence),
            percent(bin.accuracy),
        ]
    });
    table(&[name, "count", "confidence %", "right %"], rows)
}
