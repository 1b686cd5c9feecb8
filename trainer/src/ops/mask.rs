//! Dropout masks.

#[cfg(feature = "cuda")]
mod cuda;

#[cfg(feature = "cuda")]
use candle_core::CudaStorage;
use candle_core::{CpuStorage, CustomOp1, Layout, Result, Shape, Tensor};
use pulp::Arch;

use crate::ops::values::slice;

/// The C source of the kernels, of which the functions outside of `__CUDACC__` are plain C.
#[cfg(test)]
pub(super) const SOURCE: &str = include_str!("mask/mask.cu");

/// A dropout mask, computed from the position of each element, so that it is not stored. As an operator it masks a contiguous f32
/// tensor on the CPU or on a GPU, with the same factors on both.
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

    /// The attention weights of a GPU, `[blocks, heads, queries, keys]`, times their factors; see `masked_weight` in `mask.cu`.
    #[cfg(feature = "cuda")]
    pub(super) fn multiply_weights(
        self,
        weights: (&CudaStorage, &Layout),
        table: (&CudaStorage, &Layout),
    ) -> Result<CudaStorage> {
        cuda::mask_weights(weights, table, self.arguments())
    }

    #[cfg(feature = "cuda")]
    fn arguments(self) -> cuda::MaskArguments {
        cuda::MaskArguments {
            keys: self.keys,
            threshold: self.threshold,
            scale: self.scale,
        }
    }

    /// The keys, the threshold and the bits of the scale, as the tests of `mask.cu` take them.
    #[cfg(test)]
    pub(super) fn numbers(self) -> [u32; 4] {
        [self.keys[0], self.keys[1], self.threshold, self.scale.to_bits()]
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

    #[cfg(feature = "cuda")]
    fn cuda_fwd(&self, x: &CudaStorage, layout: &Layout) -> Result<(CudaStorage, Shape)> {
        let y = cuda::mask_elements(x, layout, self.arguments())?;
        Ok((y, layout.shape().clone()))
    }

    fn bwd(&self, _x: &Tensor, _y: &Tensor, gradient: &Tensor) -> Result<Option<Tensor>> {
        gradient.contiguous()?.apply_op1_no_bwd(self).map(Some)
    }
}
