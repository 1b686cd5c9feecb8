//! How long a run may take.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// The longest duration of a run, written as a number with a unit, such as `90m`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct TimeLimit(Duration);

/// The error of a text that is no duration.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("`{0}` is no duration: give a number above 0 and its unit s, m, h or d, such as 3600s, 90m or 2h")]
pub struct TimeLimitError(String);

/// The units and their seconds, from the largest.
const UNITS: [(&str, u64); 4] = [("d", 86_400), ("h", 3_600), ("m", 60), ("s", 1)];

impl TimeLimit {
    /// The limit in seconds.
    pub fn seconds(self) -> f64 {
        self.0.as_secs_f64()
    }
}

impl FromStr for TimeLimit {
    type Err = TimeLimitError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let parse = || {
            let (number, seconds) = UNITS
                .iter()
                .find_map(|&(unit, seconds)| Some((text.strip_suffix(unit)?, seconds)))?;
            let number: f64 = number.trim().parse().ok()?;
            let limit = Duration::try_from_secs_f64(number * seconds as f64).ok()?;
            (!limit.is_zero()).then_some(Self(limit))
        };
        parse().ok_or_else(|| TimeLimitError(text.to_owned()))
    }
}

impl TryFrom<String> for TimeLimit {
    type Error = TimeLimitError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<TimeLimit> for String {
    fn from(limit: TimeLimit) -> Self {
        limit.to_string()
    }
}

impl fmt::Display for TimeLimit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let whole = |&&(_, seconds): &&(&str, u64)| self.0.as_secs().is_multiple_of(seconds);
        match UNITS.iter().find(whole).filter(|_| self.0.subsec_nanos() == 0) {
            Some((unit, seconds)) => write!(f, "{}{unit}", self.0.as_secs() / seconds),
            None => write!(f, "{}s", self.0.as_secs_f64()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_and_its_unit_are_a_duration() {
        for (text, seconds, written) in [
            ("90m", 5400.0, "90m"),
            ("2h", 7200.0, "2h"),
            ("3600s", 3600.0, "1h"),
            ("1d", 86_400.0, "1d"),
            ("1.5h", 5400.0, "90m"),
            ("0.25s", 0.25, "0.25s"),
        ] {
            let limit: TimeLimit = text.parse().unwrap();
            assert_eq!(limit.seconds(), seconds, "{text}");
            assert_eq!(limit.to_string(), written);
            assert_eq!(written.parse(), Ok(limit));
        }
    }

    #[test]
    fn other_texts_are_refused() {
        for text in ["", "90", "h", "-1h", "0s", "1w", "NaNs", "infs", "1e300d"] {
            let error = text.parse::<TimeLimit>().unwrap_err().to_string();
            assert!(error.contains("such as 3600s"), "{error}");
        }
    }
}
