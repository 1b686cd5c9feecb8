//! Factors that even out the dimensions of a linear layer's input before it is quantized (Xiao et al. 2023, *SmoothQuant*).
//!
//! One scale serves all dimensions of an activation, so a dimension with outliers leaves few steps to the others. The input is
//! divided, and the rows of the weight multiplied, by the same number for each dimension, which changes no product.

/// The exponent of a dimension's extent. At 1 all dimensions would have the same extent, and the weights the outliers.
const STRENGTH: f32 = 0.5;

/// The numbers that the dimensions of a layer's input are multiplied by before it is quantized, at most 1 each, from the largest
/// absolute value of each dimension; `None` if no dimension extends beyond the median one.
pub(crate) fn factors(extents: &[f32]) -> Option<Vec<f32>> {
    let mut ascending = extents.to_vec();
    ascending.sort_by(f32::total_cmp);
    let median = *ascending.get(extents.len() / 2)?;
    if median <= 0.0 || ascending.last() == Some(&median) {
        return None;
    }
    let divisors = extents.iter().map(|extent| (extent / median).max(1.0));
    Some(divisors.map(|divisor| divisor.powf(-STRENGTH)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn even_dimensions_are_left_alone() {
        assert_eq!(factors(&[1.0; 16]), None);
        assert_eq!(factors(&[0.0; 16]), None);
        assert_eq!(factors(&[]), None);
    }

    #[test]
    fn a_dimension_of_outliers_is_reduced_and_the_others_stay() {
        assert_eq!(
            factors(&[1.0, 0.5, 16.0, 1.0, 1.0]).unwrap(),
            [1.0, 1.0, 0.25, 1.0, 1.0]
        );
    }
}
