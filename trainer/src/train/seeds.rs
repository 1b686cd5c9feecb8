//! Trains one configuration with several seeds.

use std::fs;
use std::path::Path;

use serde::Serialize;

use crate::report::series::SeriesKind;
use crate::train::config::TrainConfig;
use crate::train::config::error::OptionError;
use crate::train::error::TrainError;
use crate::train::files::failed;
use crate::train::hook::TrainingHook;
use crate::train::lock::RunLock;
use crate::train::run::Beginning;
use crate::train::series::{spreads, train_each, write_reports};
use crate::train::spread::Spread;

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

/// Trains every configuration and writes `seeds.json` and `report.html` to `out`; `None` if a training was interrupted.
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
    let Some(runs) = train_each(configs, beginning, hooks)? else {
        return Ok(None);
    };
    let seeds = configs.iter().zip(&runs).map(|(config, run)| SeedResult {
        seed: config.seed,
        dev_f1: run.dev,
        test_f1: run.test,
    });
    let (dev, test) = spreads(&runs);
    let report = SeedsReport {
        seeds: seeds.collect(),
        dev_f1: dev.ok_or(OptionError::NoSeeds)?,
        test_f1: test,
    };
    write_reports(out, ("seeds.json", &report), SeriesKind::Seeds, configs, &runs)?;
    Ok(Some(report))
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
}
