//! A page that compares runs.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use maud::{Markup, html};
use nerve_tagging::Prf;
use serde::Serialize;

use crate::compare::bootstrap::{Bootstrap, Difference};
use crate::report::chart::bar::{Bar, BarChart};
use crate::report::chart::line::{LineChart, Series};
use crate::report::html::{Page, Section, figures, table};
use crate::report::number::format_percent;

/// Values after steps.
type Curve = Vec<(f64, f64)>;

/// Values after steps, a line for each model.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Curves {
    /// The mean training loss since the previous evaluation.
    pub loss: Vec<Curve>,
    /// The negative log-likelihood on dev.
    pub dev_loss: Vec<Curve>,
    /// Entity F1 on dev.
    pub dev_f1: Vec<Curve>,
}

/// A run, or several of one configuration.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct ComparedRun {
    /// Its directory.
    pub name: String,
    /// The number of its models.
    pub models: usize,
    /// Mean entity precision, recall and F1.
    pub entity: Prf,
    /// The standard deviation of the F1 of several models.
    pub deviation: Option<f64>,
    /// Mean entity F1 of each type.
    pub types: BTreeMap<String, f64>,
    /// Seconds of training of all models; 0 for a checkpoint or bundle without a run.
    pub seconds: f64,
    /// How the training went; empty for a model without a run.
    #[serde(skip)]
    pub curves: Curves,
}

/// The difference of two runs.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ComparedPair {
    /// The index of the run that the other is compared with.
    pub one: usize,
    /// The index of the other.
    pub other: usize,
    /// The F1 of the other less that of the one.
    pub difference: Difference,
}

/// An option in which runs differ.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Setting {
    /// The option.
    pub option: String,
    /// Its value in each run; absent where a run has none.
    pub values: Vec<Option<String>>,
}

/// Several runs on the same sentences.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Comparison {
    /// What a user should know of the file that the runs are evaluated on instead of dev, in a sentence each.
    #[serde(skip)]
    pub warnings: Vec<String>,
    /// The name of the file without its extension, such as `dev`.
    pub split: String,
    /// The file.
    pub path: PathBuf,
    /// Its sentences.
    pub sentences: usize,
    /// How the differences are resampled.
    pub bootstrap: Bootstrap,
    /// The runs.
    pub runs: Vec<ComparedRun>,
    /// Each run but the first one, compared with it.
    pub pairs: Vec<ComparedPair>,
    /// The options in which the runs differ.
    pub settings: Vec<Setting>,
}

impl Comparison {
    /// The page as one HTML document.
    pub fn html(&self) -> String {
        let mut sections = vec![
            Section::new("Is the difference real?", self.differences()),
            Section::new("Scores", self.scores()),
        ];
        if !self.settings.is_empty() {
            sections.push(Section::new("Settings that differ", self.different_settings()));
        }
        if self.runs.iter().any(|run| !run.curves.dev_f1.is_empty()) {
            sections.push(Section::new("Training", self.curves()));
        }
        let names: Vec<&str> = self.runs.iter().map(|run| run.name.as_str()).collect();
        Page {
            title: names.join(", "),
            lead: format!(
                "The best checkpoints on {} sentences of {}.",
                self.sentences,
                self.path.display()
            ),
            sections,
        }
        .html()
    }

    fn differences(&self) -> Markup {
        let rows = self.pairs.iter().map(|pair| {
            let of = &pair.difference;
            let signed = |value: f64| format!("{:+.2}", 100.0 * value);
            [
                format!("{} less {}", self.runs[pair.other].name, self.runs[pair.one].name),
                signed(of.f1),
                format!("{} to {}", signed(of.low), signed(of.high)),
                format!("{:.4}", of.p),
                match of.is_significant() {
                    true => "yes".to_owned(),
                    false => "no evidence".to_owned(),
                },
            ]
        });
        html! {
            p {
                "The paired bootstrap (Koehn 2004) draws the sentences " (self.bootstrap.resamples)
                " times with replacement, the same ones for both runs, and of a run with several models as many models. The interval holds \
                 95% of the differences. p is twice the share of the draws whose difference is 0 or has the less frequent sign, at most 1; the sentences \
                 as they are count as one draw. A \
                 difference of checkpoints that were chosen on these sentences flatters the run that tried more."
            }
            (table(&["entity F1, points", "difference", "95% interval", "p", "significant"], rows))
        }
    }

