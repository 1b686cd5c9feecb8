//! The bucket of a distance between two tokens, whose bias is added to their attention score (Raffel et al. 2020, as Song et
//! al. 2020, *MPNet*, use it).

/// The number of buckets: half of them for each direction.
pub const BUCKETS: usize = 32;
/// A distance from which on all distances of a direction are in the last bucket.
pub const LONGEST_DISTANCE: usize = 128;

/// The bucket of a key that is `distance` tokens behind the query, or before it if `distance` is negative.
///
/// Up to 7 tokens, each distance has a bucket of its own. Above, each bucket ends at `sqrt(2)` times its beginning, which whole
/// numbers decide exactly: `floor(8 + 8 log(n / 8) / log(128 / 8))` is `floor(log2(n^2)) + 2`.
pub fn bucket(distance: isize) -> usize {
    const OF_A_DIRECTION: usize = BUCKETS / 2;
    const EXACT: usize = OF_A_DIRECTION / 2;
    let first = if distance > 0 { OF_A_DIRECTION } else { 0 };
    let length = distance.unsigned_abs().min(LONGEST_DISTANCE);
    let within = match length {
        0..EXACT => length,
        _ => (length * length).ilog2() as usize + 2,
    };
    first + within.min(OF_A_DIRECTION - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_are_those_of_transformers() {
        let path = concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/../../tests/families/mpnet_buckets.json"
        );
        let expected: Vec<usize> = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
        let found: Vec<usize> = (-600..=600).map(bucket).collect();
        assert_eq!(found, expected);
        let far = LONGEST_DISTANCE as isize;
        assert_eq!(
            [bucket(far), bucket(-far)],
            [bucket(isize::MAX), bucket(isize::MIN)]
        );
    }
}
