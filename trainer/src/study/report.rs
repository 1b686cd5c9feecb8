//! A study as a page to look at.

use super::claim::{Claim, Verdict, judge, split};
use super::file::{Reported, Study, Variant};
use super::outcome::{Outcome, StudyOutcome};
use super::run::StudySettings;
use super::scale::Scale;
use super::tables::rows;
use crate::base::is_on_hub;
use crate::evaluate::WeightedFigures;
use crate::report::html::{Page, Section, figures, paragraph, table};
use crate::report::{Bar, BarChart, LineChart, Series, last_parts};
use crate::train::EvaluationRecord;

/// The page: what the study is, its claims, its variants by group, and curves.
pub(super) fn html(study: &Study, settings: &StudySettings, found: &StudyOutcome) -> String {
    let mut sections = vec![
        Section::new("What was run", run(study, settings, found)),
        Section::new("The conclusions", claims(study, found)),
        Section::new("At a glance", overview(study, found)),
    ];
    for start in &study.starts {
        sections.push(Section::new(
            format!("Every epoch, from {}", start.name),
            epochs(study, found, &start.name),
        ));
    }
    let tested = tested(study, found);
    if !tested.is_empty() {
        sections.push(Section::new("Saved weights on test", tested));
    }
    sections.push(Section::new("Curves", curves(study, found)));
    Page {
        title: study.name.clone(),
        lead: study.about.clone(),
        sections,
    }
    .html()
}

fn run(study: &Study, settings: &StudySettings, found: &StudyOutcome) -> String {
    let scale = match settings.scale == Scale::default() {
        true => "Encoders have their full size.".to_owned(),
        false => format!(
            "Widths and depths are {} of the full ones: smaller encoders, the same corpus, the same numbers of epochs.",
            settings.scale
        ),
    };
    let seconds: f64 = found.outcomes.iter().map(|outcome| outcome.seconds).sum();
    let sizes = study.starts.iter().filter_map(|start| {
        let outcome = found
            .outcomes
            .iter()
            .find(|outcome| outcome.start == start.name)?;
        let options = &outcome.options;
        let padding = match options.train_on_padding {
            Some(true) => "trained on, unmasked, in the loss; its predictions count",
            _ => "neither seen nor in the loss; counts as rightly O",
        };
        let size =
            |value: Option<usize>| value.map_or("all of the base's".to_owned(), |value| value.to_string());
        Some([
            start.name.clone(),
            size(options.layers),
            options
                .hidden_size
                .map_or("the base's".to_owned(), |width| width.to_string()),
            padding.to_owned(),
        ])
    });
    let outside = found.outside;
    let figures = |name: &str, padded: WeightedFigures| {
        let [precision, accuracy, f1] = [padded.precision, padded.accuracy, padded.f1].map(percent);
        [name.to_owned(), precision, accuracy, f1]
    };
    let everywhere = table(
        &["O everywhere, on train", "precision", "accuracy = recall", "F1"],
        [
            figures("mean of the batches", outside.train_padded_batches),
            figures("all positions at once", outside.train_padded),
        ],
    );
    [
        paragraph(&format!(
            "{} trainings, {:.0} minutes of training. {scale} The pre-trained base is {}.",
            found.outcomes.len(),
            seconds / 60.0,
            base_name(&settings.base)
        )),
        table(&["start", "layers", "width", "padding in training"], sizes),
        paragraph(
            "The original study's metric (\u{201c}padded\u{201d}) is weighted over all positions: every subword, padding to the \
             longest sentence as O, special tokens as errors whatever they are given. It was taken from the predictions made while \
             training on train and averaged over the batches, and so it is here. The original trained on the padding: where a start \
             above does so too, metric and loss are of the same positions as reported; where it does not, padding counts as \
             rightly O in the metric, and the loss is the mean over the words' subwords alone, which is higher than with easy padding \
             in the mean. On test the original used an attention mask, and so it is here; there padding always counts as rightly O, and \
             all positions at once. A tagger that answers O everywhere scores:",
        ),
        everywhere,
        paragraph(&format!(
            "Its entity F1 and its surface-form F1 are 0, its accuracy on the words of dev {}. What counts is entity F1 on dev.",
            percent(outside.dev_token_accuracy)
        )),
    ]
    .concat()
}

