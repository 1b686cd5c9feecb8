//! Update rule, learning rate and clipping, as a configuration.

use crate::train::config::checks::{MOST_EPOCHS, check, check_absent, check_count};
use crate::train::config::error::OptionError;
use crate::train::optimizer::{OptimizerKind, UpdateRule};
use crate::train::options::TrainOptions;
use crate::train::schedule::{Decay, Schedule, ScheduleKind};

/// Update rule, learning rate and clipping.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Optimization {
    /// How a gradient changes the weights.
    pub rule: UpdateRule,
    /// Weight decay of matrices and embeddings.
    pub weight_decay: f64,
    /// Largest norm of the gradient; unlimited if absent.
    pub clip: Option<f64>,
    /// Highest learning rate; where absent, it follows from the size of the model.
    pub learning_rate: Option<f64>,
    /// The learning rate over the steps.
    pub schedule: Schedule,
    /// Highest learning rate of the head; that of the other parameters if absent.
    pub head_learning_rate: Option<f64>,
    /// Learning rate of each layer divided by that of the layer above it.
    pub layer_decay: f64,
}

impl Optimization {
    pub(super) fn resolve(options: &mut TrainOptions) -> Result<Self, OptionError> {
        let found = Self {
            rule: rule(options)?,
            weight_decay: *options.weight_decay.get_or_insert(0.01),
            clip: Some(*options.clip.get_or_insert(1.0)).filter(|&clip| clip != 0.0),
            learning_rate: options.learning_rate,
            schedule: schedule(options)?,
            head_learning_rate: options.head_learning_rate,
            layer_decay: *options.layer_decay.get_or_insert(1.0),
        };
        let positive = |x: f64| x > 0.0 && x.is_finite();
        let rates = [
            ("learning_rate", found.learning_rate),
            ("head_learning_rate", found.head_learning_rate),
        ];
        for (option, rate) in rates {
            let rate = rate.unwrap_or(1.0);
            check(option, &rate, positive(rate), "above 0")?;
        }
        let share = found.layer_decay;
        check(
            "layer_decay",
            &share,
            share > 0.0 && share <= 1.0,
            "above 0, at most 1",
        )?;
        let clip = found.clip.unwrap_or(1.0);
        check("clip", &clip, positive(clip), "at least 0")?;
        let decay = found.weight_decay;
        check("weight_decay", &decay, (0.0..1.0).contains(&decay), "in [0, 1)")?;
        Ok(found)
    }
}

fn rule(options: &mut TrainOptions) -> Result<UpdateRule, OptionError> {
    if *options.optimizer.get_or_insert_default() == OptimizerKind::Adamw {
        let given = [
            ("momentum", options.momentum.is_some()),
            ("nesterov", options.nesterov.is_some()),
        ];
        check_absent(&given, "`optimizer` is sgd")?;
        return Ok(UpdateRule::AdamW);
    }
    if options.learning_rate.is_none() {
        return Err(OptionError::Needed {
            option: "learning_rate",
            when: "`optimizer` is sgd: the default is one of adamw",
        });
    }
    let momentum = *options.momentum.get_or_insert(0.0);
    let nesterov = *options.nesterov.get_or_insert(false);
    check("momentum", &momentum, (0.0..1.0).contains(&momentum), "in [0, 1)")?;
    check_absent(
        &[("nesterov", nesterov && momentum == 0.0)],
        "`momentum` is above 0",
    )?;
    Ok(UpdateRule::Sgd { momentum, nesterov })
}

fn schedule(options: &mut TrainOptions) -> Result<Schedule, OptionError> {
    let kind = *options.schedule.get_or_insert_default();
    let (is_step, is_plateau) = (kind == ScheduleKind::Step, kind == ScheduleKind::Plateau);
    check_absent(
        &[("gamma", options.gamma.is_some() && !is_step && !is_plateau)],
        "`schedule` is step or plateau",
    )?;
    let given = options.step_epochs.is_some() && !is_step;
    check_absent(&[("step_epochs", given)], "`schedule` is step")?;
    let given = options.plateau_patience.is_some() && !is_plateau;
    check_absent(&[("plateau_patience", given)], "`schedule` is plateau")?;
    let warmup = *options.warmup.get_or_insert(0.1);
    check("warmup", &warmup, (0.0..=1.0).contains(&warmup), "in [0, 1]")?;
    Ok(Schedule {
        warmup,
        decay: match kind {
            ScheduleKind::Constant => Decay::Constant,
            ScheduleKind::Linear => Decay::Linear,
            ScheduleKind::Cosine => Decay::Cosine,
            ScheduleKind::Step => Decay::Step {
                gamma: gamma(options)?,
                epochs: step_epochs(options)?,
            },
            ScheduleKind::Plateau => Decay::Plateau {
                gamma: gamma(options)?,
                patience: *options.plateau_patience.get_or_insert(1),
            },
        },
    })
}

fn gamma(options: &mut TrainOptions) -> Result<f64, OptionError> {
    let gamma = *options.gamma.get_or_insert(0.1);
    check("gamma", &gamma, gamma > 0.0 && gamma < 1.0, "in (0, 1)")?;
    Ok(gamma)
}

fn step_epochs(options: &mut TrainOptions) -> Result<usize, OptionError> {
    let epochs = *options.step_epochs.get_or_insert(1);
    check_count("step_epochs", epochs, MOST_EPOCHS)?;
    Ok(epochs)
}
