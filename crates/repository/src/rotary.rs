//! Rotary position embeddings (Su et al. 2021, *RoFormer*): the angles by which queries and keys are rotated.

/// The cosines and the sines of the angles at the positions from 0, `[positions, size / 2]` each, for heads of this size.
///
/// At each position the numbers `i` and `i + size / 2` of a head are rotated together, by `position * theta^(-2i / size)`.
/// Frequencies and angles are rounded to f32 as in `transformers`, since the rounding of an angle grows with its position.
pub fn rotations(theta: f64, size: usize, positions: usize) -> (Vec<f32>, Vec<f32>) {
    let pairs = size / 2;
    let frequencies: Vec<f32> = (0..pairs)
        .map(|pair| {
            let power = (2 * pair) as f32 / size as f32;
            1.0 / (theta.powf(f64::from(power)) as f32)
        })
        .collect();
    let angles = (0..positions).flat_map(|position| {
        let of_pair = move |frequency: &f32| f64::from(position as f32 * frequency);
        frequencies.iter().map(of_pair)
    });
    angles
        .map(|angle| (angle.cos() as f32, angle.sin() as f32))
        .unzip()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pair_turns_by_its_frequency_at_each_position() {
        let (cosines, sines) = rotations(100.0, 4, 3);
        let expected = [0.0, 0.0, 1.0, 0.1, 2.0, 0.2].map(f32::cos);
        for (found, expected) in cosines.iter().zip(expected) {
            assert!((found - expected).abs() < 1e-6, "{cosines:?}");
        }
        for (cosine, sine) in cosines.iter().zip(&sines) {
            assert!((cosine * cosine + sine * sine - 1.0).abs() < 1e-6);
        }
        assert!((sines[4] - 2f32.sin()).abs() < 1e-6, "{sines:?}");
        assert_eq!(rotations(100.0, 4, 0), (vec![], vec![]));
    }
}
