//! A study as a page to look at.

mod conclusions;
mod epochs;

use super::file::Study;
use super::outcome::{EpochRecord, StudyOutcome};
use super::run::StudySettings;
use super::scale::Scale;
use super::weighted::WeightedFigures;
use nerve_trainer::is_on_hub;
use nerve_trainer::report::html::{Page, Section, figures, paragraph, table};
use nerve_trainer::report::{Bar, BarChart, LineChart, Series, last_parts};

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
    let tested = epochs::tested(study, found);
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

fn overview(study: &Study, found: &StudyOutcome) -> String {
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
                errors: Vec::new(),
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
    figures([entity.svg(), padded.svg()])
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
