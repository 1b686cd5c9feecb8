//! The part of the train split that a run of a cross-validation holds out, as a configuration.

use crate::train::config::checks::{check, check_absent};
use crate::train::config::error::OptionError;
use crate::train::options::TrainOptions;

/// The largest number of folds.
const MOST_FOLDS: usize = 1000;

/// A fold of the train split: the run is evaluated on it and trained on the other folds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fold {
    /// The number of the fold, counted from 1.
    pub number: usize,
    /// The number of folds.
    pub of: usize,
}

impl Fold {
    pub(super) fn resolve(options: &TrainOptions) -> Result<Option<Self>, OptionError> {
        match (options.fold, options.folds) {
            (None, None) => Ok(None),
            (Some(_), None) => Err(OptionError::NoEffect {
                option: "fold",
                when: "`folds` is given",
            }),
            (None, Some(_)) => Err(OptionError::Folds),
            (Some(number), Some(of)) => {
                check_folds(of)?;
                let dev = [
                    ("dev", options.dev.is_some()),
                    ("dev_fraction", options.dev_fraction.is_some()),
                    ("dev_seed", options.dev_seed.is_some()),
                ];
                check_absent(&dev, "`folds` is absent")?;
                check(
                    "fold",
                    &number,
                    (1..=of).contains(&number),
                    "from 1 to the number of folds",
                )?;
                Ok(Some(Self { number, of }))
            }
        }
    }
}

/// The options of one run for each of the options' `folds`, each with its own directory `out/fold-N`.
pub(in crate::train) fn fold_options(options: &TrainOptions) -> Result<Vec<TrainOptions>, OptionError> {
    let of = options.folds.ok_or(OptionError::Missing("folds"))?;
    check_folds(of)?;
    if options.seeds.is_some() {
        return Err(OptionError::FoldsAndSeeds);
    }
    if options.fold.is_some() {
        return Err(OptionError::NoEffect {
            option: "fold",
            when: "one fold alone is trained",
        });
    }
    let out = options.out.clone().ok_or(OptionError::Missing("out"))?;
    let of_fold = |number: usize| TrainOptions {
        fold: Some(number),
        out: Some(out.join(format!("fold-{number}"))),
        ..options.clone()
    };
    Ok((1..=of).map(of_fold).collect())
}

fn check_folds(of: usize) -> Result<(), OptionError> {
    check("folds", &of, (2..=MOST_FOLDS).contains(&of), "from 2 to 1000")
}
