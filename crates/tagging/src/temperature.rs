//! The temperature of a calibrated model.

/// The divisor of logits before the softmax (Guo et al. 2017, *On Calibration of Modern Neural Networks*): above 1 for an
/// overconfident model, and 1 by default.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Temperature(
    // Invariant: finite and greater than 0.
    f64,
);

impl Temperature {
    /// The temperature with this value. `None` unless the value is finite and greater than 0.
    pub fn new(value: f64) -> Option<Self> {
        (value.is_finite() && value > 0.0).then_some(Self(value))
    }

    /// The value of the temperature.
    pub fn get(self) -> f64 {
        self.0
    }
}

impl Default for Temperature {
    fn default() -> Self {
        Self(1.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_finite_numbers_above_zero_are_temperatures() {
        for value in [0.0, -0.0, -1.0, f64::NAN, f64::INFINITY] {
            assert_eq!(Temperature::new(value), None);
        }
        assert_eq!(Temperature::new(1.0), Some(Temperature::default()));
    }
}
