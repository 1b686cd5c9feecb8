//! Calibration: activation ranges, observed on real text.

use std::collections::BTreeMap;
use std::path::Path;

use crate::cancellation::Cancellation;
use crate::export_error::ExportError;
use crate::graph::classifier::Graph;
use crate::quantize::ActivationRanges;
use crate::smoothing::factors;
use nerve_inference::EncodedWindow;
use nerve_inference::Session;
use nerve_inference::{Runtime, SessionOptions};
use nerve_repository::Checkpoint;

/// The range of every linear layer's input on these windows, and the factors that smooth it.
///
/// Inputs of one weight, which several layers may share, have the same factors. Each window runs alone, so that no padding is
/// observed. A range contains all values observed: the largest activations are few, and a tagger that clips them finds fewer
/// entities (`docs/models.md`).
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
    let mut extremes: Vec<Extremes> = vec![Extremes::default(); names.len()];
    for window in windows {
        cancellation.check()?;
        let values = session.run_observed(&window.ids, names)?;
        for (extremes, values) in extremes.iter_mut().zip(&values) {
            extremes.observe(values, window.ids.len());
        }
    }
    let mut extents: BTreeMap<&str, Vec<f32>> = BTreeMap::new();
    let weight_of = |name: &'_ str| observed.weights_of_inputs.get(name);
    for (name, extremes) in names.iter().zip(&extremes) {
        let weight = weight_of(name).unwrap_or(name);
        extremes.widen(extents.entry(weight).or_default());
    }
    let mut ranges = ActivationRanges::default();
    for (name, extremes) in names.iter().zip(&extremes) {
        let weight = weight_of(name).unwrap_or(name);
        let factors = extents.get(weight.as_str()).and_then(|extents| factors(extents));
        let (lowest, highest) = extremes.range(factors.as_deref());
        ranges.insert(name.clone(), lowest, highest);
        if let Some(factors) = factors {
            ranges.smooth(name.clone(), factors);
        }
    }
    Ok(ranges)
}

/// The lowest and the highest value of each dimension; 0 is one of the values.
#[derive(Clone, Debug, Default)]
struct Extremes {
    of_dimensions: Vec<(f32, f32)>,
}

impl Extremes {
    /// Adds the values of so many tokens, `[tokens, dimensions]`.
    fn observe(&mut self, values: &[f32], tokens: usize) {
        let width = values.len() / tokens.max(1);
        self.of_dimensions.resize(width, (0.0, 0.0));
        for row in values.chunks_exact(width.max(1)) {
            for ((lowest, highest), value) in self.of_dimensions.iter_mut().zip(row) {
                *lowest = lowest.min(*value);
                *highest = highest.max(*value);
            }
        }
    }

    /// Raises the largest absolute value of each dimension to that of these values.
    fn widen(&self, extents: &mut Vec<f32>) {
        extents.resize(self.of_dimensions.len().max(extents.len()), 0.0);
        for (extent, (lowest, highest)) in extents.iter_mut().zip(&self.of_dimensions) {
            *extent = extent.max(*highest).max(-lowest);
        }
    }

    /// The range of all dimensions, each multiplied by its factor.
    fn range(&self, factors: Option<&[f32]>) -> (f32, f32) {
        let mut range = (0.0f32, 0.0f32);
        for (at, (lowest, highest)) in self.of_dimensions.iter().enumerate() {
            let factor = factors.and_then(|factors| factors.get(at)).unwrap_or(&1.0);
            range = (range.0.min(lowest * factor), range.1.max(highest * factor));
        }
        range
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_is_that_of_all_tokens_after_smoothing() {
        let mut extremes = Extremes::default();
        extremes.observe(&[1.0, -2.0, 0.5, -0.25, 3.0, 16.0], 2);
        extremes.observe(&[0.5, 1.0, 1.0], 1);
        let mut extents = vec![2.0];
        extremes.widen(&mut extents);
        assert_eq!(extents, [2.0, 3.0, 16.0]);
        assert_eq!(extremes.range(None), (-2.0, 16.0));
        assert_eq!(extremes.range(Some(&[1.0, 0.5, 0.25])), (-1.0, 4.0));
    }

    #[test]
    fn a_value_that_is_always_0_has_a_range() {
        let mut extremes = Extremes::default();
        extremes.observe(&[0.0; 4], 2);
        assert_eq!(extremes.range(None), (0.0, 0.0));
        assert_eq!(Extremes::default().range(None), (0.0, 0.0));
    }
}
