//! The update rule of AdamW (Loshchilov and Hutter 2019).

use candle_core::{Result, Tensor};
use pulp::Arch;

use crate::train::optimizer::update;

/// The exponential decay rates and the epsilon of the denominator, as in the paper and in PyTorch.
const BETA1: f32 = 0.9;
const BETA2: f32 = 0.999;
const EPS: f32 = 1e-8;

/// The coefficients of one step.
#[derive(Clone, Copy)]
pub(super) struct Update {
    scale: f32,
    step_size: f32,
    root_correction: f32,
    keep: f32,
}

impl Update {
    /// The update of a step, counted from 1; gradients are multiplied by `scale`.
    pub(super) fn new(step: usize, learning_rate: f64, weight_decay: f64, scale: f64) -> Self {
        let step = i32::try_from(step).unwrap_or(i32::MAX);
        Self {
            scale: scale as f32,
            step_size: (learning_rate / (1.0 - f64::from(BETA1).powi(step))) as f32,
            root_correction: (1.0 / (1.0 - f64::from(BETA2).powi(step)).sqrt()) as f32,
            keep: (1.0 - learning_rate * weight_decay) as f32,
        }
    }
}

impl update::Update for Update {
    fn apply(&self, weights: &mut [f32], gradient: &[f32], moments: &mut [&mut [f32]]) {
        let [mean, square] = moments else {
            return;
        };
        Arch::new().dispatch(
            #[inline(always)]
            || {
                let moments = mean.iter_mut().zip(square.iter_mut());
                for ((weight, gradient), (mean, square)) in weights.iter_mut().zip(gradient).zip(moments) {
                    let g = gradient * self.scale;
                    *mean = BETA1 * *mean + (1.0 - BETA1) * g;
                    *square = BETA2 * *square + (1.0 - BETA2) * g * g;
                    let root = square.sqrt() * self.root_correction + EPS;
                    *weight = *weight * self.keep - self.step_size * *mean / root;
                }
            },
        );
    }

    fn apply_untouched(&self, weights: &mut [f32]) -> bool {
        for weight in weights {
            *weight *= self.keep;
        }
        true
    }

    fn apply_tensors(&self, weights: &Tensor, gradient: &Tensor, moments: &mut [Tensor]) -> Result<Tensor> {
        let [mean, square] = moments else {
            candle_core::bail!("AdamW has two moments");
        };
        let g = (gradient * f64::from(self.scale))?;
        *mean = ((&*mean * f64::from(BETA1))? + (&g * f64::from(1.0 - BETA1))?)?;
        *square = ((&*square * f64::from(BETA2))? + (g.sqr()? * f64::from(1.0 - BETA2))?)?;
        let root = ((square.sqrt()? * f64::from(self.root_correction))? + f64::from(EPS))?;
        (weights * f64::from(self.keep))? - ((&*mean / root)? * f64::from(self.step_size))?
    }
}