fn claims(study: &Study, found: &StudyOutcome) -> String {
    let mut header = vec!["conclusion".to_owned()];
    for start in &study.starts {
        header.push(format!("entity F1, from {}", start.name));
        header.push("holds?".to_owned());
    }
    header.push("as reported, padded F1".to_owned());
    let row = |claim: &Claim| {
        let mut cells = vec![claim.text.clone()];
        for start in &study.starts {
            let score = |id: &str, epoch: Option<usize>| {
                let outcome = found.outcome(&start.name, id)?;
                outcome.record(epoch).map(|record| record.dev_entity.f1)
            };
            let verdict = judge(claim, study.margin, score);
            cells.push(compared(claim, score));
            cells.push(verdict_name(verdict).to_owned());
        }
        cells.push(compared(claim, |id, epoch| {
            let variant = study.variants.iter().find(|variant| variant.id == id)?;
            reported(variant, epoch).map(|reported| reported.f1)
        }));
        cells
    };
    let margin = paragraph(&format!(
        "One seed each. Differences of up to {:.1} points decide nothing. Scores are of dev after the last epoch, the \
         claimed better one first.",
        100.0 * study.margin
    ));
    table(&header, study.claims.iter().map(row)) + &margin
}

/// The scores of a claim's variants, the better one's first.
fn compared(claim: &Claim, score: impl Fn(&str, Option<usize>) -> Option<f64>) -> String {
    let scores: Vec<String> = claim
        .points()
        .map(|point| {
            let (id, epoch) = split(point);
            score(id, epoch).map_or("–".to_owned(), percent)
        })
        .collect();
    match scores.split_first() {
        Some((better, worse)) => format!("{better} : {}", worse.join(", ")),
        None => String::new(),
    }
}

fn verdict_name(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Holds => "holds",
        Verdict::Refuted => "does not hold",
        Verdict::Undecided => "undecided",
        Verdict::NothingFound => "finds nothing",
        Verdict::NotRun => "not run",
    }
}

/// What was reported after an epoch; after the last one without.
fn reported(variant: &Variant, epoch: Option<usize>) -> Option<&Reported> {
    match epoch {
        Some(epoch) => variant.reported.iter().find(|reported| reported.epoch == epoch),
        None => variant.reported.last(),
    }
}

fn overview(study: &Study, found: &StudyOutcome) -> String {
    let chart = |title: &str, x_label: &str, value: &dyn Fn(&EvaluationRecord) -> f64| BarChart {
        title: title.to_owned(),
        x_label: x_label.to_owned(),
        series: study.starts.iter().map(|start| start.name.clone()).collect(),
        bars: study
            .variants
            .iter()
            .map(|variant| Bar {
                name: variant.name.clone(),
                values: study
                    .starts
                    .iter()
                    .map(|start| {
                        let outcome = found.outcome(&start.name, &variant.id);
                        outcome.and_then(|o| o.record(None)).map_or(f64::NAN, value)
                    })
                    .collect(),
                errors: Vec::new(),
            })
            .collect(),
    };
    let entity = chart("Entity F1 on dev, last epoch", "entity F1", &|record| {
        record.dev_entity.f1
    });
    let padded = chart(
        "The original metric on train, last epoch",
        "padded F1",
        &|record| record.train_padded.map_or(f64::NAN, |padded| padded.f1),
    );
    figures([entity.svg(), padded.svg()])
}

fn epochs(study: &Study, found: &StudyOutcome, start: &str) -> String {
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
                record
                    .train_padded
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

fn tested(study: &Study, found: &StudyOutcome) -> String {
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

/// Entity F1 over the epochs, a chart for each start and group.
fn curves(study: &Study, found: &StudyOutcome) -> String {
    let mut groups: Vec<&str> = Vec::new();
    for variant in &study.variants {
        if !groups.contains(&variant.group.as_str()) {
            groups.push(&variant.group);
        }
    }
    let mut svgs = Vec::new();
    for group in groups {
        for start in &study.starts {
            let of_group = study.variants.iter().filter(|variant| variant.group == group);
            let series: Vec<Series> = of_group
                .filter_map(|variant| {
                    let outcome = found.outcome(&start.name, &variant.id)?;
                    let points = outcome.records.iter();
                    let points = points.map(|record| (record.epoch as f64, record.dev_entity.f1));
                    Some(Series::new(variant.name.clone(), points.collect()))
                })
                .collect();
            if series.is_empty() {
                continue;
            }
            let chart = LineChart {
                title: format!("{group}, from {}", start.name),
                x_label: "epoch".to_owned(),
                y_label: "dev entity F1".to_owned(),
                series,
                y_includes: vec![0.0],
                ..LineChart::default()
            };
            svgs.push(chart.svg());
        }
    }
    figures(svgs)
}

/// A base as a reader knows it: a hub id, or the end of a path.
fn base_name(base: &str) -> String {
    match is_on_hub(base) {
        true => base.to_owned(),
        false => last_parts(base),
    }
}

fn percent(share: f64) -> String {
    format!("{:.2}", 100.0 * share)
}
