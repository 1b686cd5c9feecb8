//! `report.html` of several runs of one configuration: the spread of their scores, and the gold labels that all contradict.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use maud::{Markup, html};
use nerve_tagging::Prf;

use crate::evaluate::contradictions::Contradiction;
use crate::report::chart::line::{LineChart, Series};
use crate::report::error::{ReportError, write};
use crate::report::html::{Page, Section, definitions, details, figures, table};
use crate::report::number::{format_number, format_percent};
use crate::report::run::errors::marked;
use crate::train::spread::Spread;

/// Contradictions that are shown.
const SHOWN: usize = 100;
/// Further contradictions that a click shows.
const COLLAPSED: usize = 900;

/// What tells the runs apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SeriesKind {
    /// Each run has another seed.
    Seeds,
    /// Each run holds out another fold of the train split.
    Folds,
}

impl SeriesKind {
    /// The noun for what differs between the runs: `seed` or `fold`.
    pub fn singular(self) -> &'static str {
        match self {
            Self::Seeds => "seed",
            Self::Folds => "fold",
        }
    }
}

/// One of the runs.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SeriesRun {
    /// Its name, which is also that of its directory: `seed-1`.
    pub name: String,
    /// Entity precision, recall and F1 at its best evaluation.
    pub dev: Prf,
    /// Entity F1 of each type at its best evaluation.
    pub type_f1: BTreeMap<String, f64>,
    /// Entity F1 on the test split, if it was evaluated.
    pub test_f1: Option<f64>,
    /// Seconds of training.
    pub seconds: f64,
    /// Steps, and entity F1 after them.
    pub f1_curve: Vec<(f64, f64)>,
    /// Steps, and the negative log-likelihood of the dev labels after them.
    pub loss_curve: Vec<(f64, f64)>,
}

/// The content of the page.
#[derive(Clone, Debug, PartialEq)]
pub struct SeriesReport {
    /// The name of the directory.
    pub name: String,
    /// What tells the runs apart.
    pub kind: SeriesKind,
    /// The runs.
    pub runs: Vec<SeriesRun>,
    /// The gold labels that all models that were not trained on them contradict, the surest first.
    pub contradictions: Vec<Contradiction>,
    /// The configuration that the runs have in common: names and values.
    pub configuration: Vec<(String, String)>,
}

impl SeriesReport {
    /// Writes the page as `report.html` into the directory of the runs and returns its path.
    pub fn write(&self, dir: &Path) -> Result<PathBuf, ReportError> {
        write(dir.join("report.html"), &self.html())
    }

