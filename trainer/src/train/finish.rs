//! The reports of a finished training run.

use std::path::Path;

use crate::base::open::hub_model;
use crate::data::open::hub_dataset;
use crate::evaluate::checkpoint::CheckpointTagger;
use crate::evaluate::detail::{DetailedEvaluation, evaluate_in_detail};
use crate::report::card::{CardName, ModelCard};
use crate::report::point::{EvaluationPoint, StepPoint};
use crate::report::run::configuration::configuration_rows;
use crate::report::run::page::RunReport;
use crate::train::config::TrainConfig;
use crate::train::config::averaging::Averaging;
use crate::train::config::start::InitialModel;
use crate::train::error::TrainError;
use crate::train::notice::Notice;
use crate::train::record::{End, EvaluationRecord, StepRecord, Tested, TestedCheckpoint, Timing, best_of};
use crate::train::subwords::LabeledSubwords;
use nerve_corpus::{Corpus, is_wnut17};
use nerve_repository::ModelAddress;

/// The results of a finished training run.
pub(super) struct Finished<'r> {
    pub(super) steps: &'r [StepRecord],
    pub(super) per_epoch: usize,
    pub(super) records: &'r [EvaluationRecord],
    pub(super) timings: &'r [Timing],
    pub(super) end: End,
    pub(super) test: Option<&'r Tested>,
    pub(super) notices: &'r [Notice],
}

