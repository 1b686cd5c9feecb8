//! Calibration: activation ranges, observed on real text.

use std::path::Path;

use crate::cancellation::Cancellation;
use crate::export_error::ExportError;
use crate::graph::classifier::Graph;
use crate::quantize::ActivationRanges;
use nerve_inference::EncodedWindow;
use nerve_inference::Session;
use nerve_inference::{Runtime, SessionOptions};
use nerve_repository::Checkpoint;

/// Bins of a histogram.
const BINS: usize = 2048;
/// Candidates for each end of the range: the full extent, then smaller in steps of 1/`CANDIDATES` of it.
const CANDIDATES: usize = 64;

/// The range of every linear layer's input with the least mean squared quantization error on these windows.
///
/// Each window runs alone, so that no padding is observed. The first pass finds the extremes, the second fills a histogram. Of
/// the candidates for the two ends of the range, those with the least error are taken: a smaller range has finer steps and clips
/// more values.
pub(crate) fn calibrate(
    checkpoint: &Checkpoint,
    observed: &Graph,
    windows: &[EncodedWindow],
    runtime: &Runtime,
    cancellation: &Cancellation,
) -> Result<ActivationRanges, ExportError> {
    let names = &observed.observed;
    let options = SessionOptions {
        intra_threads: 2,
        ..SessionOptions::default()
    };
    let mut session = Session::from_bytes(
        &observed.bytes,
        Path::new("calibration graph"),
        runtime,
        &options,
        checkpoint.labels.len(),
        checkpoint.config.pad_token_id,
    )?;
    let mut extremes = vec![(0.0f32, 0.0f32); names.len()];
    for window in windows {
        cancellation.check()?;
        let values = session.run_observed(&window.ids, names)?;
        for ((lowest, highest), values) in extremes.iter_mut().zip(&values) {
            *lowest = values.iter().copied().fold(*lowest, f32::min);
            *highest = values.iter().copied().fold(*highest, f32::max);
        }
    }
    let mut histograms: Vec<Histogram> = extremes
        .iter()
        .map(|&(lowest, highest)| Histogram::new(lowest, highest))
        .collect();
    for window in windows {
        cancellation.check()?;
        let values = session.run_observed(&window.ids, names)?;
        for (histogram, values) in histograms.iter_mut().zip(&values) {
            values.iter().for_each(|&value| histogram.add(value));
        }
    }
    let mut ranges = ActivationRanges::default();
    for (name, histogram) in names.iter().zip(&histograms) {
        let (lowest, highest) = histogram.best_range();
        ranges.insert(name.clone(), lowest, highest);
    }
    Ok(ranges)
}

struct Histogram {
    lowest: f32,
    bin: f32,
    counts: Vec<u64>,
}

impl Histogram {
    fn new(lowest: f32, highest: f32) -> Self {
        let bin = ((highest - lowest) / BINS as f32).max(f32::MIN_POSITIVE);
        Self {
            lowest,
            bin,
            counts: vec![0; BINS],
        }
    }

    fn add(&mut self, value: f32) {
        let bin = ((value - self.lowest) / self.bin) as usize;
        self.counts[bin.min(BINS - 1)] += 1;
    }

    fn value(&self, bin: usize) -> f64 {
        f64::from(self.lowest) + (bin as f64 + 0.5) * f64::from(self.bin)
    }

    /// The summed squared error of rounding to 255 steps between `lowest` and `highest` and clipping outside.
    fn error(&self, lowest: f64, highest: f64) -> f64 {
        let step = (highest - lowest) / 255.0;
        let rounding = step * step / 12.0;
        let mut total = 0.0;
        for (bin, &count) in self.counts.iter().enumerate().filter(|(_, count)| **count > 0) {
            let value = self.value(bin);
            let outside = (lowest - value).max(value - highest).max(0.0);
            total += count as f64 * (outside * outside + if outside > 0.0 { 0.0 } else { rounding });
        }
        total
    }

    fn best_range(&self) -> (f32, f32) {
        let full = (
            f64::from(self.lowest),
            f64::from(self.lowest) + f64::from(self.bin) * BINS as f64,
        );
        let (mut lowest, mut highest) = full;
        // The ends are almost independent: each is searched while the other is fixed, twice.
        for _ in 0..2 {
            highest = self.best_end(full.1, |end| self.error(lowest, end));
            lowest = self.best_end(full.0, |end| self.error(end, highest));
        }
        (lowest as f32, highest as f32)
    }

    fn best_end(&self, full: f64, error: impl Fn(f64) -> f64) -> f64 {
        (0..CANDIDATES)
            .map(|inward| full * (1.0 - inward as f64 / CANDIDATES as f64))
            .map(|end| (error(end), end))
            .min_by(|a, b| a.0.total_cmp(&b.0))
            .map_or(full, |(_, end)| end)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn evenly_spread_values_keep_their_range() {
        let mut histogram = Histogram::new(-1.0, 1.0);
        (0..=20_000).for_each(|i| histogram.add(-1.0 + i as f32 / 10_000.0));
        let (lowest, highest) = histogram.best_range();
        assert!(lowest < -0.96 && highest > 0.96, "{lowest} {highest}");
    }

    #[test]
    fn a_single_outlier_is_clipped() {
        let mut histogram = Histogram::new(-1.0, 100.0);
        (0..3_000_000).for_each(|i| histogram.add((i % 2000) as f32 / 1000.0 - 1.0));
        histogram.add(100.0);
        let (_, highest) = histogram.best_range();
        assert!(highest < 50.0, "{highest}");
    }

    #[test]
    fn a_constant_zero_has_a_range() {
        let mut histogram = Histogram::new(0.0, 0.0);
        histogram.add(0.0);
        let (lowest, highest) = histogram.best_range();
        assert!(lowest.is_finite() && highest.is_finite());
    }
}
