//! Every figure of every epoch, and of saved weights on test.

use super::percent;
use crate::file::{Study, Variant};
use crate::outcome::{Outcome, StudyOutcome};
use crate::tables::rows;
use nerve_trainer::report::html::{paragraph, table};

/// Every epoch of the variants from a start, as a table.
pub(super) fn epochs(study: &Study, found: &StudyOutcome, start: &str) -> String {
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
    let three = |a: f64, b: f64, c: f64| format!("{} / {} / {}", percent(a), percent(b), percent(c));
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
                    percent(record.dev_entity.precision),
                    percent(record.dev_entity.recall)
                ),
                percent(record.dev_entity.f1),
                percent(record.dev_surface_f1),
                percent(record.dev_token_accuracy),
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
        percent(0.0),
        percent(0.0),
        percent(outside.dev_token_accuracy),
        "–".to_owned(),
    ];
    let stopped: String = found
        .outcomes
        .iter()
        .filter(|outcome| outcome.start == start)
        .filter_map(|outcome| {
            let reason = outcome.stopped.as_ref()?;
            Some(paragraph(&format!("{}: {reason}", outcome.variant)))
        })
        .collect();
    table(&header, std::iter::once(everywhere).chain(body)) + &stopped
}

/// Saved weights on test, as a table; nothing where none were tested.
pub(super) fn tested(study: &Study, found: &StudyOutcome) -> String {
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
        return String::new();
    }
    let three = |p: f64, a: f64, f: f64| format!("{} / {} / {}", percent(p), percent(a), percent(f));
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
                percent(test.entity.precision),
                percent(test.entity.recall)
            ),
            percent(test.entity.f1),
            percent(test.surface.f1),
        ])
    });
    table(
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
    )
}