    /// The page as one HTML document.
    pub fn html(&self) -> String {
        let mut sections = vec![
            Section::new("Results", self.results()),
            Section::new("Training", self.curves()),
        ];
        let title = match self.kind {
            SeriesKind::Seeds => "Gold labels that every seed contradicts",
            SeriesKind::Folds => "Gold labels that the held-out model contradicts",
        };
        sections.push(Section::new(title, self.contradicted()));
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

    fn lead(&self) -> String {
        let f1: Vec<f64> = self.runs.iter().map(|run| run.dev.f1).collect();
        let Some(spread) = Spread::of(&f1) else {
            return String::new();
        };
        let deviation = spread.deviation.map_or_else(String::new, |of| {
            format!(", standard deviation {}", format_percent(of))
        });
        let split = match self.kind {
            SeriesKind::Seeds => "dev",
            SeriesKind::Folds => "the held-out folds",
        };
        format!(
            "Mean entity F1 of {} {}s on {split}: {}{deviation}.",
            self.runs.len(),
            self.kind.singular(),
            format_percent(spread.mean)
        )
    }

    fn results(&self) -> Markup {
        let is_tested = self.runs.iter().any(|run| run.test_f1.is_some());
        let mut header = vec![self.kind.singular(), "precision %", "recall %", "F1 %"];
        header.extend(is_tested.then_some("test F1 %"));
        header.push("minutes of training");
        let cells = |of: [f64; 3], test: Option<f64>, seconds: f64| -> Vec<Markup> {
            let mut cells: Vec<Markup> = of.map(|value| html! { (format_percent(value)) }).into();
            if is_tested {
                cells.push(html! { (test.map_or_else(String::new, format_percent)) });
            }
            cells.push(html! { (format!("{:.1}", seconds / 60.0)) });
            cells
        };
        let mut rows: Vec<Vec<Markup>> = Vec::new();
        for run in &self.runs {
            let link = format!("{}/report.html", run.name);
            let mut row = vec![html! { a href=(link) { (run.name) } }];
            let Prf {
                precision,
                recall,
                f1,
            } = run.dev;
            row.extend(cells([precision, recall, f1], run.test_f1, run.seconds));
            rows.push(row);
        }
        type Of = fn(&SeriesRun) -> f64;
        let columns: [Of; 3] = [|run| run.dev.precision, |run| run.dev.recall, |run| run.dev.f1];
        let spread = |of: &dyn Fn(&SeriesRun) -> f64| {
            let values: Vec<f64> = self.runs.iter().map(of).collect();
            Spread::of(&values)
        };
        let of_tests = || spread(&|run: &SeriesRun| run.test_f1.unwrap_or(f64::NAN));
        type Part = fn(Spread) -> f64;
        let summaries: [(&str, Part); 2] = [
            ("mean", |spread| spread.mean),
            ("standard deviation", |spread| {
                spread.deviation.unwrap_or(f64::NAN)
            }),
        ];
        for (name, part) in summaries {
            let value = |spread: Option<Spread>| spread.map_or(f64::NAN, part);
            let mut row = vec![html! { (name) }];
            row.extend(cells(
                columns.map(|column| value(spread(&column))),
                Some(value(of_tests())),
                value(spread(&|run: &SeriesRun| run.seconds)),
            ));
            rows.push(row);
        }
        html! {
            (table(&header, rows))
            (self.types())
        }
    }

    /// The mean and the deviation of F1 of each type; a run in which a type does not occur does not count for it.
    fn types(&self) -> Markup {
        let names: BTreeSet<&String> = self.runs.iter().flat_map(|run| run.type_f1.keys()).collect();
        let rows = names.into_iter().filter_map(|name| {
            let values: Vec<f64> = self
                .runs
                .iter()
                .filter_map(|run| run.type_f1.get(name).copied())
                .collect();
            let spread = Spread::of(&values)?;
            Some([
                name.clone(),
                format_percent(spread.mean),
                format_percent(spread.deviation.unwrap_or(f64::NAN)),
            ])
        });
        let rows: Vec<[String; 3]> = rows.collect();
        html! {
            @if !rows.is_empty() { (table(&["type", "mean F1 %", "standard deviation"], rows)) }
        }
    }

    fn curves(&self) -> Markup {
        let chart = |title: &str, y_label: &str, curve: fn(&SeriesRun) -> &Vec<(f64, f64)>| LineChart {
            title: title.to_owned(),
            x_label: "step".to_owned(),
            y_label: y_label.to_owned(),
            series: self
                .runs
                .iter()
                .map(|run| Series::new(run.name.clone(), curve(run).clone()))
                .collect(),
            y_includes: vec![0.0],
            ..LineChart::default()
        };
        figures(&[
            chart("Entity F1", "F1", |run| &run.f1_curve).figure(),
            chart("Negative log-likelihood", "nats per word", |run| &run.loss_curve).figure(),
        ])
    }

    fn contradicted(&self) -> Markup {
        let (open, rest) = self.contradictions.split_at(SHOWN.min(self.contradictions.len()));
        let folded = &rest[..COLLAPSED.min(rest.len())];
        let judges = match self.kind {
            SeriesKind::Seeds => {
                "The best checkpoints of all seeds give the same answer, and it is not the gold label. "
            }
            SeriesKind::Folds => {
                "Each training sentence is judged by the model that did not see it, and its answer is not the gold label. "
            }
        };
        html! {
            p {
                (judges) "A person should check these sentences first: either the label is wrong, or the sentence is hard. \
                 They are sorted by confidence, the mean probability of the labels of the marked words. "
                (self.contradictions.len()) " are found"
                @if folded.len() < rest.len() { "; the first " (SHOWN + COLLAPSED) " are listed" }
                "."
            }
            @if !open.is_empty() {
                p class="legend" {
                    span class="gold" { "Gold entities are underlined" } " and " span class="found" { "answers shaded" } "."
                }
                (list(open))
            }
            @if !folded.is_empty() { (details(format!("{} more", folded.len()), &list(folded))) }
        }
    }
}

fn list(contradictions: &[Contradiction]) -> Markup {
    html! {
        ul class="examples" {
            @for found in contradictions {
                li {
                    (marked(&found.error)) " "
                    small {
                        (format_number(found.confidence)) ", " (found.path.display().to_string()) ":" (found.line)
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::evaluate::errors::{EntityError, ErrorKind, ShownEntity};

    fn report() -> SeriesReport {
        let run = |name: &str, f1: f64| SeriesRun {
            name: name.to_owned(),
            dev: Prf { f1, ..Prf::default() },
            type_f1: [("<per>".to_owned(), f1)].into(),
            seconds: 90.0,
            f1_curve: vec![(1.0, 0.1), (2.0, f1)],
            ..SeriesRun::default()
        };
        let error = EntityError {
            kind: ErrorKind::Missed,
            sentence: 3,
            first_word: 0,
            words: vec!["<Ann>".to_owned(), "left".to_owned()],
            cut_before: false,
            cut_after: false,
            gold: Some(ShownEntity {
                start: 0,
                end: 1,
                entity_type: "per".to_owned(),
            }),
            predicted: None,
        };
        SeriesReport {
            name: "a & b".to_owned(),
            kind: SeriesKind::Seeds,
            runs: vec![run("seed-1", 0.5), run("seed-2", 0.6)],
            contradictions: vec![Contradiction {
                error,
                confidence: 0.875,
                path: PathBuf::from("dev<1>.conll"),
                line: 17,
            }],
            configuration: Vec::new(),
        }
    }

    #[test]
    fn the_page_has_the_spread_the_links_and_the_lines_to_check() {
        let html = report().html();
        for expected in [
            "Mean entity F1 of 2 seeds on dev: 55.00, standard deviation 7.07.",
            "<a href=\"seed-1/report.html\">seed-1</a>",
            "<span class=\"gold\">&lt;Ann&gt;</span>",
            "0.875, dev&lt;1&gt;.conll:17",
            "1 are found.",
            "&lt;per&gt;",
        ] {
            assert!(html.contains(expected), "{expected}\n{html}");
        }
        assert!(!html.contains("NaN") && !html.contains("test F1"));
    }

    #[test]
    fn of_many_contradictions_the_rest_is_counted() {
        let mut report = report();
        report.contradictions = vec![report.contradictions[0].clone(); SHOWN + COLLAPSED + 1];
        let html = report.html();
        assert!(html.contains("1001 are found; the first 1000 are listed."));
        assert_eq!(html.matches("dev&lt;1&gt;.conll:17").count(), SHOWN + COLLAPSED);
    }
}
