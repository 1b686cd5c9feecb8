//! The arrival times of the requests of an open loop.

use std::time::Duration;

/// The arrival times of a Poisson process since its start, as an infinite iterator.
pub(crate) struct Arrivals {
    rate: f64,
    seconds: f64,
    random: fastrand::Rng,
}

impl Arrivals {
    /// A process with `rate` arrivals per second on average.
    pub(crate) fn new(rate: f64, seed: u64) -> Self {
        Self {
            rate,
            seconds: 0.0,
            random: fastrand::Rng::with_seed(seed),
        }
    }
}

impl Iterator for Arrivals {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        // 1 - u is above 0, so the logarithm is finite.
        self.seconds -= (1.0 - self.random.f64()).ln() / self.rate;
        Duration::try_from_secs_f64(self.seconds).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gaps_are_exponential() {
        let times: Vec<f64> = Arrivals::new(200.0, 7)
            .take(20_000)
            .map(|time| time.as_secs_f64())
            .collect();
        let gaps: Vec<f64> = times.windows(2).map(|pair| pair[1] - pair[0]).collect();
        let mean = gaps.iter().sum::<f64>() / gaps.len() as f64;
        let variance = gaps.iter().map(|gap| (gap - mean).powi(2)).sum::<f64>() / gaps.len() as f64;
        assert!((mean * 200.0 - 1.0).abs() < 0.03, "{mean}");
        // The standard deviation of an exponential distribution equals its mean.
        assert!((variance.sqrt() / mean - 1.0).abs() < 0.05, "{variance}");
    }
}
