//! Element-wise sums and sums of squares of gradients.

use pulp::Arch;

/// Adds `part` to `sum`, element by element.
pub(super) fn add(sum: &mut [f32], part: &[f32]) {
    for (sum, part) in sum.iter_mut().zip(part) {
        *sum += part;
    }
}

/// The sum of the squares, in a fixed order, so that it is reproducible.
pub(super) fn squared(gradient: &[f32]) -> f64 {
    const LANES: usize = 8;
    let (chunks, rest) = gradient.as_chunks::<LANES>();
    let mut lanes = [0f64; LANES];
    Arch::new().dispatch(
        #[inline(always)]
        || {
            for chunk in chunks {
                for lane in 0..LANES {
                    lanes[lane] += f64::from(chunk[lane]) * f64::from(chunk[lane]);
                }
            }
        },
    );
    let rest = rest.iter().map(|&g| f64::from(g) * f64::from(g));
    lanes.into_iter().chain(rest).sum()
}
