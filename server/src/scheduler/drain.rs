//! How fast the queue empties.

use std::time::{Duration, Instant};

/// Over how long the rate is taken: what was taken so long ago counts half.
const HALF_LIFE: Duration = Duration::from_secs(2);
/// The bounds of a waiting time, in seconds: a client that comes back sooner is refused again, and one told to wait
/// longer than a minute is better told by its balancer.
const SHORTEST: u32 = 1;
const LONGEST: u32 = 60;

/// The tokens taken from the queue lately.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct DrainRate {
    // Tokens, each weighted by its age.
    tokens: f64,
    last: Option<Instant>,
    began: Option<Instant>,
}

impl DrainRate {
    /// So many tokens were taken at this time.
    pub(super) fn took(&mut self, tokens: usize, now: Instant) {
        self.tokens = self.tokens * self.decay(now) + tokens as f64;
        self.last = Some(now);
        self.began.get_or_insert(now);
    }

    /// Whole seconds in which so many tokens will have been taken at the rate of late; the longest bound where none was.
    pub(super) fn seconds_for(&self, tokens: usize, now: Instant) -> u32 {
        let rate = self.rate(now);
        if rate <= 0.0 {
            return LONGEST;
        }
        (tokens as f64 / rate)
            .ceil()
            .clamp(f64::from(SHORTEST), f64::from(LONGEST)) as u32
    }

    /// Tokens a second.
    fn rate(&self, now: Instant) -> f64 {
        let Some(began) = self.began else { return 0.0 };
        let half_life = HALF_LIFE.as_secs_f64();
        // A steady rate r leaves r * half_life / ln 2 * (1 - 2^(-age / half_life)) after an age; a first moment is not
        // taken for the whole truth.
        let age = now
            .duration_since(began)
            .max(Duration::from_millis(100))
            .as_secs_f64();
        let seen = half_life / std::f64::consts::LN_2 * (1.0 - (-age / half_life).exp2());
        self.tokens * self.decay(now) / seen
    }

    fn decay(&self, now: Instant) -> f64 {
        self.last.map_or(1.0, |last| {
            (-(now.duration_since(last).as_secs_f64()) / HALF_LIFE.as_secs_f64()).exp2()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_steady_rate_is_found_from_the_start_and_forgotten() {
        let began = Instant::now();
        let at = |ms: u64| began + Duration::from_millis(ms);
        let mut rate = DrainRate::default();
        assert_eq!(rate.seconds_for(1, began), LONGEST);
        for step in 0..=100 {
            rate.took(10, at(step * 10));
        }
        // A thousand tokens a second.
        assert!(
            (rate.rate(at(1000)) - 1000.0).abs() < 50.0,
            "{}",
            rate.rate(at(1000))
        );
        assert_eq!(rate.seconds_for(9_500, at(1000)), 10);
        assert_eq!(rate.seconds_for(1, at(1000)), SHORTEST);
        assert_eq!(rate.seconds_for(1_000_000, at(1000)), LONGEST);
        assert!(rate.rate(at(60_000)) < 1.0);
    }
}
