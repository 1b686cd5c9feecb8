//! Dropout masks.

use candle_core::{CpuStorage, CustomOp1, Layout, Result, Shape, Tensor};
use pulp::Arch;

use crate::ops::values::{slice, values};

/// A dropout mask, computed from the position of each element, so that it is not stored.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Mask {
    keys: [u32; 2],
    // An element is kept if its 32 random bits are at least this value.
    threshold: u32,
    scale: f32,
}

/// 32 random bits for a position, by a bijective 32-bit hash (Wellons' `lowbias32`). A 32-bit hash uses all lanes of
/// a CPU vector, a 64-bit hash half as many.
#[inline(always)]
fn bits(position: u32, keys: [u32; 2]) -> u32 {
    let mut z = position ^ keys[0];
    z = (z ^ (z >> 16)).wrapping_mul(0x7FEB_352D);
    z = (z ^ (z >> 15) ^ keys[1]).wrapping_mul(0x846C_A68B);
    z ^ (z >> 16)
}

impl Mask {
    /// The mask of a seed that drops elements with probability `p`.
    pub(super) fn new(seed: u64, p: f64) -> Self {
        Self {
            keys: [seed as u32, (seed >> 32) as u32],
            threshold: (p * f64::from(u32::MAX)) as u32,
            scale: (1.0 / (1.0 - p)) as f32,
        }
    }

    /// Multiplies elements by their mask; `from` is the position of the first element.
    pub(super) fn multiply(self, values: &mut [f32], from: usize) {
        Arch::new().dispatch(
            #[inline(always)]
            || {
                for (at, value) in values.iter_mut().enumerate() {
                    let kept = bits((from + at) as u32, self.keys) >= self.threshold;
                    *value *= if kept { self.scale } else { 0.0 };
                }
            },
        );
    }
}

impl CustomOp1 for Mask {
    fn name(&self) -> &'static str {
        "dropout"
    }

    fn cpu_fwd(&self, x: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let mut y = slice(x, layout)?.to_vec();
        self.multiply(&mut y, 0);
        Ok((CpuStorage::F32(y), layout.shape().clone()))
    }

    fn bwd(&self, x: &Tensor, _y: &Tensor, gradient: &Tensor) -> Result<Option<Tensor>> {
        let gradient = gradient.contiguous()?;
        let mut dx = values(&gradient)?.to_vec();
        self.multiply(&mut dx, 0);
        Tensor::from_vec(dx, x.shape(), gradient.device()).map(Some)
    }
}
