//! The figures of a study, one row per epoch.

use std::fmt::Write;

use super::file::{ReportedFigures, Study, Variant};
use super::outcome::{Outcome, StudyOutcome};
use super::weighted::WeightedFigures;
use nerve_trainer::EvaluationRecord;

/// One epoch of one variant from one start, with the figures that the original study reports.
pub(super) struct Row<'s> {
    pub(super) outcome: &'s Outcome,
    pub(super) variant: &'s Variant,
    pub(super) record: &'s EvaluationRecord,
    pub(super) train_padded: Option<WeightedFigures>,
    pub(super) reported: Option<&'s ReportedFigures>,
}

/// Every epoch, in the order of the outcomes.
pub(super) fn rows<'s>(study: &'s Study, found: &'s StudyOutcome) -> impl Iterator<Item = Row<'s>> {
    found.outcomes.iter().flat_map(move |outcome| {
        let mut variants = study.variants.iter();
        let variant = variants.find(|variant| variant.id == outcome.variant);
        variant.into_iter().flat_map(move |variant| {
            outcome.records.iter().map(move |record| Row {
                outcome,
                variant,
                record: &record.evaluation,
                train_padded: record.train_padded,
                reported: variant
                    .reported
                    .iter()
                    .find(|reported| reported.epoch == record.evaluation.epoch),
            })
        })
    })
}

/// The study as comma-separated values: a header, then a line for each epoch.
pub(super) fn csv(study: &Study, found: &StudyOutcome) -> String {
    let mut csv = "start,variant,epoch,reported_loss,reported_precision,reported_accuracy,reported_f1,\
                   loss,train_padded_precision,train_padded_accuracy,train_padded_f1,\
                   dev_entity_precision,dev_entity_recall,dev_entity_f1,dev_surface_f1,dev_token_accuracy,dev_loss\n"
        .to_owned();
    let number = |value: Option<f64>| value.map(|value| value.to_string()).unwrap_or_default();
    for row in rows(study, found) {
        let (record, reported) = (row.record, row.reported);
        let padded = row.train_padded;
        let figures = [
            reported.and_then(|reported| reported.loss),
            reported.map(|reported| reported.precision),
            reported.map(|reported| reported.accuracy),
            reported.map(|reported| reported.f1),
            Some(record.loss),
            padded.map(|padded| padded.precision),
            padded.map(|padded| padded.accuracy),
            padded.map(|padded| padded.f1),
            Some(record.dev_entity.precision),
            Some(record.dev_entity.recall),
            Some(record.dev_entity.f1),
            Some(record.dev_surface_f1),
            Some(record.dev_token_accuracy),
            record.dev_loss,
        ];
        let figures: Vec<String> = figures.into_iter().map(number).collect();
        // Writing to a string cannot fail.
        let _ = writeln!(
            csv,
            "{},{},{},{}",
            row.outcome.start,
            row.variant.id,
            record.epoch,
            figures.join(",")
        );
    }
    csv
}
