//! Floats to 8-bit integers: weights symmetrically, activations by the ranges of calibration.

use std::collections::BTreeMap;

/// A u8 quantization: `real = (integer - zero_point) * scale`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Affine {
    pub(crate) scale: f32,
    pub(crate) zero_point: u8,
}

/// The observed range of every linear layer's input after its smoothing, and the factors of the smoothing, by its name in the
/// graph.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct ActivationRanges {
    ranges: BTreeMap<String, (f32, f32)>,
    factors: BTreeMap<String, Vec<f32>>,
}

impl ActivationRanges {
    /// Sets what the dimensions of a value are multiplied by before it is quantized.
    pub(crate) fn smooth(&mut self, name: String, factors: Vec<f32>) {
        self.factors.insert(name, factors);
    }

    /// What the dimensions of a value are multiplied by before it is quantized; `None` if it is not smoothed.
    pub(crate) fn factors(&self, name: &str) -> Option<&[f32]> {
        self.factors.get(name).map(Vec::as_slice)
    }

    /// Sets the range of a value.
    pub(crate) fn insert(&mut self, name: String, lowest: f32, highest: f32) {
        self.ranges.insert(name, (lowest, highest));
    }

    /// The quantization of a value: its range, extended to contain 0 so that 0 is exact, in 255 steps.
    pub(crate) fn affine(&self, name: &str) -> Affine {
        let (lowest, highest) = self.ranges.get(name).copied().unwrap_or((0.0, 0.0));
        let (lowest, highest) = (lowest.min(0.0), highest.max(0.0));
        let scale = ((highest - lowest) / 255.0).max(f32::MIN_POSITIVE);
        Affine {
            scale,
            zero_point: (-lowest / scale).round().clamp(0.0, 255.0) as u8,
        }
    }
}

/// The largest weight of an integer product, in steps of its scale.
///
/// x86 processors without VNNI add pairs of u8 x i8 products in 16 bits and saturate: 2 x 255 x 127 does not fit, 2 x
/// 255 x 64 does. With 63, the integers of a product are the same on every processor.
const PRODUCT_WEIGHT_LIMIT: f32 = 63.0;
/// The largest entry of an embedding table, which is not multiplied.
const TABLE_LIMIT: f32 = 127.0;

/// A matrix in i8, one scale a column.
pub(crate) struct QuantizedMatrix {
    pub(crate) values: Vec<i8>,
    pub(crate) scales: Vec<f32>,
}

impl QuantizedMatrix {
    /// The row-major matrix of this width with scale `max|w| / 63` for each column and zero point 0.
    pub(crate) fn per_column(matrix: &[f32], columns: usize) -> Self {
        let mut highest = vec![0.0f32; columns];
        for row in matrix.chunks_exact(columns) {
            highest.iter_mut().zip(row).for_each(|(h, w)| *h = h.max(w.abs()));
        }
        let scales: Vec<f32> = highest
            .into_iter()
            .map(|highest| symmetric_scale(highest, PRODUCT_WEIGHT_LIMIT))
            .collect();
        let values = matrix
            .chunks_exact(columns)
            .flat_map(|row| {
                row.iter()
                    .zip(&scales)
                    .map(|(w, scale)| to_i8(*w, *scale, PRODUCT_WEIGHT_LIMIT))
            })
            .collect();
        Self { values, scales }
    }
}

/// The rows of a table in i8 with one scale each, `max|w| / 127`.
pub(crate) fn quantize_rows(table: &[f32], width: usize) -> (Vec<i8>, Vec<f32>) {
    let mut values = Vec::with_capacity(table.len());
    let mut scales = Vec::with_capacity(table.len() / width.max(1));
    for row in table.chunks_exact(width) {
        let highest = row.iter().fold(0.0f32, |highest, w| w.abs().max(highest));
        let scale = symmetric_scale(highest, TABLE_LIMIT);
        values.extend(row.iter().map(|w| to_i8(*w, scale, TABLE_LIMIT)));
        scales.push(scale);
    }
    (values, scales)
}

fn symmetric_scale(highest: f32, limit: f32) -> f32 {
    // An all-zero row or column becomes zeros under any scale; 1 keeps the division defined.
    if highest == 0.0 { 1.0 } else { highest / limit }
}

fn to_i8(weight: f32, scale: f32, limit: f32) -> i8 {
    (weight / scale).round().clamp(-limit, limit) as i8
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_column_uses_its_own_full_range() {
        let matrix = QuantizedMatrix::per_column(&[1.0, 0.0, -2.0, -0.25, 0.0, 0.0], 3);
        assert_eq!(matrix.values, [63, 0, -63, -16, 0, 0]);
        assert_eq!(matrix.scales[1], 1.0);
    }

    #[test]
    fn a_pair_of_products_fits_16_bits() {
        let extreme = QuantizedMatrix::per_column(&[3.0, -3.0], 1);
        let pair: i32 = extreme.values.iter().map(|&w| i32::from(w).abs() * 255).sum();
        assert!(i16::try_from(pair).is_ok(), "{pair}");
    }

    #[test]
    fn rows_come_back_within_half_a_step() {
        let table = [0.3, -1.7, 0.01, 5.0, 2.5, -4.9];
        let (values, scales) = quantize_rows(&table, 3);
        for (index, original) in table.iter().enumerate() {
            let scale = scales[index / 3];
            assert!((f32::from(values[index]) * scale - original).abs() <= scale / 2.0 + 1e-6);
        }
    }

    #[test]
    fn a_range_always_holds_zero() {
        let mut ranges = ActivationRanges::default();
        ranges.insert("x".into(), 2.0, 5.1);
        assert_eq!(
            ranges.affine("x"),
            Affine {
                scale: 5.1 / 255.0,
                zero_point: 0
            }
        );
        ranges.insert("y".into(), -1.0, 3.0);
        assert_eq!(ranges.affine("y").zero_point, 64);
        assert!(ranges.affine("absent").scale > 0.0);
    }
}
