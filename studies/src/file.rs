//! A study's file: common options, starts, variants, and claims about the variants.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::claim::Claim;
use super::error::StudyError;
use nerve_trainer::{LabeledSubwords, TrainOptions};

/// A study.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Study {
    /// Its name.
    pub name: String,
    /// A description in a few sentences.
    pub about: String,
    /// Number of encoder layers that corresponds to all layers of a pre-trained base.
    pub layers: usize,
    /// Difference of scores, as a fraction, up to which a claim is undecided.
    pub margin: f64,
    /// Options of all variants.
    pub common: TrainOptions,
    /// The models that each variant starts from.
    #[serde(rename = "start")]
    pub starts: Vec<Start>,
    /// The variants.
    #[serde(rename = "variant")]
    pub variants: Vec<Variant>,
    /// The study's conclusions.
    #[serde(rename = "claim", default)]
    pub claims: Vec<Claim>,
}

/// A model that variants start from: random weights or a pre-trained base.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Start {
    /// Its name.
    pub name: String,
    /// Whether windows are padded to the longest and the padding is trained on as `O`, unmasked, as the original study did.
    #[serde(default)]
    pub train_on_padding: bool,
    /// Its options.
    #[serde(default)]
    pub options: TrainOptions,
}

/// One variant.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Variant {
    /// Its id in claims and directories.
    pub id: String,
    /// Its name in the report.
    pub name: String,
    /// The property that is varied.
    pub group: String,
    /// Its options.
    #[serde(default)]
    pub options: TrainOptions,
    /// Options for single starts, by the name of the start.
    #[serde(default)]
    pub from: BTreeMap<String, TrainOptions>,
    /// Starts from which the variant cannot be trained.
    #[serde(default)]
    pub not_from: BTreeSet<String>,
    /// The figures that the study reports for each epoch; one entry may stand for several epochs.
    #[serde(default)]
    pub reported: Vec<ReportedFigures>,
    /// The figures that the study reports for the test split.
    pub reported_test: Option<ReportedFigures>,
}

/// Figures as the original study reports them.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReportedFigures {
    /// The epoch, counted from 1; 0 for the test split.
    #[serde(default)]
    pub epoch: usize,
    /// Mean training loss.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub loss: Option<f64>,
    /// Weighted precision over all positions.
    pub precision: f64,
    /// Accuracy over all positions, which is the weighted recall.
    pub accuracy: f64,
    /// Weighted F1 over all positions.
    pub f1: f64,
}

impl Study {
    /// The study in a file.
    pub fn read(path: &Path) -> Result<Self, StudyError> {
        let text = std::fs::read(path)
            .and_then(nerve_tagging::into_text)
            .map_err(|source| StudyError::Read {
                path: path.to_owned(),
                source,
            })?;
        let study: Self = toml::from_str(&text).map_err(|source| StudyError::Parse {
            path: path.to_owned(),
            source: Box::new(source),
        })?;
        match study.problem() {
            None => Ok(study),
            Some(problem) => Err(StudyError::Inconsistent {
                path: path.to_owned(),
                problem,
            }),
        }
    }

    /// The options of a variant from a start; `None` if it cannot be trained from it.
    pub(super) fn options(&self, variant: &Variant, start: &Start) -> Option<TrainOptions> {
        if variant.not_from.contains(&start.name) {
            return None;
        }
        let own = variant.from.get(&start.name).cloned().unwrap_or_default();
        let options = own.or(variant.options.clone()).or(start.options.clone());
        Some(options.or(self.common.clone()))
    }

    /// Every table of training options, with the part of the study it belongs to.
    fn tables(&self) -> impl Iterator<Item = (String, &TrainOptions)> {
        let starts = self.starts.iter();
        let starts = starts.map(|start| (format!("the start `{}`", start.name), &start.options));
        let variants = self.variants.iter().flat_map(|variant| {
            let name = format!("the variant `{}`", variant.id);
            std::iter::once(&variant.options)
                .chain(variant.from.values())
                .map(move |options| (name.clone(), options))
        });
        std::iter::once(("`common`".to_owned(), &self.common))
            .chain(starts)
            .chain(variants)
    }

