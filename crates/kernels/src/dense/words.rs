//! The words of 32 bits that the factors of a product are made of.

use std::arch::x86_64::*;

/// Words in a vector.
pub(super) const LANES: usize = 16;

/// How factors are stored in words, and the instruction that multiplies them.
pub(super) trait Word {
    /// Elements in a word, which follow one another along the inner extent of a product.
    const ELEMENTS: usize;

    /// The sums, to which the products of the words are added.
    ///
    /// # Safety
    ///
    /// The processor must have the instructions.
    unsafe fn multiply(a: __m512i, b: __m512i, sums: __m512) -> __m512;

    /// The words of elements at `first`, with those at `second` where a word has two.
    ///
    /// # Safety
    ///
    /// The processor must have the instructions.
    unsafe fn zip(first: __m512, second: __m512) -> __m512i;

    /// The words of consecutive elements: 16, or 32 of which `second` has the last 16.
    ///
    /// # Safety
    ///
    /// The processor must have the instructions.
    unsafe fn join(first: __m512, second: __m512) -> __m512i;
}

/// Words of one f32. The second elements are not read.
pub(super) struct F32;

impl Word for F32 {
    const ELEMENTS: usize = 1;

    #[inline(always)]
    unsafe fn multiply(a: __m512i, b: __m512i, sums: __m512) -> __m512 {
        // SAFETY: the caller guarantees AVX-512 F.
        unsafe { _mm512_fmadd_ps(_mm512_castsi512_ps(a), _mm512_castsi512_ps(b), sums) }
    }

    #[inline(always)]
    unsafe fn zip(first: __m512, _second: __m512) -> __m512i {
        // SAFETY: the caller guarantees AVX-512 F.
        unsafe { _mm512_castps_si512(first) }
    }

    #[inline(always)]
    unsafe fn join(first: __m512, _second: __m512) -> __m512i {
        // SAFETY: the caller guarantees AVX-512 F.
        unsafe { _mm512_castps_si512(first) }
    }
}

/// Words of two bf16, to which f32 are rounded to nearest, ties to even; subnormal numbers become 0.
pub(super) struct Bf16;

/// The order in which the halves of a vector's elements alternate.
const ALTERNATE: [u16; 32] = {
    let mut order = [0; 32];
    let mut at = 0;
    while at < 32 {
        order[at] = (at / 2 + at % 2 * 16) as u16;
        at += 1;
    }
    order
};

impl Word for Bf16 {
    const ELEMENTS: usize = 2;

    #[inline(always)]
    unsafe fn multiply(a: __m512i, b: __m512i, sums: __m512) -> __m512 {
        // SAFETY: the caller guarantees AVX-512 BF16; the types are 512 bits without a meaning of their own.
        unsafe {
            _mm512_dpbf16_ps(
                sums,
                std::mem::transmute::<__m512i, __m512bh>(a),
                std::mem::transmute::<__m512i, __m512bh>(b),
            )
        }
    }

    #[inline(always)]
    unsafe fn zip(first: __m512, second: __m512) -> __m512i {
        // SAFETY: the caller guarantees AVX-512 BW; `ALTERNATE` is 64 bytes.
        unsafe {
            let order = _mm512_loadu_si512(ALTERNATE.as_ptr().cast());
            _mm512_permutexvar_epi16(order, Self::join(first, second))
        }
    }

    #[inline(always)]
    unsafe fn join(first: __m512, second: __m512) -> __m512i {
        // SAFETY: the caller guarantees AVX-512 BF16; the types are 512 bits without a meaning of their own.
        unsafe { std::mem::transmute::<__m512bh, __m512i>(_mm512_cvtne2ps_pbh(second, first)) }
    }
}