impl Finished<'_> {
    /// Writes `report.html` to the run, and a fitted temperature and a model card to its best checkpoint. The notice says why
    /// no temperature is written.
    pub(super) fn write(
        &self,
        config: &TrainConfig,
        best: &Path,
        mut tagger: CheckpointTagger,
        dev: &Corpus,
    ) -> Result<Option<Notice>, TrainError> {
        let mut found = evaluate_in_detail(&mut tagger, dev)?;
        if let Some(fold) = config.fold {
            found.split = format!("fold {} of {}", fold.number, fold.of);
        }
        let fitted = found.calibration.as_ref();
        let calibration = fitted
            .map(|report| report.to_calibration(found.split.clone()))
            .transpose();
        let (calibration, notice) = match calibration {
            Ok(calibration) => (calibration, None),
            Err(reason) => (None, Some(Notice::NoTemperature(reason))),
        };
        if let Some(calibration) = &calibration {
            calibration.write(best)?;
        }
        let temperature = calibration.map(|calibration| calibration.temperature);
        let configuration = configuration_rows(config.options());
        let name = config.out.file_name().unwrap_or(config.out.as_os_str());
        let name = name.to_string_lossy().into_owned();
        self.card(config, &name, &found, temperature, configuration.clone())
            .write(best)?;
        let report = RunReport {
            name,
            facts: self.facts(config, notice.as_ref()),
            steps: self.steps(),
            evaluations: self.evaluations(),
            dev: Some(found),
            test: self.test.map(|test| test.evaluation.clone()),
            data: self.notices.iter().find_map(|notice| match notice {
                Notice::Corpus(summary) => Some(summary.clone()),
                _ => None,
            }),
            configuration,
        };
        report.write(&config.out)?;
        Ok(notice)
    }

    /// The summary at the top of the report.
    fn facts(&self, config: &TrainConfig, last: Option<&Notice>) -> Vec<(String, String)> {
        let seconds: f64 = self.timings.iter().map(|timing| timing.seconds).sum();
        let tokens: f64 = self.timings.iter().map(|t| t.seconds * t.tokens_per_second).sum();
        let speed = tokens / seconds.max(f64::MIN_POSITIVE);
        let mut facts = vec![
            ("steps".to_owned(), self.steps.len().to_string()),
            ("training took".to_owned(), format!("{:.1} min", seconds / 60.0)),
            ("tokens a second".to_owned(), format!("{speed:.0}")),
            ("threads".to_owned(), config.threads.to_string()),
        ];
        let reason = match (self.end, config.patience, config.max_time) {
            (End::OutOfPatience, Some(patience), _) => Some(format!(
                "no better {} in {patience} evaluations",
                config.select_by.measure()
            )),
            (End::OutOfTime, _, Some(max_time)) => Some(format!("the time limit of {max_time} was reached")),
            _ => None,
        };
        facts.extend(reason.map(|reason| ("ended early".to_owned(), reason)));
        if let Some(test) = self.test {
            let tested = format!("{}, after step {}", test.checkpoint, test.step);
            facts.push(("tested checkpoint".to_owned(), tested));
        }
        // The summary has a section of its own.
        let is_listed = |notice: &&Notice| !matches!(notice, Notice::Corpus(_));
        facts.extend(self.notices.iter().chain(last).filter(is_listed).map(|notice| {
            let name = if notice.is_warning() { "warning" } else { "note" };
            (name.to_owned(), notice.to_string())
        }));
        facts
    }

    fn card(
        &self,
        config: &TrainConfig,
        name: &str,
        dev: &DetailedEvaluation,
        temperature: Option<f64>,
        configuration: Vec<(String, String)>,
    ) -> ModelCard {
        ModelCard {
            name: name.to_owned(),
            license: None,
            language: None,
            base_model: match &config.start {
                InitialModel::Base { base, .. } => {
                    Some(CardName::of(base, hub_model(base).map(|model| model.id)))
                }
                InitialModel::Scratch(_) => None,
            },
            teachers: teachers(config),
            dataset: match &config.data.corpus {
                Some(corpus) if is_wnut17(corpus) => CardName {
                    name: "WNUT 17".to_owned(),
                    id: Some("wnut_17".to_owned()),
                },
                Some(corpus) => CardName::of(corpus, hub_dataset(corpus).map(|dataset| dataset.id)),
                None => CardName::of(&config.data.name(), None),
            },
            every_subword: config.label_subwords == LabeledSubwords::All,
            dev: Some(dev.evaluation.clone()),
            // The card describes the best checkpoint.
            test: self
                .test
                .filter(|test| test.checkpoint == TestedCheckpoint::Best)
                .map(|test| test.evaluation.clone()),
            temperature,
            selection: self.selection(config),
            configuration,
        }
    }

    /// Which of the run's evaluations the best checkpoint is of, and which weights it has.
    fn selection(&self, config: &TrainConfig) -> Option<String> {
        let best = best_of(self.records)?;
        let weights = match (best.averaged, config.averaging) {
            (true, Some(Averaging::Exponential { decay })) => {
                format!("an exponential moving average (decay {decay}) of the weights of all steps")
            }
            (true, Some(Averaging::Stochastic { .. })) => {
                "the mean of the weights of several steps (stochastic weight averaging)".to_owned()
            }
            _ => "the weights".to_owned(),
        };
        Some(format!(
            "This checkpoint has {weights} after step {} of {}, which had the best {} of {} evaluations.",
            best.step,
            self.steps.len(),
            config.select_by.measure(),
            self.records.len()
        ))
    }

    fn steps(&self) -> Vec<StepPoint> {
        let point = |step: &StepRecord| StepPoint {
            step: step.step,
            loss: step.loss,
            learning_rate: step.learning_rate,
            gradient_norm: (!step.skipped).then_some(step.gradient_norm),
        };
        self.steps.iter().map(point).collect()
    }

    fn evaluations(&self) -> Vec<EvaluationPoint> {
        let point = |record: &EvaluationRecord| EvaluationPoint {
            step: record.step,
            epoch: record.step as f64 / self.per_epoch as f64,
            loss: record.loss,
            learning_rate: record.learning_rate,
            precision: record.dev_entity.precision,
            recall: record.dev_entity.recall,
            f1: record.dev_entity.f1,
            surface_f1: record.dev_surface_f1,
            token_accuracy: record.dev_token_accuracy,
            dev_loss: record.dev_loss,
            type_f1: record
                .dev_types
                .iter()
                .map(|(name, score)| (name.clone(), score.entity.f1))
                .collect(),
        };
        self.records.iter().map(point).collect()
    }
}

/// The teachers of a run as a card names them.
fn teachers(config: &TrainConfig) -> Vec<CardName> {
    let teachers = config
        .distillation
        .iter()
        .flat_map(|distillation| &distillation.teachers);
    let name = |teacher: &ModelAddress| {
        let id = match teacher {
            ModelAddress::Hub(model) => Some(model.id.clone()),
            ModelAddress::Local(_) | ModelAddress::ObjectStore(_) => None,
        };
        CardName::of(&teacher.to_string(), id)
    };
    teachers.map(name).collect()
}
