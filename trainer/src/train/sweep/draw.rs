//! The values of an option that a random search draws from.

use rand::Rng;
use rand::rngs::StdRng;
use toml::Value;

/// Significant digits of a drawn number, so that names of directories and command lines stay short.
const DIGITS: usize = 3;

/// What the values of one option are drawn from.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Draw {
    /// One of these.
    Choice(Vec<Value>),
    /// A number in a range, both ends included; its logarithm is uniform if `log`.
    Float { low: f64, high: f64, log: bool },
    /// A whole number in a range, both ends included; its logarithm is uniform, before it is rounded, if `log`.
    Integer { low: i64, high: i64, log: bool },
}

impl Draw {
    /// What a value of the table `[random]` means for an option, which takes fractions or not.
    pub(super) fn of(value: &Value, takes_fractions: bool) -> Result<Self, &'static str> {
        let range = match value {
            Value::Array(values) if !values.is_empty() => return Ok(Self::Choice(values.clone())),
            Value::Table(range) => range,
            _ => {
                return Err(
                    "give a list of values, or a range such as { low = 1e-5, high = 1e-3, log = true }",
                );
            }
        };
        if range
            .keys()
            .any(|key| !["low", "high", "log"].contains(&key.as_str()))
        {
            return Err("a range has the keys low, high and log");
        }
        let log = match range.get("log") {
            None => false,
            Some(Value::Boolean(log)) => *log,
            Some(_) => return Err("log is true or false"),
        };
        let (Some(low), Some(high)) = (range.get("low"), range.get("high")) else {
            return Err("a range has a low and a high number");
        };
        let (Some(least), Some(greatest)) = (number(low), number(high)) else {
            return Err("low and high are numbers");
        };
        if !(least.is_finite() && greatest.is_finite() && least < greatest) {
            return Err("low must be less than high");
        }
        if log && least <= 0.0 {
            return Err("low must be above 0 where log is true");
        }
        match (low, high) {
            (Value::Integer(low), Value::Integer(high)) if !takes_fractions => Ok(Self::Integer {
                low: *low,
                high: *high,
                log,
            }),
            _ => Ok(Self::Float {
                low: least,
                high: greatest,
                log,
            }),
        }
    }

    /// Values that show whether the option takes what is drawn.
    pub(super) fn examples(&self) -> Vec<Value> {
        match self {
            Self::Choice(values) => values.clone(),
            Self::Float { low, high, .. } => vec![Value::Float(*low), Value::Float(*high)],
            Self::Integer { low, high, .. } => vec![Value::Integer(*low), Value::Integer(*high)],
        }
    }

    pub(super) fn draw(&self, generator: &mut StdRng) -> Value {
        match self {
            Self::Choice(values) => values[generator.random_range(0..values.len())].clone(),
            Self::Float { low, high, log } => {
                let drawn = between(*low, *high, *log, generator);
                // A rounded number may lie outside of the range.
                Value::Float(rounded(drawn).clamp(*low, *high))
            }
            Self::Integer {
                low,
                high,
                log: false,
            } => Value::Integer(generator.random_range(*low..=*high)),
            Self::Integer { low, high, log: true } => {
                let drawn = between(*low as f64, *high as f64, true, generator);
                Value::Integer((drawn.round() as i64).clamp(*low, *high))
            }
        }
    }
}

fn between(low: f64, high: f64, log: bool, generator: &mut StdRng) -> f64 {
    let share: f64 = generator.random();
    match log {
        true => (low.ln() + share * (high.ln() - low.ln())).exp(),
        false => low + share * (high - low),
    }
}

fn rounded(value: f64) -> f64 {
    let text = format!("{value:.*e}", DIGITS - 1);
    // What Rust writes, it reads.
    text.parse().unwrap_or(value)
}

/// A TOML number; `None` for other values.
pub(crate) fn number(value: &Value) -> Option<f64> {
    match value {
        Value::Integer(value) => Some(*value as f64),
        Value::Float(value) => Some(*value),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng;

    fn of(text: &str, takes_fractions: bool) -> Result<Draw, &'static str> {
        let table: toml::Table = toml::from_str(&format!("x = {text}")).unwrap();
        Draw::of(&table["x"], takes_fractions)
    }

    #[test]
    fn drawn_numbers_are_short_in_their_range_and_spread_over_magnitudes() {
        let mut generator = StdRng::seed_from_u64(1);
        let mut draws = |text: &str, takes_fractions| -> Vec<f64> {
            let draw = of(text, takes_fractions).unwrap();
            (0..400)
                .map(|_| number(&draw.draw(&mut generator)).unwrap())
                .collect()
        };
        let share = |of: &[f64], below: f64| of.iter().filter(|value| **value < below).count() as f64 / 400.0;
        let log = draws("{ low = 1e-5, high = 1e-3, log = true }", true);
        assert!(log.iter().all(|value| (1e-5..=1e-3).contains(value)));
        assert!((share(&log, 1e-4) - 0.5).abs() < 0.1);
        assert!(log.iter().all(|value| *value == rounded(*value)));
        let linear = draws("{ low = 0, high = 1 }", true);
        assert!((share(&linear, 0.5) - 0.5).abs() < 0.1 && linear.iter().any(|value| value.fract() > 0.0));
        let whole = draws("{ low = 2, high = 4 }", false);
        for value in [2.0, 3.0, 4.0] {
            assert!(whole.contains(&value));
        }
        assert!(whole.iter().all(|value| value.fract() == 0.0));
        let of_list = draws("[16, 32]", false);
        assert!(of_list.contains(&16.0) && of_list.contains(&32.0));
    }

    #[test]
    fn what_is_no_range_is_refused() {
        for text in [
            "1",
            "[]",
            "{ low = 1 }",
            "{ low = 2, high = 1 }",
            "{ low = 0, high = 1, log = true }",
            "{ low = 0, high = 1, step = 1 }",
            "{ low = \"a\", high = 1 }",
        ] {
            assert!(of(text, true).is_err(), "{text}");
        }
    }
}
