//! AVX2 with FMA: a vector is two registers, and 8-bit products are added in pairs of 16 bits.

use std::arch::x86_64::*;

use crate::instructions::InstructionSet;
use crate::linear::{GROUP, PANEL};
use crate::simd::{LANES, ROWS, Simd, Tile};

/// Sums of a register.
const WIDTH: usize = 8;
/// Columns that are computed at a time, so that their sums stay in registers.
const COLUMNS: usize = 2 * WIDTH;

/// A processor with AVX2 and FMA.
#[derive(Clone, Copy)]
pub(crate) struct Avx2(());

impl Avx2 {
    /// The proof, if the processor has the instructions.
    pub(crate) fn detect() -> Option<Self> {
        InstructionSet::Avx2.is_available().then_some(Self(()))
    }
}

/// 16 floats in two registers.
#[derive(Clone, Copy)]
pub(crate) struct Pair(__m256, __m256);

impl Simd for Avx2 {
    type Floats = Pair;

    #[inline(always)]
    fn splat(self, value: f32) -> Pair {
        // SAFETY: `self` proves AVX2.
        let register = unsafe { _mm256_set1_ps(value) };
        Pair(register, register)
    }

    #[inline(always)]
    fn load(self, from: &[f32; LANES]) -> Pair {
        let from = from.as_ptr();
        // SAFETY: `self` proves AVX2, and the array is 64 readable bytes.
        unsafe { Pair(_mm256_loadu_ps(from), _mm256_loadu_ps(from.add(WIDTH))) }
    }

    #[inline(always)]
    fn store(self, value: Pair, to: &mut [f32; LANES]) {
        let to = to.as_mut_ptr();
        // SAFETY: `self` proves AVX2, and the array is 64 writable bytes.
        unsafe {
            _mm256_storeu_ps(to, value.0);
            _mm256_storeu_ps(to.add(WIDTH), value.1);
        }
    }

    #[inline(always)]
    fn add(self, a: Pair, b: Pair) -> Pair {
        // SAFETY: `self` proves AVX2.
        unsafe { Pair(_mm256_add_ps(a.0, b.0), _mm256_add_ps(a.1, b.1)) }
    }

    #[inline(always)]
    fn sub(self, a: Pair, b: Pair) -> Pair {
        // SAFETY: `self` proves AVX2.
        unsafe { Pair(_mm256_sub_ps(a.0, b.0), _mm256_sub_ps(a.1, b.1)) }
    }

    #[inline(always)]
    fn mul(self, a: Pair, b: Pair) -> Pair {
        // SAFETY: `self` proves AVX2.
        unsafe { Pair(_mm256_mul_ps(a.0, b.0), _mm256_mul_ps(a.1, b.1)) }
    }

    #[inline(always)]
    fn div(self, a: Pair, b: Pair) -> Pair {
        // SAFETY: `self` proves AVX2.
        unsafe { Pair(_mm256_div_ps(a.0, b.0), _mm256_div_ps(a.1, b.1)) }
    }

    #[inline(always)]
    fn mul_add(self, a: Pair, b: Pair, c: Pair) -> Pair {
        // SAFETY: `self` proves FMA.
        unsafe { Pair(_mm256_fmadd_ps(a.0, b.0, c.0), _mm256_fmadd_ps(a.1, b.1, c.1)) }
    }

    #[inline(always)]
    fn max(self, a: Pair, b: Pair) -> Pair {
        // SAFETY: `self` proves AVX2.
        unsafe { Pair(_mm256_max_ps(a.0, b.0), _mm256_max_ps(a.1, b.1)) }
    }

    #[inline(always)]
    fn min(self, a: Pair, b: Pair) -> Pair {
        // SAFETY: `self` proves AVX2.
        unsafe { Pair(_mm256_min_ps(a.0, b.0), _mm256_min_ps(a.1, b.1)) }
    }

    #[inline(always)]
    fn round(self, a: Pair) -> Pair {
        const NEAREST: i32 = _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC;
        // SAFETY: `self` proves AVX2.
        unsafe { Pair(_mm256_round_ps::<NEAREST>(a.0), _mm256_round_ps::<NEAREST>(a.1)) }
    }

    #[inline(always)]
    fn power_of_two(self, n: Pair) -> Pair {
        // SAFETY: `self` proves AVX2.
        unsafe { Pair(power_of_two(n.0), power_of_two(n.1)) }
    }

