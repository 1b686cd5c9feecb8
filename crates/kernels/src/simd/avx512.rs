//! AVX-512 with VNNI: a vector is one register, and one instruction adds four 8-bit products to each of 16 sums.

use std::arch::x86_64::*;

use crate::instructions::InstructionSet;
use crate::linear::{GROUP, PANEL};
use crate::simd::{LANES, ROWS, Simd, Tile};

/// The registers of a panel's columns.
const REGISTERS: usize = PANEL / LANES;

/// A processor with AVX-512 F, BW and VNNI.
#[derive(Clone, Copy)]
pub(crate) struct Avx512(());

impl Avx512 {
    /// The proof, if the processor has the instructions.
    pub(crate) fn detect() -> Option<Self> {
        InstructionSet::Avx512Vnni.is_available().then_some(Self(()))
    }
}

impl Simd for Avx512 {
    type Floats = __m512;

    #[inline(always)]
    fn splat(self, value: f32) -> __m512 {
        // SAFETY: `self` proves AVX-512 F.
        unsafe { _mm512_set1_ps(value) }
    }

    #[inline(always)]
    fn load(self, from: &[f32; LANES]) -> __m512 {
        // SAFETY: `self` proves AVX-512 F, and the array is 64 readable bytes.
        unsafe { _mm512_loadu_ps(from.as_ptr()) }
    }

    #[inline(always)]
    fn store(self, value: __m512, to: &mut [f32; LANES]) {
        // SAFETY: `self` proves AVX-512 F, and the array is 64 writable bytes.
        unsafe { _mm512_storeu_ps(to.as_mut_ptr(), value) }
    }

    #[inline(always)]
    fn add(self, a: __m512, b: __m512) -> __m512 {
        // SAFETY: `self` proves AVX-512 F.
        unsafe { _mm512_add_ps(a, b) }
    }

    #[inline(always)]
    fn sub(self, a: __m512, b: __m512) -> __m512 {
        // SAFETY: `self` proves AVX-512 F.
        unsafe { _mm512_sub_ps(a, b) }
    }

    #[inline(always)]
    fn mul(self, a: __m512, b: __m512) -> __m512 {
        // SAFETY: `self` proves AVX-512 F.
        unsafe { _mm512_mul_ps(a, b) }
    }

    #[inline(always)]
    fn div(self, a: __m512, b: __m512) -> __m512 {
        // SAFETY: `self` proves AVX-512 F.
        unsafe { _mm512_div_ps(a, b) }
    }

    #[inline(always)]
    fn mul_add(self, a: __m512, b: __m512, c: __m512) -> __m512 {
        // SAFETY: `self` proves AVX-512 F.
        unsafe { _mm512_fmadd_ps(a, b, c) }
    }

    #[inline(always)]
    fn max(self, a: __m512, b: __m512) -> __m512 {
        // SAFETY: `self` proves AVX-512 F.
        unsafe { _mm512_max_ps(a, b) }
    }

    #[inline(always)]
    fn min(self, a: __m512, b: __m512) -> __m512 {
        // SAFETY: `self` proves AVX-512 F.
        unsafe { _mm512_min_ps(a, b) }
    }

    #[inline(always)]
    fn round(self, a: __m512) -> __m512 {
        // SAFETY: `self` proves AVX-512 F.
        unsafe { _mm512_roundscale_ps::<{ _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC }>(a) }
    }

    #[inline(always)]
    fn power_of_two(self, n: __m512) -> __m512 {
        // SAFETY: `self` proves AVX-512 F.
        unsafe {
            let exponent = _mm512_add_epi32(_mm512_cvtps_epi32(n), _mm512_set1_epi32(127));
            _mm512_castsi512_ps(_mm512_slli_epi32::<23>(exponent))
        }
    }

    #[inline(always)]
    fn add_integers(self, a: &[i32; LANES], b: &[i32; LANES]) -> __m512 {
        // SAFETY: `self` proves AVX-512 F, and each array is 64 readable bytes.
        unsafe {
            let (a, b) = (_mm512_loadu_si512(a.as_ptr().cast()), _mm512_loadu_si512(b.as_ptr().cast()));
            _mm512_cvtepi32_ps(_mm512_add_epi32(a, b))
        }
    }

    #[inline(always)]
    fn to_bytes(self, value: __m512, to: &mut [u8; LANES]) {
        // SAFETY: `self` proves AVX-512 F, and the array is 16 writable bytes.
        unsafe { _mm_storeu_si128(to.as_mut_ptr().cast(), _mm512_cvtepi32_epi8(_mm512_cvtps_epi32(value))) }
    }

    #[inline(always)]
    fn products(self, a: &[u8], stride: usize, rows: usize, panel: &[i8], groups: usize, tile: &mut Tile) {
        assert!(panel.len() >= groups * GROUP * PANEL && (1..=ROWS).contains(&rows));
        assert!(a.len() >= (rows - 1) * stride + groups * GROUP);
        // SAFETY: `self` proves the instructions; the asserted lengths hold everything that is read.
        unsafe {
            match rows {
                1 => products::<1>(a, stride, panel, groups, tile),
                2 => products::<2>(a, stride, panel, groups, tile),
                3 => products::<3>(a, stride, panel, groups, tile),
                4 => products::<4>(a, stride, panel, groups, tile),
                5 => products::<5>(a, stride, panel, groups, tile),
                _ => products::<6>(a, stride, panel, groups, tile),
            }
        }
    }
}

/// [`Simd::products`] of `R` rows, whose sums stay in registers.
///
/// # Safety
///
/// The processor has AVX-512 F, BW and VNNI. `a` holds `R` rows of `groups * 4` bytes, `stride` apart; `panel` holds `groups` groups.
#[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
unsafe fn products<const R: usize>(a: &[u8], stride: usize, panel: &[i8], groups: usize, tile: &mut Tile) {
    let mut sums = [[_mm512_setzero_si512(); REGISTERS]; R];
    let (a, panel) = (a.as_ptr(), panel.as_ptr());
    for group in 0..groups {
        // SAFETY: the caller's lengths hold `groups` groups of the panel and of each row.
        unsafe {
            let columns = panel.add(group * GROUP * PANEL).cast::<__m512i>();
            let columns: [__m512i; REGISTERS] = std::array::from_fn(|at| _mm512_loadu_si512(columns.add(at)));
            for (row, sums) in sums.iter_mut().enumerate() {
                let inputs = a.add(row * stride + group * GROUP).cast::<i32>().read_unaligned();
                let inputs = _mm512_set1_epi32(inputs);
                for (sum, &columns) in sums.iter_mut().zip(&columns) {
                    *sum = _mm512_dpbusd_epi32(*sum, inputs, columns);
                }
            }
        }
    }
    for (sums, row) in sums.iter().zip(tile) {
        let (to, _) = row.as_chunks_mut::<LANES>();
        for (sum, to) in sums.iter().zip(to) {
            // SAFETY: the array is 64 writable bytes.
            unsafe { _mm512_storeu_si512(to.as_mut_ptr().cast(), *sum) }
        }
    }
}
