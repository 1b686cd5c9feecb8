//! Values to positions along an axis, and the round values that label it.

/// Largest magnitude an axis shows: differences of two stay finite.
const LARGEST: f64 = 1e100;

/// One axis: its range of values and where on the drawing they lie.
pub(super) struct Scale {
    min: f64,
    max: f64,
    log: bool,
    ticks: Vec<f64>,
    pixels: (f64, f64),
}

impl Scale {
    /// The axis for these values. `whole` widens a linear range to its outer ticks; a logarithmic one always is.
    pub(super) fn new(values: impl Iterator<Item = f64>, log: bool, whole: bool) -> Self {
        let (mut min, mut max) = (f64::INFINITY, f64::NEG_INFINITY);
        for value in values.filter(|value| shows(*value, log)) {
            min = min.min(value);
            max = max.max(value);
        }
        if min > max {
            (min, max) = if log { (1.0, 10.0) } else { (0.0, 1.0) };
        }
        let (min, max, ticks) = match log {
            true => logarithmic(min, max),
            false => linear(min, max, whole),
        };
        Self {
            min,
            max,
            log,
            ticks,
            pixels: (0.0, 1.0),
        }
    }

    /// The same axis drawn from one position to another.
    pub(super) fn drawn(mut self, from: f64, to: f64) -> Self {
        self.pixels = (from, to);
        self
    }

    /// Where a value lies; `None` for one that the axis cannot show.
    pub(super) fn position(&self, value: f64) -> Option<f64> {
        if !shows(value, self.log) {
            return None;
        }
        let (value, min, max) = match self.log {
            true => (value.log10(), self.min.log10(), self.max.log10()),
            false => (value, self.min, self.max),
        };
        let (from, to) = self.pixels;
        Some(from + (value - min) / (max - min) * (to - from))
    }

    /// The round values of the axis and how they are written.
    pub(super) fn ticks(&self) -> impl Iterator<Item = (f64, String)> {
        let step = match self.ticks.as_slice() {
            [first, second, ..] if !self.log => second - first,
            _ => 0.0,
        };
        let largest = self.min.abs().max(self.max.abs());
        let write = move |tick: &f64| (*tick, tick_label(*tick, step, largest));
        self.ticks.iter().map(write)
    }
}

fn shows(value: f64, log: bool) -> bool {
    value.is_finite() && value.abs() <= LARGEST && (!log || value > 1e-100)
}

fn linear(mut min: f64, mut max: f64, whole: bool) -> (f64, f64, Vec<f64>) {
    // A range that floating point cannot divide has no ticks of its own.
    if max - min <= 1e-9 * min.abs().max(max.abs()) || max - min < 1e-90 {
        let room = if min == 0.0 { 1.0 } else { min.abs() * 0.1 };
        min -= if min == 0.0 { 0.0 } else { room };
        max += room;
    }
    let step = round_step((max - min) / 5.0);
    if whole {
        min = (min / step + 1e-9).floor() * step;
        max = (max / step - 1e-9).ceil() * step;
    }
    let first = (min / step - 1e-9).ceil();
    let count = ((max / step + 1e-9).floor() - first) as usize;
    // Adding 0 turns -0 into 0.
    let ticks = (0..=count.min(20)).map(|index| (first + index as f64) * step + 0.0);
    (min, max, ticks.collect())
}

/// The least of 1, 2 and 5 times a power of ten that is not much less than `step`.
fn round_step(step: f64) -> f64 {
    let step = 0.7 * step;
    let power = 10_f64.powf(step.log10().floor());
    let round = [1.0, 2.0, 5.0].map(|factor| factor * power);
    let found = round.into_iter().find(|round| *round >= step * (1.0 - 1e-9));
    found.unwrap_or(10.0 * power)
}

fn logarithmic(min: f64, max: f64) -> (f64, f64, Vec<f64>) {
    let decades = max.log10().ceil() - min.log10().floor();
    let factors: &[f64] = if decades <= 3.0 { &[1.0, 2.0, 5.0] } else { &[1.0] };
    let stride = (decades / 8.0).ceil().max(1.0) as usize;
    let (first, last) = (min.log10().floor() as i32, max.log10().ceil() as i32);
    let powers = (first..=last + stride as i32).step_by(stride);
    let all: Vec<f64> = powers
        .flat_map(|power| factors.iter().map(move |factor| rounded_power(*factor, power)))
        .collect();
    let start = all
        .iter()
        .rposition(|tick| *tick <= min * (1.0 + 1e-9))
        .unwrap_or(0);
    let end = all
        .iter()
        .position(|tick| *tick >= max * (1.0 - 1e-9))
        .unwrap_or(all.len() - 1);
    let end = end.max(start + 1).min(all.len() - 1);
    (all[start], all[end], all[start..=end].to_vec())
}

