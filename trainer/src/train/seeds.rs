//! Trains one configuration with several seeds.

use std::fs;
use std::path::Path;

use serde::Serialize;

use crate::train::config::TrainConfig;
use crate::train::config::error::OptionError;
use crate::train::error::TrainError;
use crate::train::files::failed;
use crate::train::hook::TrainingHook;
use crate::train::lock::RunLock;
use crate::train::record::{End, TrainReport};
use crate::train::run::{Beginning, train};
use crate::train::run_dir::RunDir;

/// The entity F1 of the training with one seed.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct SeedResult {
    /// The seed.
    pub seed: u64,
    /// Entity F1 on the dev split at the best evaluation.
    pub dev_f1: f64,
    /// Entity F1 on the test split, if the configuration asks for it.
    pub test_f1: Option<f64>,
}

/// The mean and the sample standard deviation of several values.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Spread {
    /// The mean.
    pub mean: f64,
    /// The sample standard deviation; absent for a single value.
    pub deviation: Option<f64>,
}

/// The results of all seeds.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct SeedsReport {
    /// The result of each seed, in the configured order.
    pub seeds: Vec<SeedResult>,
    /// Entity F1 on the dev split.
    pub dev_f1: Spread,
    /// Entity F1 on the test split, if the configuration asks for it.
    pub test_f1: Option<Spread>,
}

impl Spread {
    /// The mean and the deviation of these values; `None` if there are none.
    pub fn of(values: &[f64]) -> Option<Self> {
        let count = values.len() as f64;
        let mean = values.iter().sum::<f64>() / count;
        let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
        (!values.is_empty()).then(|| Self {
            mean,
            deviation: (values.len() > 1).then(|| (squares / (count - 1.0)).sqrt()),
        })
    }
}

/// Trains every configuration and writes `seeds.json` to `out`; `None` if a training was interrupted.
///
/// An error if there is no configuration. `out` is locked until all are trained. On resume, a seed that is finished is not
/// trained, tested or reported again, and a seed that has not started is started.
pub fn train_seeds(
    configs: &[TrainConfig],
    out: &Path,
    beginning: Beginning,
    hooks: &mut [&mut dyn TrainingHook],
) -> Result<Option<SeedsReport>, TrainError> {
    if configs.is_empty() {
        return Err(OptionError::NoSeeds.into());
    }
    fs::create_dir_all(out).map_err(failed(out))?;
    let _lock = RunLock::acquire(out)?;
    let mut seeds = Vec::with_capacity(configs.len());
    for config in configs {
        let started = RunDir::new(&config.out).holds_run();
        let beginning = if started { beginning } else { Beginning::New };
        let report = train(config, beginning, hooks)?;
        if report.end == End::Interrupted {
            return Ok(None);
        }
        seeds.push(result(config.seed, &report));
    }
    let spread = |values: Vec<f64>| Spread::of(&values);
    let dev: Vec<f64> = seeds.iter().map(|seed| seed.dev_f1).collect();
    let test: Option<Vec<f64>> = seeds.iter().map(|seed| seed.test_f1).collect();
    let Some(dev_f1) = spread(dev) else {
        return Ok(None);
    };
    let report = SeedsReport {
        dev_f1,
        test_f1: test.and_then(spread),
        seeds,
    };
    RunDir::new(out).write_json("seeds.json", &report)?;
    Ok(Some(report))
}

fn result(seed: u64, report: &TrainReport) -> SeedResult {
    SeedResult {
        seed,
        dev_f1: report.best_record().map_or(0.0, |record| record.dev_entity.f1),
        test_f1: report.test.as_ref().map(|test| test.evaluation.score.entity.f1),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::write_corpus;
    use crate::train::config::seed_configs;
    use crate::train::hook::StepEvent;
    use crate::train::options::{Init, TrainOptions};

    #[test]
    fn the_directory_of_several_seeds_is_written_by_one_training_at_a_time() {
        struct Intruder<'c>(&'c [TrainConfig], &'c Path, Option<TrainError>);
        impl TrainingHook for Intruder<'_> {
            fn on_step(&mut self, _step: &StepEvent<'_>) -> Result<(), TrainError> {
                if self.2.is_none() {
                    self.2 = train_seeds(self.0, self.1, Beginning::New, &mut []).err();
                }
                Ok(())
            }
        }
        let dir = tempfile::tempdir().unwrap();
        write_corpus(dir.path());
        let out = dir.path().join("run");
        let of_seeds = |seeds| {
            let options = TrainOptions {
                data: Some(dir.path().to_string_lossy().into_owned()),
                out: Some(out.clone()),
                init: Some(Init::Scratch),
                vocab: Some(dir.path().to_owned()),
                hidden_size: Some(32),
                epochs: Some(1),
                seeds: Some(seeds),
                ..TrainOptions::default()
            };
            seed_configs(&options).unwrap()
        };
        let (first, second) = (of_seeds(vec![1]), of_seeds(vec![2]));
        let mut intruder = Intruder(&second, &out, None);
        train_seeds(&first, &out, Beginning::New, &mut [&mut intruder]).unwrap();
        let error = intruder.2.unwrap();
        assert!(
            matches!(&error, TrainError::InUse { dir } if *dir == out),
            "{error}"
        );
        assert!(!out.join("seed-2").exists());
        train_seeds(&second, &out, Beginning::New, &mut []).unwrap();
    }

    #[test]
    fn the_spread_is_the_samples() {
        let spread = Spread::of(&[1.0, 2.0, 4.0]).unwrap();
        assert!((spread.mean - 7.0 / 3.0).abs() < 1e-12);
        assert!((spread.deviation.unwrap() - 1.527_525_231).abs() < 1e-9);
        assert_eq!(Spread::of(&[3.0]).unwrap().deviation, None);
        assert_eq!(Spread::of(&[]), None);
    }
}