    #[inline(always)]
    fn add_integers(self, a: &[i32; LANES], b: &[i32; LANES]) -> Pair {
        let (a, b) = (a.as_ptr().cast::<__m256i>(), b.as_ptr().cast::<__m256i>());
        // SAFETY: `self` proves AVX2, and each array is 64 readable bytes.
        unsafe {
            let low = _mm256_add_epi32(_mm256_loadu_si256(a), _mm256_loadu_si256(b));
            let high = _mm256_add_epi32(_mm256_loadu_si256(a.add(1)), _mm256_loadu_si256(b.add(1)));
            Pair(_mm256_cvtepi32_ps(low), _mm256_cvtepi32_ps(high))
        }
    }

    #[inline(always)]
    fn to_bytes(self, value: Pair, to: &mut [u8; LANES]) {
        // SAFETY: `self` proves AVX2, and the array is 16 writable bytes.
        unsafe {
            // Packing interleaves the halves of the registers, which the permutation undoes.
            let words = _mm256_packs_epi32(_mm256_cvtps_epi32(value.0), _mm256_cvtps_epi32(value.1));
            let words = _mm256_permute4x64_epi64::<0b11_01_10_00>(words);
            let bytes = _mm_packus_epi16(_mm256_castsi256_si128(words), _mm256_extracti128_si256::<1>(words));
            _mm_storeu_si128(to.as_mut_ptr().cast(), bytes);
        }
    }

    #[inline(always)]
    fn products(self, a: &[u8], stride: usize, rows: usize, panel: &[i8], groups: usize, tile: &mut Tile) {
        assert!(panel.len() >= groups * GROUP * PANEL && (1..=ROWS).contains(&rows));
        assert!(a.len() >= (rows - 1) * stride + groups * GROUP);
        for columns in (0..PANEL).step_by(COLUMNS) {
            // SAFETY: `self` proves the instructions; the asserted lengths hold everything that is read.
            unsafe {
                match rows {
                    1 => products::<1>(a, stride, panel, groups, columns, tile),
                    2 => products::<2>(a, stride, panel, groups, columns, tile),
                    3 => products::<3>(a, stride, panel, groups, columns, tile),
                    4 => products::<4>(a, stride, panel, groups, columns, tile),
                    5 => products::<5>(a, stride, panel, groups, columns, tile),
                    _ => products::<6>(a, stride, panel, groups, columns, tile),
                }
            }
        }
    }
}

/// `2^n` for whole numbers.
///
/// # Safety
///
/// The processor has AVX2.
#[inline]
#[target_feature(enable = "avx2")]
unsafe fn power_of_two(n: __m256) -> __m256 {
    let exponent = _mm256_add_epi32(_mm256_cvtps_epi32(n), _mm256_set1_epi32(127));
    _mm256_castsi256_ps(_mm256_slli_epi32::<23>(exponent))
}

/// [`Simd::products`] of `R` rows and 16 columns, whose sums stay in registers.
///
/// # Safety
///
/// The processor has AVX2. `a` holds `R` rows of `groups * 4` bytes, `stride` apart; `panel` holds `groups` groups; `first` is at most 48.
#[target_feature(enable = "avx2")]
unsafe fn products<const R: usize>(
    a: &[u8],
    stride: usize,
    panel: &[i8],
    groups: usize,
    first: usize,
    tile: &mut Tile,
) {
    let ones = _mm256_set1_epi16(1);
    let mut sums = [[_mm256_setzero_si256(); 2]; R];
    let (a, panel) = (a.as_ptr(), panel.as_ptr());
    for group in 0..groups {
        // SAFETY: the caller's lengths hold `groups` groups of the panel and of each row.
        unsafe {
            let columns = panel.add((group * PANEL + first) * GROUP).cast::<__m256i>();
            let columns = [_mm256_loadu_si256(columns), _mm256_loadu_si256(columns.add(1))];
            for (row, sums) in sums.iter_mut().enumerate() {
                let inputs = a.add(row * stride + group * GROUP).cast::<i32>().read_unaligned();
                let inputs = _mm256_set1_epi32(inputs);
                for (sum, &columns) in sums.iter_mut().zip(&columns) {
                    // Weights of at most 64 keep the sums of pairs within 16 bits.
                    let pairs = _mm256_maddubs_epi16(inputs, columns);
                    *sum = _mm256_add_epi32(*sum, _mm256_madd_epi16(pairs, ones));
                }
            }
        }
    }
    for (sums, row) in sums.iter().zip(tile) {
        let to = &mut row[first..first + COLUMNS];
        for (sum, to) in sums.iter().zip(to.chunks_exact_mut(WIDTH)) {
            // SAFETY: the chunk is 32 writable bytes.
            unsafe { _mm256_storeu_si256(to.as_mut_ptr().cast(), *sum) }
        }
    }
}