    fn scores(&self) -> Markup {
        let rows = self.runs.iter().map(|run| {
            [
                run.name.clone(),
                run.models.to_string(),
                format_percent(run.entity.precision),
                format_percent(run.entity.recall),
                format_percent(run.entity.f1),
                format_percent(run.deviation.unwrap_or(f64::NAN)),
                format!("{:.1}", run.seconds / 60.0),
            ]
        });
        let header = [
            "run",
            "models",
            "precision %",
            "recall %",
            "F1 %",
            "standard deviation",
            "minutes of training",
        ];
        let types: BTreeSet<&String> = self.runs.iter().flat_map(|run| run.types.keys()).collect();
        let of_type = |name: &String| -> Vec<f64> {
            let f1 = |run: &ComparedRun| run.types.get(name).copied().unwrap_or(f64::NAN);
            self.runs.iter().map(f1).collect()
        };
        let names: Vec<&str> = std::iter::once("type")
            .chain(self.runs.iter().map(|run| run.name.as_str()))
            .collect();
        let by_type = types.iter().map(|&name| {
            let f1 = of_type(name).into_iter().map(format_percent);
            std::iter::once(name.clone()).chain(f1)
        });
        let chart = BarChart {
            title: "Entity F1 by type".to_owned(),
            x_label: "F1".to_owned(),
            series: self.runs.iter().map(|run| run.name.clone()).collect(),
            bars: types
                .iter()
                .map(|&name| Bar {
                    name: name.clone(),
                    values: of_type(name),
                })
                .collect(),
        };
        html! {
            (table(&header, rows))
            @if !types.is_empty() {
                (figures(&[chart.figure()]))
                (table(&names, by_type))
            }
        }
    }

    fn different_settings(&self) -> Markup {
        let header: Vec<&str> = std::iter::once("option")
            .chain(self.runs.iter().map(|run| run.name.as_str()))
            .collect();
        let rows = self.settings.iter().map(|setting| {
            let values = setting.values.iter();
            let values = values.map(|value| value.clone().unwrap_or_else(|| "–".to_owned()));
            std::iter::once(setting.option.clone()).chain(values)
        });
        table(&header, rows)
    }

    fn curves(&self) -> Markup {
        let chart = |title: &str, y_label: &str, of: fn(&Curves) -> &Vec<Curve>| LineChart {
            title: title.to_owned(),
            x_label: "step".to_owned(),
            y_label: y_label.to_owned(),
            series: self
                .runs
                .iter()
                .flat_map(|run| lines(&run.name, of(&run.curves)))
                .collect(),
            y_includes: vec![0.0],
            ..LineChart::default()
        };
        figures(&[
            chart("Dev entity F1", "F1", |curves| &curves.dev_f1).figure(),
            chart("Training loss", "loss since the previous evaluation", |curves| {
                &curves.loss
            })
            .figure(),
            chart("Dev loss", "nats per word", |curves| &curves.dev_loss).figure(),
        ])
    }
}

/// The line of a run; of several models the mean, in front of the pale lines of each.
fn lines(name: &str, models: &[Curve]) -> Vec<Series> {
    let [first, others @ ..] = models else {
        return vec![Series::new(name, Vec::new())];
    };
    if others.is_empty() {
        return vec![Series::new(name, first.clone())];
    }
    let at = |curve: &Curve, step: f64| {
        let point = curve.iter().find(|point| point.0 == step);
        point.map(|point| point.1)
    };
    let mean = first.iter().filter_map(|&(step, _)| {
        let values: Option<Vec<f64>> = models.iter().map(|curve| at(curve, step)).collect();
        Some((step, values?.iter().sum::<f64>() / models.len() as f64))
    });
    let pale = models
        .iter()
        .map(|curve| Series::new(name, curve.clone()).faint());
    pale.chain([Series::new(name, mean.collect())]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(name: &str, f1: f64, models: usize) -> ComparedRun {
        let curve = vec![vec![(1.0, 0.1), (2.0, f1)]; models];
        ComparedRun {
            name: name.to_owned(),
            models,
            entity: Prf { f1, ..Prf::default() },
            types: [("<per>".to_owned(), f1)].into(),
            seconds: 60.0,
            curves: Curves {
                loss: curve.clone(),
                dev_loss: Vec::new(),
                dev_f1: curve,
            },
            ..ComparedRun::default()
        }
    }

    #[test]
    fn the_page_has_differences_scores_settings_and_curves() {
        let comparison = Comparison {
            warnings: Vec::new(),
            split: "dev".to_owned(),
            path: PathBuf::from("dev.conll"),
            sentences: 7,
            bootstrap: Bootstrap {
                resamples: 1000,
                seed: 1,
            },
            runs: vec![run("a<1>", 0.5, 1), run("b", 0.25, 3)],
            pairs: vec![ComparedPair {
                one: 0,
                other: 1,
                difference: Difference {
                    f1: -0.25,
                    low: -0.5,
                    high: 0.125,
                    p: 0.2,
                },
            }],
            settings: vec![Setting {
                option: "epochs".to_owned(),
                values: vec![Some("3".to_owned()), None],
            }],
        };
        let html = comparison.html();
        for expected in [
            "b less a&lt;1&gt;",
            "-25.00",
            "-50.00 to +12.50",
            "no evidence",
            "&lt;per&gt;",
            "epochs",
            "7 sentences of dev.conll",
        ] {
            assert!(html.contains(expected), "{expected}\n{html}");
        }
        // Bars by type, and three charts of curves.
        assert_eq!(html.matches("<svg ").count(), 4);
        // The three models of the second run are pale lines behind their mean.
        let pale = html
            .matches("stroke=\"var(--series-2)\" stroke-width=\"2\"")
            .count();
        assert_eq!(pale, 6, "{html}");
        assert!(!html.contains("NaN") && !html.contains("<per>"));
    }
}
