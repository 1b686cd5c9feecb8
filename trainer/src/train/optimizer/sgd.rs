//! The update rule of stochastic gradient descent with momentum (Sutskever et al. 2013), as in PyTorch.

use candle_core::{Result, Tensor};
use pulp::Arch;

use crate::train::optimizer::update;

/// The coefficients of one step.
#[derive(Clone, Copy)]
pub(super) struct Update {
    scale: f32,
    rate: f32,
    decay: f32,
    momentum: f32,
    nesterov: bool,
}

impl Update {
    /// The update of a step; gradients are multiplied by `scale`.
    pub(super) fn new(
        learning_rate: f64,
        weight_decay: f64,
        scale: f64,
        momentum: f64,
        nesterov: bool,
    ) -> Self {
        Self {
            scale: scale as f32,
            rate: learning_rate as f32,
            decay: weight_decay as f32,
            momentum: momentum as f32,
            nesterov,
        }
    }
}

impl update::Update for Update {
    fn apply(&self, weights: &mut [f32], gradient: &[f32], moments: &mut [&mut [f32]]) {
        let Some(buffer) = moments.first_mut() else {
            Arch::new().dispatch(
                #[inline(always)]
                || {
                    for (weight, gradient) in weights.iter_mut().zip(gradient) {
                        *weight -= self.rate * (gradient * self.scale + self.decay * *weight);
                    }
                },
            );
            return;
        };
        // PyTorch initializes the buffer with the first gradient; a buffer of 0 yields the same first step.
        let ahead = if self.nesterov { self.momentum } else { 1.0 };
        let now = if self.nesterov { 1.0 } else { 0.0 };
        Arch::new().dispatch(
            #[inline(always)]
            || {
                for ((weight, gradient), buffer) in weights.iter_mut().zip(gradient).zip(buffer.iter_mut()) {
                    let g = gradient * self.scale + self.decay * *weight;
                    *buffer = self.momentum * *buffer + g;
                    *weight -= self.rate * (now * g + ahead * *buffer);
                }
            },
        );
    }

    fn apply_untouched(&self, _weights: &mut [f32]) -> bool {
        // With weight decay, the weights themselves contribute to the momentum. So a weight without a gradient can be
        // skipped only if it has no decay.
        self.decay == 0.0
    }

    fn apply_tensors(&self, weights: &Tensor, gradient: &Tensor, moments: &mut [Tensor]) -> Result<Tensor> {
        let g = ((gradient * f64::from(self.scale))? + (weights * f64::from(self.decay))?)?;
        let step = match moments.first_mut() {
            None => g,
            Some(buffer) => {
                *buffer = ((&*buffer * f64::from(self.momentum))? + &g)?;
                match self.nesterov {
                    true => (g + (&*buffer * f64::from(self.momentum))?)?,
                    false => buffer.clone(),
                }
            }
        };
        weights - (step * f64::from(self.rate))?
    }
}
