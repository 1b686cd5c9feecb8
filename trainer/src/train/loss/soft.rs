//! The loss of a student against its teachers.

use candle_core::{D, Result, Tensor};
use candle_nn::ops::log_softmax;

/// The part of a loss that compares the student's probabilities with those of its teachers (Hinton et al. 2015).
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct SoftLoss {
    /// The temperature that the student's logits are divided by, as the teachers' were.
    pub(crate) temperature: f64,
    /// The weight of this part, above 0 and at most 1.
    pub(crate) weight: f64,
}

impl SoftLoss {
    /// The weighted sum of `weight * temperature^2 * KL(teachers || student)` over the tokens, a differentiable scalar.
    ///
    /// `logits` is `[tokens, labels]`, and `rows` has the teachers' probabilities in this shape. A row of zeros adds nothing.
    /// The square makes up for gradients that shrink with the temperature.
    pub(super) fn sum(&self, logits: &Tensor, rows: &[f32], token_weights: Option<&[f32]>) -> Result<Tensor> {
        let width = logits.dim(D::Minus1)?;
        let scale = self.weight * self.temperature * self.temperature;
        let factor = |token: usize| scale * token_weights.map_or(1.0, |weights| f64::from(weights[token]));
        let mut scaled = Vec::with_capacity(rows.len());
        let mut negative_entropy = 0.0;
        for (token, row) in rows.chunks(width).enumerate() {
            let factor = factor(token);
            for &probability in row.iter() {
                let probability = f64::from(probability);
                scaled.push((factor * probability) as f32);
                if probability > 0.0 {
                    negative_entropy += factor * probability * probability.ln();
                }
            }
        }
        let scaled = Tensor::from_vec(scaled, logits.shape(), logits.device())?;
        let student = log_softmax(&(logits / self.temperature)?, D::Minus1)?;
        (student * scaled)?.sum_all()?.affine(-1.0, negative_entropy)
    }
}
