//! AVX-VNNI: AVX2 whose products of 8 bits are added four at a time, on processors without AVX-512.

use std::arch::x86_64::{__m256i, _mm256_dpbusd_avx_epi32};

use crate::instructions::InstructionSet;
use crate::linear::Panel;
use crate::simd::avx2::{Avx2, Dot, multiply};
use crate::simd::vector::{Epilogue, Rows};

/// A processor with AVX2, FMA and AVX-VNNI.
pub(crate) type AvxVnni = Avx2<Fours>;

/// Products in fours of 32 bits.
#[derive(Clone, Copy)]
pub(crate) struct Fours(());

impl AvxVnni {
    /// The proof, if the processor has the instructions.
    pub(crate) fn detect() -> Option<Self> {
        InstructionSet::AvxVnni
            .is_available()
            .then_some(Fours(()))
            .and_then(Self::with)
    }
}

impl Dot for Fours {
    #[inline(always)]
    unsafe fn add(sums: __m256i, inputs: __m256i, weights: __m256i) -> __m256i {
        // SAFETY: the caller's processor has AVX-VNNI.
        unsafe { _mm256_dpbusd_avx_epi32(sums, inputs, weights) }
    }

    #[target_feature(enable = "avx2,fma,avxvnni")]
    unsafe fn multiply<const R: usize, E: Epilogue<AvxVnni>>(
        simd: AvxVnni,
        a: Rows,
        first: usize,
        panel: Panel,
        part: usize,
        epilogue: &mut E,
    ) {
        // SAFETY: the caller's.
        unsafe { multiply::<R, Self, E>(simd, a, first, panel, part, epilogue) }
    }
}
