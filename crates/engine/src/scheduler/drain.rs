//! How fast the queue empties.

use std::time::Duration;

/// The half-life of the rate, in computing time: what was computed so long ago counts half. Idle time does not count,
/// so that the first requests of a burst get an estimate from the last burst.
const HALF_LIFE: Duration = Duration::from_secs(2);
/// The bounds of `Retry-After`, in seconds: a client that returns sooner is refused again, and after a minute the
/// load has changed.
const SHORTEST: u32 = 1;
const LONGEST: u32 = 60;

/// The tokens computed recently, and the time a worker took for them.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct DrainRate {
    // Both are weighted by age.
    tokens: f64,
    seconds: f64,
    /// Whether the measurement is of requests rather than of a warm-up.
    measured: bool,
}

impl DrainRate {
    /// Records a warm-up. It counts until the first request has run.
    pub(super) fn warmed(&mut self, tokens: usize, took: Duration) {
        if !self.measured {
            self.tokens += tokens as f64;
            self.seconds += took.as_secs_f64();
        }
    }

    /// Records a batch of requests.
    pub(super) fn ran(&mut self, tokens: usize, took: Duration) {
        if !self.measured {
            *self = Self {
                measured: true,
                ..Self::default()
            };
        }
        let took = took.as_secs_f64();
        let kept = (-took / HALF_LIFE.as_secs_f64()).exp2();
        self.tokens = self.tokens * kept + tokens as f64;
        self.seconds = self.seconds * kept + took;
    }

    /// Whole seconds in which this number of workers computes this number of tokens; the upper bound if nothing has
    /// been computed yet.
    pub(super) fn seconds_for(&self, tokens: usize, workers: usize) -> u32 {
        let computed = self.tokens * workers as f64;
        if computed <= 0.0 {
            return LONGEST;
        }
        (tokens as f64 * self.seconds / computed)
            .ceil()
            .clamp(f64::from(SHORTEST), f64::from(LONGEST)) as u32
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rate_is_that_of_late_times_the_workers() {
        let mut rate = DrainRate::default();
        assert_eq!(rate.seconds_for(1, 1), LONGEST);
        rate.warmed(1000, Duration::from_secs(10));
        assert_eq!(rate.seconds_for(1_000, 1), 10);
        // A thousand tokens a second.
        rate.ran(10, Duration::from_millis(10));
        assert_eq!(rate.seconds_for(9_500, 1), 10);
        assert_eq!(rate.seconds_for(9_500, 2), 5);
        assert_eq!(rate.seconds_for(1, 1), SHORTEST);
        assert_eq!(rate.seconds_for(1_000_000, 1), LONGEST);
        // Then a hundred, for ten half-lives.
        for _ in 0..2_000 {
            rate.ran(1, Duration::from_millis(10));
        }
        assert_eq!(rate.seconds_for(950, 1), 10);
    }
}