    fn problem(&self) -> Option<String> {
        let starts: Vec<&str> = self.starts.iter().map(|start| start.name.as_str()).collect();
        let ids: Vec<&str> = self.variants.iter().map(|variant| variant.id.as_str()).collect();
        if starts.is_empty() || ids.is_empty() {
            return Some("a study needs a start and a variant".to_owned());
        }
        for (place, options) in self.tables() {
            let set = [
                ("data", options.data.is_some()),
                ("base", options.base.is_some()),
                ("vocab", options.vocab.is_some()),
                ("out", options.out.is_some()),
                ("threads", options.threads.is_some()),
                ("wnut17_url", options.wnut17_url.is_some()),
            ];
            if let Some((option, _)) = set.iter().find(|(_, given)| *given) {
                return Some(format!(
                    "`{option}` of {place} is given on the command line; remove it from the file"
                ));
            }
            let changes = [
                ("teacher", options.teacher.is_some()),
                ("word_dropout", options.word_dropout.is_some()),
                ("mention_replacement", options.mention_replacement.is_some()),
                ("case_noise", options.case_noise.is_some()),
                ("hashtag_noise", options.hashtag_noise.is_some()),
                ("symbol_noise", options.symbol_noise.is_some()),
            ];
            if let Some((option, _)) = changes.iter().find(|(_, given)| *given) {
                return Some(format!(
                    "`{option}` of {place}: the metric is of the training sentences as they are; remove it"
                ));
            }
            let files = [
                ("train", options.train.is_some()),
                ("dev", options.dev.is_some()),
                ("test", options.test.is_some()),
                ("dev_fraction", options.dev_fraction.is_some()),
                ("dev_seed", options.dev_seed.is_some()),
                ("map_labels", options.map_labels.is_some()),
            ];
            if let Some((option, _)) = files.iter().find(|(_, given)| *given) {
                return Some(format!(
                    "`{option}` of {place}: every variant has the splits of --data as they are; remove it"
                ));
            }
            if options.seeds.is_some() {
                return Some(format!(
                    "`seeds` of {place}: a variant is trained once; use `seed`"
                ));
            }
        }
        if self.layers == 0 {
            return Some("`layers` must be at least 1".to_owned());
        }
        for (what, names) in [("start", &starts), ("variant", &ids)] {
            let twice = names
                .iter()
                .enumerate()
                .find(|(at, name)| names[..*at].contains(name));
            if let Some((_, name)) = twice {
                return Some(format!("two entries of `{what}` are named `{name}`"));
            }
            // The names become directories.
            let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
            let odd = names
                .iter()
                .find(|name| name.is_empty() || !name.chars().all(is_plain) || name.starts_with('.'));
            if let Some(name) = odd {
                return Some(format!(
                    "the name `{name}` must consist of letters, digits, `-`, `_` and `.`"
                ));
            }
        }
        for variant in &self.variants {
            let named = variant.from.keys().chain(&variant.not_from);
            if let Some(start) = named.into_iter().find(|name| !starts.contains(&name.as_str())) {
                return Some(format!(
                    "variant `{}` names the start `{start}`, which does not exist",
                    variant.id
                ));
            }
        }
        let every_subword = |variant: &Variant, start: &Start| {
            let options = self.options(variant, start);
            options.is_none_or(|options| options.label_subwords == Some(LabeledSubwords::All))
        };
        for variant in &self.variants {
            if !self.starts.iter().all(|start| every_subword(variant, start)) {
                return Some(format!(
                    "variant `{}` needs `label_subwords = \"all\"`: the metric is of every subword",
                    variant.id
                ));
            }
        }
        let known = |point: &&str| ids.contains(&super::claim::split(point).0);
        let mut points = self.claims.iter().flat_map(Claim::points);
        points
            .find(|point| !known(point))
            .map(|point| format!("a claim is about the variant `{point}`, which does not exist"))
    }
}