/// `factor` times a power of ten, free of the error of a product: `0.0002`, not `0.00019999...`.
fn rounded_power(factor: f64, power: i32) -> f64 {
    match power < 0 {
        true => factor / 10_f64.powi(-power),
        false => factor * 10_f64.powi(power),
    }
}

/// How a tick is written: as many decimals as its step needs, thousands and millions short, the very small and the
/// very large with an exponent. A `step` of 0 says that the ticks lie decades apart.
fn tick_label(tick: f64, step: f64, largest: f64) -> String {
    if tick == 0.0 {
        return "0".to_owned();
    }
    let size = if step == 0.0 { tick.abs() } else { largest };
    let (unit, suffix) = match size {
        ..1e-3 => return exponent(tick),
        ..1e4 => (1.0, ""),
        ..1e6 => (1e3, "k"),
        ..1e10 => (1e6, "M"),
        _ => return exponent(tick),
    };
    let finest = if step == 0.0 { tick.abs() } else { step };
    let decimals = (-((finest / unit).log10() + 1e-9).floor()).clamp(0.0, 12.0) as usize;
    format!("{:.decimals$}{suffix}", tick / unit)
}

fn exponent(value: f64) -> String {
    let text = format!("{value:.2e}");
    match text.split_once('e') {
        Some((digits, power)) => {
            let digits = digits.trim_end_matches('0').trim_end_matches('.');
            format!("{digits}e{power}")
        }
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(values: &[f64], log: bool, whole: bool) -> Vec<String> {
        let scale = Scale::new(values.iter().copied(), log, whole);
        scale.ticks().map(|(_, label)| label).collect()
    }

    #[test]
    fn ticks_are_round() {
        assert_eq!(
            labels(&[0.0, 1.0], false, true),
            ["0", "0.2", "0.4", "0.6", "0.8", "1.0"]
        );
        assert_eq!(
            labels(&[0.42, 0.568], false, true),
            ["0.40", "0.45", "0.50", "0.55", "0.60"]
        );
        assert_eq!(
            labels(&[1.0, 1060.0], false, false),
            ["200", "400", "600", "800", "1000"]
        );
        assert_eq!(
            labels(&[0.0, 25_000.0], false, true),
            ["0", "5k", "10k", "15k", "20k", "25k"]
        );
        assert_eq!(
            labels(&[0.0, 2e-4], false, true),
            ["0", "5e-5", "1e-4", "1.5e-4", "2e-4"]
        );
        let decades = [
            "1e-5", "2e-5", "5e-5", "1e-4", "2e-4", "5e-4", "0.001", "0.002", "0.005",
        ];
        assert_eq!(labels(&[1e-5, 3e-3], true, true), decades);
        assert_eq!(
            labels(&[1.0, 1e6], true, true),
            ["1", "10", "100", "1000", "10k", "100k", "1M"]
        );
    }

    #[test]
    fn values_that_cannot_be_shown_have_no_position() {
        let scale = Scale::new([f64::NAN, 1.0, f64::INFINITY, 3.0].into_iter(), false, true);
        assert_eq!(scale.position(f64::NAN), None);
        assert_eq!(scale.position(f64::NEG_INFINITY), None);
        assert_eq!(scale.position(1.0), Some(0.0));
        let log = Scale::new([0.0, -1.0, 10.0, 1000.0].into_iter(), true, true);
        assert_eq!(log.position(0.0), None);
        assert_eq!(log.position(100.0), Some(0.5));
    }

    #[test]
    fn any_range_gives_finite_positions() {
        let odd = [
            0.0,
            -0.0,
            1.0,
            -1.0,
            1e-300,
            1e16,
            1e16 + 2.0,
            f64::MAX,
            f64::MIN,
            1e99,
            1e-99,
        ];
        for first in odd {
            for second in odd {
                for (log, whole) in [(false, false), (false, true), (true, true)] {
                    let scale = Scale::new([first, second].into_iter(), log, whole);
                    for value in [first, second] {
                        let position = scale.position(value);
                        assert!(position.is_none_or(f64::is_finite), "{first} {second} {value}");
                    }
                    for (tick, label) in scale.ticks() {
                        let position = scale.position(tick);
                        assert!(position.is_none_or(f64::is_finite), "{first} {second} {tick}");
                        assert!(!label.contains("NaN") && !label.contains("inf"), "{label}");
                    }
                }
            }
        }
    }
}
