//! The page of a study.

mod conclusions;
mod epochs;

use maud::{Markup, html};

use super::file::Study;
use super::outcome::{EpochRecord, StudyOutcome};
use super::scale::Scale;
use super::settings::StudySettings;
use super::weighted::WeightedFigures;
use nerve_trainer::hub_model;
use nerve_trainer::report::html::{Page, Section, figures, table};
use nerve_trainer::report::{Bar, BarChart, LineChart, Series, format_percent, last_parts};

/// The page: what the study is, its claims, its variants by group, and curves.
pub(super) fn html(study: &Study, settings: &StudySettings, found: &StudyOutcome) -> String {
    let mut sections = vec![
        Section::new("What was run", run(study, settings, found)),
        Section::new("The conclusions", conclusions::claims(study, found)),
        Section::new("At a glance", overview(study, found)),
    ];
    for start in &study.starts {
        sections.push(Section::new(
            format!("Every epoch, from {}", start.name),
            epochs::epochs(study, found, &start.name),
        ));
    }
    if let Some(tested) = epochs::tested(study, found) {
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

fn run(study: &Study, settings: &StudySettings, found: &StudyOutcome) -> Markup {
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
        let padding = match start.train_on_padding {
            true => "trained on, unmasked, in the loss; its predictions count",
            false => "neither seen nor in the loss; counts as rightly O",
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
    let row = |name: &str, padded: WeightedFigures| {
        let [precision, accuracy, f1] = [padded.precision, padded.accuracy, padded.f1].map(format_percent);
        [name.to_owned(), precision, accuracy, f1]
    };
    let everywhere = table(
        &["O everywhere, on train", "precision", "accuracy = recall", "F1"],
        [
            row("mean of the batches", outside.train_padded_batches),
            row("all positions at once", outside.train_padded),
        ],
    );
    html! {
        p {
            (found.outcomes.len()) " trainings, " (format!("{:.0}", seconds / 60.0)) " minutes of training. " (scale)
            " The pre-trained base is " (base_name(&settings.base)) "."
        }
        (table(&["start", "layers", "width", "padding in training"], sizes))
        p {
            "The original study's metric (\u{201c}padded\u{201d}) is weighted over all positions: every subword, padding to the \
             longest sentence as O, and special tokens, which count as errors whatever is predicted. The original study computed it \
             from the predictions made during training on train and averaged it over the batches, and so does this one. The original \
             trained on the padding. Where a start above does so too, metric and loss cover the same positions as reported. Where it \
             does not, padding counts as correctly predicted O in the metric, and the loss is the mean over the subwords of words \
             alone, which is higher than a mean that includes easy padding. On test the original used an attention mask, and so does \
             this study: padding always counts as correctly predicted O, and the metric covers all positions at once. A tagger that \
             predicts O everywhere scores:"
        }
        (everywhere)
        p {
            "Its entity F1 and its surface-form F1 are 0, its accuracy on the words of dev is "
            (format_percent(outside.dev_token_accuracy)) ". Entity F1 on dev is the score that matters."
        }
    }
}

fn overview(study: &Study, found: &StudyOutcome) -> Markup {
    let chart = |title: &str, x_label: &str, value: &dyn Fn(&EpochRecord) -> f64| BarChart {
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
            })
            .collect(),
    };
    let entity = chart("Entity F1 on dev, last epoch", "entity F1", &|record| {
        record.evaluation.dev_entity.f1
    });
    let padded = chart(
        "The original metric on train, last epoch",
        "padded F1",
        &|record| record.train_padded.map_or(f64::NAN, |padded| padded.f1),
    );
    figures(&[entity.figure(), padded.figure()])
}

/// Entity F1 over the epochs: a chart for each group and start.
fn curves(study: &Study, found: &StudyOutcome) -> Markup {
    let mut groups: Vec<&str> = Vec::new();
    for variant in &study.variants {
        if !groups.contains(&variant.group.as_str()) {
            groups.push(&variant.group);
        }
    }
    let mut charts = Vec::new();
    for group in groups {
        for start in &study.starts {
            let of_group = study.variants.iter().filter(|variant| variant.group == group);
            let series: Vec<Series> = of_group
                .filter_map(|variant| {
                    let outcome = found.outcome(&start.name, &variant.id)?;
                    let points = outcome.records.iter().map(|record| &record.evaluation);
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
            charts.push(chart.figure());
        }
    }
    figures(&charts)
}

/// The name of a base for the reader: its hub id, or the end of its path.
fn base_name(base: &str) -> String {
    match hub_model(base) {
        Some(model) => model.to_string(),
        None => last_parts(base),
    }
}
