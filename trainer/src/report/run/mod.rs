//! `report.html`: a run as a page to look at.

mod calibration;
mod curves;
mod errors;

use std::path::{Path, PathBuf};

use serde::Serialize;
use serde_json::Value;

use super::error::{ReportError, write};
use super::html::{Page, Section, definitions, figure, table};
use super::point::{EvaluationPoint, StepPoint};
use crate::evaluate::{DetailedEvaluation, Evaluation};

/// What a run's page shows; whatever is empty is left out.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct RunReport {
    /// The run's name.
    pub name: String,
    /// What is to be known at a glance, such as how long it took: names and values.
    pub facts: Vec<(String, String)>,
    /// Every step.
    pub steps: Vec<StepPoint>,
    /// Every evaluation on the dev split.
    pub evaluations: Vec<EvaluationPoint>,
    /// The kept checkpoint's evaluation on the dev split.
    pub dev: Option<DetailedEvaluation>,
    /// Its evaluation on the test split.
    pub test: Option<Evaluation>,
    /// The configuration: names and values.
    pub configuration: Vec<(String, String)>,
}

impl RunReport {
    /// Writes the page as `report.html` into the run's directory and yields the file.
    pub fn write(&self, dir: &Path) -> Result<PathBuf, ReportError> {
        write(dir.join("report.html"), &self.html())
    }

    /// The page as one HTML document.
    pub fn html(&self) -> String {
        let mut sections = vec![Section::new("Results", self.results())];
        let curves = curves::curves(&self.steps, &self.evaluations);
        if !curves.is_empty() {
            sections.push(Section::new("Training", curves));
        }
        if let Some(dev) = &self.dev {
            let split = &dev.split;
            sections.push(Section::new(
                format!("Entity types ({split})"),
                types(&dev.evaluation),
            ));
            sections.push(Section::new(
                format!("Confusion ({split})"),
                errors::confusion(&dev.errors),
            ));
            sections.push(Section::new(
                format!("Errors ({split})"),
                errors::errors(&dev.errors),
            ));
            if let Some(calibration) = &dev.calibration {
                sections.push(Section::new(
                    format!("Calibration ({split})"),
                    calibration::calibration(calibration),
                ));
            }
        }
        if !self.configuration.is_empty() {
            let rows = self.configuration.iter().map(|(name, value)| (name, value));
            sections.push(Section::new("Configuration", definitions(rows)));
        }
        Page {
            title: self.name.clone(),
            lead: self.lead(),
            sections,
        }
        .html()
    }

    /// The run in a sentence.
    fn lead(&self) -> String {
        let best = self
            .evaluations
            .iter()
            .max_by(|one, other| one.f1.total_cmp(&other.f1));
        match (&self.dev, best) {
            (Some(dev), _) => format!(
                "Entity F1 {} on {}: {} of {} entities found, {} of {} predictions right.",
                percent(dev.evaluation.score.entity.f1),
                dev.split,
                dev.evaluation.score.counts.correct,
                dev.evaluation.score.counts.gold,
                dev.evaluation.score.counts.correct,
                dev.evaluation.score.counts.predicted,
            ),
            (None, Some(best)) => {
                format!(
                    "Best dev entity F1 {}, after step {}.",
                    percent(best.f1),
                    best.step
                )
            }
            (None, None) => String::new(),
        }
    }

    fn results(&self) -> String {
        let mut html = String::new();
        let dev = self.dev.as_ref().map(|dev| (dev.split.as_str(), &dev.evaluation));
        let splits: Vec<(&str, &Evaluation)> = dev
            .into_iter()
            .chain(self.test.as_ref().map(|test| ("test", test)))
            .collect();
        if !splits.is_empty() {
            let header = ["%", "precision", "recall", "F1"];
            let rows = splits.iter().flat_map(|(split, found)| {
                let score = &found.score;
                let row = |name: &str, prf: nerve_tagging::Prf| {
                    let [precision, recall, f1] = [prf.precision, prf.recall, prf.f1].map(percent);
                    [format!("{split}: {name}"), precision, recall, f1]
                };
                let accuracy = percent(score.token_accuracy);
                [
                    row("entities", score.entity),
                    row("entities, mean of types", score.macro_average),
                    row("entities, strict IOB2", found.strict.entity),
                    row("surface forms", score.surface),
                    [
                        format!("{split}: words with the right tag"),
                        accuracy,
                        String::new(),
                        String::new(),
                    ],
                ]
            });
            html.push_str(&table(&header, rows));
        }
        if !self.facts.is_empty() {
            let rows = self.facts.iter().map(|(name, value)| (name, value));
            html.push_str(&definitions(rows));
        }
        html
    }
}

fn types(found: &Evaluation) -> String {
    let header = [
        "%",
        "gold",
        "predicted",
        "correct",
        "precision",
        "recall",
        "F1",
        "surface F1",
    ];
    let rows = found.score.types.iter().map(|(name, of_type)| {
        let counts = of_type.counts;
        let [precision, recall, f1] =
            [of_type.entity.precision, of_type.entity.recall, of_type.entity.f1].map(percent);
        let counted = [counts.gold, counts.predicted, counts.correct].map(|count| count.to_string());
        let [gold, predicted, correct] = counted;
        let surface = percent(of_type.surface.f1);
        [
            name.clone(),
            gold,
            predicted,
            correct,
            precision,
            recall,
            f1,
            surface,
        ]
    });
    table(&header, rows)
}

/// A fraction in hundredths.
fn percent(fraction: f64) -> String {
    match fraction.is_finite() {
        true => format!("{:.2}", 100.0 * fraction),
        false => figure(fraction),
    }
}

/// A configuration's fields as names and values, nested ones with dots, absent ones left out.
pub fn configuration_rows(configuration: &impl Serialize) -> Vec<(String, String)> {
    fn add(rows: &mut Vec<(String, String)>, name: String, value: &Value) {
        match value {
            Value::Null => {}
            Value::Object(fields) => {
                for (field, value) in fields {
                    let name = if name.is_empty() {
                        field.clone()
                    } else {
                        format!("{name}.{field}")
                    };
                    add(rows, name, value);
                }
            }
            Value::String(text) => rows.push((name, text.clone())),
            Value::Bool(_) | Value::Number(_) | Value::Array(_) => rows.push((name, value.to_string())),
        }
    }
    let mut rows = Vec::new();
    // What has no JSON has no rows to show.
    add(
        &mut rows,
        String::new(),
        &serde_json::to_value(configuration).unwrap_or_default(),
    );
    rows
}

#[cfg(test)]
pub(crate) mod tests;
