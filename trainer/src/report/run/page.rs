//! The page of a training run.

use std::path::{Path, PathBuf};

use maud::{Markup, html};
use serde::Serialize;

use crate::evaluate::Evaluation;
use crate::evaluate::detail::DetailedEvaluation;
use crate::report::error::{ReportError, write};
use crate::report::html::{Page, Section, definitions};
use crate::report::number::format_percent;
use crate::report::point::{EvaluationPoint, StepPoint};
use crate::report::run::calibration::calibration;
use crate::report::run::curves::curves;
use crate::report::run::data::data;
use crate::report::run::errors::{confusion, errors};
use crate::report::run::results::{scores, types};
use crate::summary::corpus::CorpusSummary;

/// The content of a run's page. Sections without content are left out.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct RunReport {
    /// The run's name.
    pub name: String,
    /// Facts about the run, such as its duration: names and values.
    pub facts: Vec<(String, String)>,
    /// Every step.
    pub steps: Vec<StepPoint>,
    /// Every evaluation on the dev split.
    pub evaluations: Vec<EvaluationPoint>,
    /// The best checkpoint's evaluation on the dev split.
    pub dev: Option<DetailedEvaluation>,
    /// Its evaluation on the test split.
    pub test: Option<Evaluation>,
    /// The counts of the corpus.
    pub data: Option<CorpusSummary>,
    /// The configuration: names and values.
    pub configuration: Vec<(String, String)>,
}

impl RunReport {
    /// Writes the page as `report.html` into the run's directory and returns its path.
    pub fn write(&self, dir: &Path) -> Result<PathBuf, ReportError> {
        write(dir.join("report.html"), &self.html())
    }

    /// The page as one HTML document.
    pub fn html(&self) -> String {
        let mut sections = vec![Section::new("Results", self.results())];
        if let Some(curves) = curves(&self.steps, &self.evaluations) {
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
                confusion(&dev.errors),
            ));
            sections.push(Section::new(format!("Errors ({split})"), errors(&dev.errors)));
            if let Some(report) = &dev.calibration {
                sections.push(Section::new(
                    format!("Calibration ({split})"),
                    calibration(report),
                ));
            }
        }
        if let Some(summary) = &self.data {
            sections.push(Section::new("Data", data(summary)));
        }
        if !self.configuration.is_empty() {
            sections.push(Section::new("Configuration", definitions(&self.configuration)));
        }
        Page {
            title: self.name.clone(),
            lead: self.lead(),
            sections,
        }
        .html()
    }

    /// The run's result in one sentence.
    fn lead(&self) -> String {
        let best = self
            .evaluations
            .iter()
            .max_by(|one, other| one.f1.total_cmp(&other.f1));
        match (&self.dev, best) {
            (Some(dev), _) => format!(
                "Entity F1 {} on {}: {} of {} entities found, {} of {} predictions correct.",
                format_percent(dev.evaluation.score.entity.f1),
                dev.split,
                dev.evaluation.score.counts.correct,
                dev.evaluation.score.counts.gold,
                dev.evaluation.score.counts.correct,
                dev.evaluation.score.counts.predicted,
            ),
            (None, Some(best)) => {
                format!(
                    "Best dev entity F1 {}, after step {}.",
                    format_percent(best.f1),
                    best.step
                )
            }
            (None, None) => String::new(),
        }
    }

    fn results(&self) -> Markup {
        let dev = self.dev.as_ref().map(|dev| (dev.split.as_str(), &dev.evaluation));
        let test = self.test.as_ref().map(|test| ("test", test));
        let splits: Vec<(&str, &Evaluation)> = dev.into_iter().chain(test).collect();
        html! {
            @if !splits.is_empty() { (scores(&splits)) }
            @if !self.facts.is_empty() { (definitions(&self.facts)) }
        }
    }
}
