//! The product of two matrices.

use thiserror::Error;

use crate::dense::initial::Initial;
use crate::dense::matrix::{Matrix, is_inside};
#[cfg(target_arch = "x86_64")]
use crate::dense::tiled;
#[cfg(target_arch = "x86_64")]
use crate::simd::amx::TileUnit;

/// Products of matrices on this processor. A value proves that it has the instructions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Products(Kind);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    #[cfg(target_arch = "x86_64")]
    F32,
    #[cfg(target_arch = "x86_64")]
    F32Tiles(TileUnit),
    #[cfg(target_arch = "x86_64")]
    Bf16,
    #[cfg(target_arch = "x86_64")]
    Bf16Tiles(TileUnit),
}

/// Products in bf16 are not available.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("this processor has no products of bf16 (AVX-512 BF16: `avx512_bf16` in /proc/cpuinfo)")]
pub struct Bf16Error;

impl Products {
    /// Products in f32; `None` if this processor has no AVX-512.
    ///
    /// If the processor has tiles (AMX), they multiply the parts of the factors of larger products, which is faster and as exact. They
    /// take subnormal numbers for 0, also among the parts: an element below 2^-100 and a product below 2^-102 lose bits. A product or a
    /// sum within 2^-7 of the largest f32 can overflow.
    pub fn f32() -> Option<Self> {
        Self::each_f32().next_back()
    }

    /// Products of factors that are rounded to bf16, with sums in f32: in tiles (AMX) if this processor has them.
    pub fn bf16() -> Result<Self, Bf16Error> {
        Self::each_bf16().next_back().ok_or(Bf16Error)
    }

    /// Products in f32 with each of this processor's instruction sets, the fastest last.
    fn each_f32() -> impl DoubleEndedIterator<Item = Self> {
        #[cfg(target_arch = "x86_64")]
        let kinds = [has_vectors().then_some(Kind::F32), tiles().map(Kind::F32Tiles)];
        #[cfg(not(target_arch = "x86_64"))]
        let kinds: [Option<Kind>; 0] = [];
        kinds.into_iter().flatten().map(Self)
    }

    /// Products in bf16 with each of this processor's instruction sets, the fastest last.
    fn each_bf16() -> impl DoubleEndedIterator<Item = Self> {
        #[cfg(target_arch = "x86_64")]
        let kinds = [
            has_bf16_vectors().then_some(Kind::Bf16),
            tiles().map(Kind::Bf16Tiles),
        ];
        #[cfg(not(target_arch = "x86_64"))]
        let kinds: [Option<Kind>; 0] = [];
        kinds.into_iter().flatten().map(Self)
    }

    /// Writes `a * b` to `out`, whose rows begin `row_stride` elements apart, on the calling thread.
    ///
    /// The order of the sums depends on the extents, and on where the factors are NaN, infinite or so large that bf16 rounds them to
    /// infinity. Panics if the extents do not match.
    pub fn multiply(
        self,
        a: Matrix<'_>,
        b: Matrix<'_>,
        out: &mut [f32],
        row_stride: usize,
        initial: Initial<'_>,
    ) {
        assert!(
            is_inside(out.len(), a.rows(), b.columns(), row_stride),
            "a product leaves its slice"
        );
        // SAFETY: the assertion keeps the product inside `out`, which is mutably borrowed and initialized.
        unsafe { self.multiply_into(a, b, out.as_mut_ptr(), row_stride, initial) }
    }

    /// The product `a * b` with contiguous rows, on the calling thread. `initial` must not be the destination.
    ///
    /// Panics if the extents do not match.
    pub fn product(self, a: Matrix<'_>, b: Matrix<'_>, initial: Initial<'_>) -> Vec<f32> {
        assert!(
            !matches!(initial, Initial::Destination),
            "a new product has no elements to begin with"
        );
        // No vector has `usize::MAX` elements, so extents whose product overflows are refused below.
        let length = a.rows().saturating_mul(b.columns());
        let mut out = Vec::with_capacity(length);
        // SAFETY: `out` has the capacity for every element of the product; each element is written, and none is read before.
        unsafe {
            self.multiply_into(a, b, out.as_mut_ptr(), b.columns(), initial);
            out.set_len(length);
        }
        out
    }

    /// # Safety
    ///
    /// `out` must be valid for every element of the product, initialized if the product begins with them, and nothing else may
    /// use these elements during the call.
    unsafe fn multiply_into(
        self,
        a: Matrix<'_>,
        b: Matrix<'_>,
        out: *mut f32,
        row_stride: usize,
        initial: Initial<'_>,
    ) {
        assert_eq!(a.columns(), b.rows(), "the inner extents of a product differ");
        if let Initial::Row(row) = initial {
            assert_eq!(
                row.len(),
                b.columns(),
                "the first row of a product has another width"
            );
        }
        #[cfg(target_arch = "x86_64")]
        // SAFETY: `self` proves the instructions; the extents agree, and the caller guarantees the destination.
        unsafe {
            match self.0 {
                Kind::F32 => x86::f32(a, b, out, row_stride, initial),
                Kind::F32Tiles(mut tiles) if tiled::are_tiles_faster(a) => {
                    tiled::multiply::<3, _>(&mut tiles, a, b, out, row_stride, initial);
                }
                Kind::F32Tiles(_) => x86::f32(a, b, out, row_stride, initial),
                Kind::Bf16 => x86::bf16(a, b, out, row_stride, initial),
                Kind::Bf16Tiles(mut tiles) => {
                    tiled::multiply::<1, _>(&mut tiles, a, b, out, row_stride, initial)
                }
            }
        }
        #[cfg(not(target_arch = "x86_64"))]
        {
            let _ = (out, row_stride);
            match self.0 {}
        }
    }
}

/// Whether this processor has the vectors of products in f32.
#[cfg(target_arch = "x86_64")]
fn has_vectors() -> bool {
    is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("avx512bw")
}

/// Whether this processor has the vectors of products in bf16.
#[cfg(target_arch = "x86_64")]
fn has_bf16_vectors() -> bool {
    has_vectors() && is_x86_feature_detected!("avx512bf16")
}

/// The tiles of this processor, if it has those and the vectors that pack factors for them.
#[cfg(target_arch = "x86_64")]
fn tiles() -> Option<TileUnit> {
    TileUnit::detect().filter(|_| has_bf16_vectors())
}

#[cfg(target_arch = "x86_64")]
pub(super) mod x86;

#[cfg(test)]
mod tests;
