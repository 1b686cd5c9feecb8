//! The learning rate of a step.

/// Linear warm-up from 0 to `peak` over the first `warmup` share of the steps, then linear decay to 0.
///
/// `step` counts from 0; the step after the last one would have rate 0.
pub fn learning_rate(step: usize, steps: usize, warmup: f64, peak: f64) -> f64 {
    let warm = (steps as f64 * warmup).ceil();
    let at = step as f64;
    if at < warm {
        peak * at / warm
    } else {
        peak * (steps as f64 - at).max(0.0) / (steps as f64 - warm).max(1.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_rises_to_the_peak_and_falls_to_nothing() {
        let rates: Vec<f64> = (0..=10).map(|step| learning_rate(step, 10, 0.2, 8.0)).collect();
        assert_eq!(rates, [0.0, 4.0, 8.0, 7.0, 6.0, 5.0, 4.0, 3.0, 2.0, 1.0, 0.0]);
    }

    #[test]
    fn without_warm_up_it_begins_at_the_peak() {
        assert_eq!(learning_rate(0, 4, 0.0, 1.0), 1.0);
        assert_eq!(learning_rate(0, 1, 1.0, 1.0), 0.0);
        assert_eq!(learning_rate(0, 0, 0.1, 1.0), 0.0);
    }
}
