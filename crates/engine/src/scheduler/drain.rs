//! How fast the queue empties.

use std::time::Duration;

/// Over how much computing the rate is taken: what was computed so long before counts half. Time without work counts for
/// nothing, so that the first of a burst are told what the last one taught.
const HALF_LIFE: Duration = Duration::from_secs(2);
/// The bounds of a waiting time, in seconds: a client that comes back sooner is refused again, and one told to wait
/// longer than a minute is better told by its balancer.
const SHORTEST: u32 = 1;
const LONGEST: u32 = 60;

/// The tokens that were computed lately, and how long a worker took for them.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct DrainRate {
    // Both weighted by age.
    tokens: f64,
    seconds: f64,
    /// Whether they are of requests, and not only of a warm-up.
    measured: bool,
}

impl DrainRate {
    /// A worker took so long for so many tokens before its first request: all that is known until then.
    pub(super) fn warmed(&mut self, tokens: usize, took: Duration) {
        if !self.measured {
            self.tokens += tokens as f64;
            self.seconds += took.as_secs_f64();
        }
    }

    /// A worker took so long for so many tokens of requests.
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

    /// Whole seconds in which so many workers will have computed so many tokens; the longest bound where nothing was
    /// computed yet.
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
