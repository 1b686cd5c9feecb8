//! All figures of every epoch, and of saved weights on test.

use maud::{Markup, html};

use crate::file::{Study, Variant};
use crate::outcome::{Outcome, StudyOutcome};
use crate::tables::rows;
use nerve_trainer::report::format_percent;
use nerve_trainer::report::html::table;

/// A table of every epoch of the variants that begin with `start`.
pub(super) fn epochs(study: &Study, found: &StudyOutcome, start: &str) -> Markup {
    let header = [
        "variant",
        "epoch",
        "reported loss",
        "reported P / A / F1",
        "loss",
        "padded P / A / F1",
        "entity P / R",
        "entity F1",
        "surface F1",
        "word accuracy",
        "dev loss",
    ];
    let three = |a: f64, b: f64, c: f64| {
        format!(
            "{} / {} / {}",
            format_percent(a),
            format_percent(b),
            format_percent(c)
        )
    };
    let body = rows(study, found)
        .filter(|row| row.outcome.start == start)
        .map(|row| {
            let record = row.record;
            let dash = || "–".to_owned();
            [
                row.variant.name.clone(),
                record.epoch.to_string(),
                row.reported
                    .and_then(|reported| reported.loss)
                    .map_or_else(dash, |loss| format!("{loss:.4}")),
                row.reported
                    .map_or_else(dash, |r| three(r.precision, r.accuracy, r.f1)),
                format!("{:.4}", record.loss),
                row.train_padded
                    .map_or_else(dash, |p| three(p.precision, p.accuracy, p.f1)),
                format!(
                    "{} / {}",
                    format_percent(record.dev_entity.precision),
                    format_percent(record.dev_entity.recall)
                ),
                format_percent(record.dev_entity.f1),
                format_percent(record.dev_surface_f1),
                format_percent(record.dev_token_accuracy),
                record.dev_loss.map_or_else(dash, |loss| format!("{loss:.4}")),
            ]
        });
    let outside = found.outside;
    let padded = outside.train_padded_batches;
    let everywhere = [
        "O everywhere".to_owned(),
        "–".to_owned(),
        "–".to_owned(),
        "–".to_owned(),
        "–".to_owned(),
        three(padded.precision, padded.accuracy, padded.f1),
        "0 / 0".to_owned(),
        format_percent(0.0),
        format_percent(0.0),
        format_percent(outside.dev_token_accuracy),
        "–".to_owned(),
    ];
    let stopped = found
        .outcomes
        .iter()
        .filter(|outcome| outcome.start == start)
        .filter_map(|outcome| Some((&outcome.variant, outcome.stopped.as_ref()?)));
    html! {
        (table(&header, std::iter::once(everywhere).chain(body)))
        @for (variant, reason) in stopped { p { (variant) ": " (reason) } }
    }
}

/// A table of saved weights on test; `None` if none were tested.
pub(super) fn tested(study: &Study, found: &StudyOutcome) -> Option<Markup> {
    let tested: Vec<(&Outcome, &Variant)> = found
        .outcomes
        .iter()
        .filter(|outcome| outcome.test.is_some())
        .filter_map(|outcome| {
            let mut variants = study.variants.iter();
            Some((outcome, variants.find(|variant| variant.id == outcome.variant)?))
        })
        .collect();
    if tested.is_empty() {
        return None;
    }
    let three = |p: f64, a: f64, f: f64| {
        format!(
            "{} / {} / {}",
            format_percent(p),
            format_percent(a),
            format_percent(f)
        )
    };
    let body = tested.into_iter().filter_map(|(outcome, variant)| {
        let test = outcome.test?;
        Some([
            format!("{}, from {}", variant.name, outcome.start),
            format!("{}, after step {}", test.checkpoint, test.step),
            variant
                .reported_test
                .map_or("–".to_owned(), |r| three(r.precision, r.accuracy, r.f1)),
            three(test.padded.precision, test.padded.accuracy, test.padded.f1),
            three(test.outside.precision, test.outside.accuracy, test.outside.f1),
            format!(
                "{} / {}",
                format_percent(test.entity.precision),
                format_percent(test.entity.recall)
            ),
            format_percent(test.entity.f1),
            format_percent(test.surface.f1),
        ])
    });
    Some(table(
        &[
            "variant",
            "checkpoint",
            "reported P / A / F1",
            "padded P / A / F1",
            "O everywhere",
            "entity P / R",
            "entity F1",
            "surface F1",
        ],
        body,
    ))
}
