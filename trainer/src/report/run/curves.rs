//! The course of a training run: loss, scores, learning rate and gradient norm over its steps.

use std::collections::BTreeSet;

use maud::{Markup, html};

use crate::report::chart::line::{LineChart, Series};
use crate::report::html::{figures, table};
use crate::report::number::{format_number, format_percent};
use crate::report::point::{EvaluationPoint, StepPoint};

/// Values of fewer steps are drawn without a running mean.
const FEW_STEPS: usize = 50;
/// The axis of the loss is logarithmic when the greatest loss is more than this many times the least.
const WIDE: f64 = 20.0;

/// The curves, and the evaluations as a table. `None` without steps and evaluations.
pub(super) fn curves(steps: &[StepPoint], evaluations: &[EvaluationPoint]) -> Option<Markup> {
    if steps.is_empty() && evaluations.is_empty() {
        return None;
    }
    let mut charts = vec![loss(steps, evaluations)];
    if !evaluations.is_empty() {
        charts.push(scores(evaluations));
        charts.extend(type_scores(evaluations));
    }
    let rates = match steps {
        [] => evaluations
            .iter()
            .map(|point| (point.step as f64, point.learning_rate))
            .collect(),
        steps => by_step(steps, |point| Some(point.learning_rate)),
    };
    charts.push(over_steps(
        "Learning rate",
        "rate",
        vec![Series::new("learning rate", rates)],
    ));
    if !steps.is_empty() {
        let norms = smoothed("gradient norm", by_step(steps, |point| point.gradient_norm));
        charts.push(over_steps("Gradient norm before clipping", "norm", norms));
    }
    let charts: Vec<Markup> = charts.iter().map(LineChart::figure).collect();
    Some(html! {
        (figures(&charts))
        @if !evaluations.is_empty() { (evaluation_table(evaluations)) }
    })
}

/// The values of the steps that have one.
fn by_step(steps: &[StepPoint], value: impl Fn(&StepPoint) -> Option<f64>) -> Vec<(f64, f64)> {
    let points = steps.iter().map(|point| Some((point.step as f64, value(point)?)));
    points.flatten().collect()
}

fn over_steps(title: &str, y_label: &str, series: Vec<Series>) -> LineChart {
    LineChart {
        title: title.to_owned(),
        x_label: "step".to_owned(),
        y_label: y_label.to_owned(),
        series,
        y_includes: vec![0.0],
        ..LineChart::default()
    }
}

fn loss(steps: &[StepPoint], evaluations: &[EvaluationPoint]) -> LineChart {
    let of_evaluations = |value: fn(&EvaluationPoint) -> Option<f64>| -> Vec<(f64, f64)> {
        let point = |point: &EvaluationPoint| Some((point.step as f64, value(point)?));
        evaluations.iter().filter_map(point).collect()
    };
    let mut series = match steps {
        [] => vec![Series::new(
            "train, mean since the previous evaluation",
            of_evaluations(|point| Some(point.loss)),
        )],
        steps => smoothed("train", by_step(steps, |point| Some(point.loss))),
    };
    let dev = of_evaluations(|point| point.dev_loss);
    if !dev.is_empty() {
        series.push(Series::new("dev, negative log-likelihood", dev));
    }
    let shown = || {
        series
            .iter()
            .filter(|series| !series.faint)
            .flat_map(|series| &series.points)
    };
    let least = shown().map(|point| point.1).fold(f64::INFINITY, f64::min);
    let greatest = shown().map(|point| point.1).fold(0.0, f64::max);
    let log_y = least > 0.0 && greatest > WIDE * least;
    LineChart {
        log_y,
        y_includes: if log_y { Vec::new() } else { vec![0.0] },
        ..over_steps("Loss", if log_y { "loss, logarithmic" } else { "loss" }, series)
    }
}

fn scores(evaluations: &[EvaluationPoint]) -> LineChart {
    let series = |name: &str, value: fn(&EvaluationPoint) -> f64| {
        let points = evaluations.iter().map(|point| (point.step as f64, value(point)));
        Series::new(name, points.collect())
    };
    let all = vec![
        series("F1", |point| point.f1),
        series("precision", |point| point.precision),
        series("recall", |point| point.recall),
        series("surface F1", |point| point.surface_f1),
    ];
    over_steps("Dev entities", "fraction", all)
}

/// F1 of each entity type, a line each; `None` if no evaluation has scores of types.
fn type_scores(evaluations: &[EvaluationPoint]) -> Option<LineChart> {
    let types: BTreeSet<&String> = evaluations
        .iter()
        .flat_map(|point| point.type_f1.keys())
        .collect();
    let series = types.iter().map(|&name| {
        let point = |point: &EvaluationPoint| Some((point.step as f64, *point.type_f1.get(name)?));
        Series::new(name.clone(), evaluations.iter().filter_map(point).collect())
    });
    let all: Vec<Series> = series.collect();
    (!all.is_empty()).then(|| over_steps("Dev entity F1 by type", "F1", all))
}

/// The points, with their running mean in front of them if there are many.
fn smoothed(name: &str, points: Vec<(f64, f64)>) -> Vec<Series> {
    if points.len() < FEW_STEPS {
        return vec![Series::new(name, points)];
    }
    let keep = 1.0 - 20.0 / (points.len() as f64 + 20.0);
    let (mut sum, mut weight) = (0.0, 0.0);
    let means = points.iter().map(|&(step, value)| {
        // A value that is not finite interrupts the line once and does not enter the mean.
        if !value.is_finite() {
            return (step, value);
        }
        sum = keep * sum + (1.0 - keep) * value;
        weight = keep * weight + (1.0 - keep);
        (step, sum / weight)
    });
    let means = Series::new(format!("{name}, running mean"), means.collect());
    vec![Series::new(name, points).faint(), means]
}

fn evaluation_table(evaluations: &[EvaluationPoint]) -> Markup {
    let with_dev = evaluations.iter().any(|point| point.dev_loss.is_some());
    let mut header = vec!["step", "epoch", "loss"];
    header.extend(with_dev.then_some("dev loss"));
    header.extend([
        "learning rate",
        "P %",
        "R %",
        "F1 %",
        "surface F1 %",
        "token accuracy %",
    ]);
    let rows = evaluations.iter().map(|point| {
        let mut row = vec![
            point.step.to_string(),
            format_number(point.epoch),
            format_number(point.loss),
        ];
        row.extend(with_dev.then(|| point.dev_loss.map_or(String::new(), format_number)));
        row.push(format_number(point.learning_rate));
        let scores = [
            point.precision,
            point.recall,
            point.f1,
            point.surface_f1,
            point.token_accuracy,
        ];
        row.extend(scores.map(format_percent));
        row
    });
    table(&header, rows)
}
