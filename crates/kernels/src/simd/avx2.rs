//! AVX2 with FMA: a vector is two registers. Without VNNI, 8-bit products are added in pairs of 16 bits.

use std::arch::x86_64::*;

use crate::instructions::InstructionSet;
use crate::linear::{GROUP, PANEL, Panel};
use crate::simd::vector::{Epilogue, LANES, Rows, Simd, Task};

/// Sums of a register.
const WIDTH: usize = 8;
/// Rows whose sums stay in registers: 12 of the 16.
const ROWS: usize = 6;

/// A processor with AVX2 and FMA, which adds 8-bit products with `D`.
#[derive(Clone, Copy)]
pub(crate) struct Avx2<D = Pairs>(D);

/// Sums of 8-bit products beside AVX2. A value of the type proves that the processor has the instructions.
pub(crate) trait Dot: Copy {
    /// Adds four products of `inputs`, which are unsigned, with `weights` of at most 64 to each of 8 sums.
    ///
    /// # Safety
    ///
    /// The processor has AVX2 and the instructions of `Self`.
    unsafe fn add(sums: __m256i, inputs: __m256i, weights: __m256i) -> __m256i;

    /// [`multiply`], compiled for the instructions.
    ///
    /// # Safety
    ///
    /// That of [`multiply`].
    unsafe fn multiply<const R: usize, E: Epilogue<Avx2<Self>>>(
        simd: Avx2<Self>,
        a: Rows,
        first: usize,
        panel: Panel,
        part: usize,
        epilogue: &mut E,
    );
}

/// Products in pairs of 16 bits.
#[derive(Clone, Copy)]
pub(crate) struct Pairs(());

impl Avx2 {
    /// The proof, if the processor has the instructions.
    pub(crate) fn detect() -> Option<Self> {
        InstructionSet::Avx2.is_available().then_some(Self(Pairs(())))
    }
}

impl Dot for Pairs {
    #[inline(always)]
    unsafe fn add(sums: __m256i, inputs: __m256i, weights: __m256i) -> __m256i {
        // SAFETY: the caller's processor has AVX2.
        unsafe {
            // Weights of at most 64 keep the sums of pairs within 16 bits.
            let pairs = _mm256_maddubs_epi16(inputs, weights);
            _mm256_add_epi32(sums, _mm256_madd_epi16(pairs, _mm256_set1_epi16(1)))
        }
    }

    #[target_feature(enable = "avx2,fma")]
    unsafe fn multiply<const R: usize, E: Epilogue<Avx2>>(
        simd: Avx2,
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

impl<D: Dot> Avx2<D> {
    /// The proof, if the processor has the instructions of `D`, of which the value is a proof, and AVX2.
    pub(super) fn with(dot: D) -> Option<Self> {
        Avx2::<Pairs>::detect().map(|_| Self(dot))
    }

    /// Runs the task, compiled for the instruction set.
    pub(crate) fn run(self, task: impl Task) {
        // SAFETY: `self` proves the instructions.
        unsafe { run(self, task) }
    }
}

/// 16 floats in two registers.
#[derive(Clone, Copy)]
pub(crate) struct Pair(__m256, __m256);

impl<D: Dot> Simd for Avx2<D> {
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
    fn sum(self, a: Pair) -> f32 {
        // SAFETY: `self` proves AVX2.
        unsafe {
            let a = _mm256_add_ps(a.0, a.1);
            let a = _mm_add_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps::<1>(a));
            let a = _mm_add_ps(a, _mm_movehl_ps(a, a));
            _mm_cvtss_f32(_mm_add_ss(a, _mm_movehdup_ps(a)))
        }
    }

    #[inline(always)]
    fn highest(self, a: Pair) -> f32 {
        // SAFETY: `self` proves AVX2.
        unsafe {
            let a = _mm256_max_ps(a.0, a.1);
            let a = _mm_max_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps::<1>(a));
            let a = _mm_max_ps(a, _mm_movehl_ps(a, a));
            _mm_cvtss_f32(_mm_max_ss(a, _mm_movehdup_ps(a)))
        }
    }

    #[inline(always)]
    fn transpose(self, rows: [Pair; LANES]) -> [Pair; LANES] {
        let (mut halves, mut columns) = ([[rows[0].0; WIDTH]; 4], rows);
        for (row, pair) in rows.iter().enumerate() {
            halves[row / WIDTH][row % WIDTH] = pair.0;
            halves[2 + row / WIDTH][row % WIDTH] = pair.1;
        }
        for half in &mut halves {
            // SAFETY: `self` proves AVX2.
            *half = unsafe { transpose(*half) };
        }
        for column in 0..WIDTH {
            columns[column] = Pair(halves[0][column], halves[1][column]);
            columns[WIDTH + column] = Pair(halves[2][column], halves[3][column]);
        }
        columns
    }

    #[inline(always)]
    fn to_bytes(self, value: Pair, zero: u8, to: &mut [u8; LANES]) {
        // SAFETY: `self` proves AVX2, and the array is 16 writable bytes.
        unsafe {
            // What is too low or not a number becomes the lowest integer. The minimum keeps what is not a number.
            let zero = _mm256_set1_epi32(i32::from(zero));
            let steps = |value| _mm256_cvtps_epi32(_mm256_min_ps(_mm256_set1_ps(255.0), value));
            let low = _mm256_add_epi32(steps(value.0), zero);
            let high = _mm256_add_epi32(steps(value.1), zero);
            // Packing interleaves the halves of the registers, which the permutation undoes.
            let words = _mm256_permute4x64_epi64::<0b11_01_10_00>(_mm256_packs_epi32(low, high));
            let bytes = _mm_packus_epi16(
                _mm256_castsi256_si128(words),
                _mm256_extracti128_si256::<1>(words),
            );
            _mm_storeu_si128(to.as_mut_ptr().cast(), bytes);
        }
    }

    #[inline(always)]
    fn multiply<'l, E: Epilogue<Self>>(
        self,
        rows: Rows,
        panels: impl Iterator<Item = Panel<'l>>,
        epilogue: &mut E,
    ) {
        for panel in panels {
            assert!(panel.weights.len() % (GROUP * PANEL) == 0);
            rows.check(panel.weights.len() / PANEL);
            for (first, a) in rows.blocks(ROWS) {
                for part in 0..PANEL / LANES {
                    // SAFETY: `self` proves the instructions; the checked lengths hold everything that is read.
                    unsafe {
                        match a.count {
                            1 => D::multiply::<1, E>(self, a, first, panel, part, epilogue),
                            2 => D::multiply::<2, E>(self, a, first, panel, part, epilogue),
                            3 => D::multiply::<3, E>(self, a, first, panel, part, epilogue),
                            4 => D::multiply::<4, E>(self, a, first, panel, part, epilogue),
                            5 => D::multiply::<5, E>(self, a, first, panel, part, epilogue),
                            _ => D::multiply::<ROWS, E>(self, a, first, panel, part, epilogue),
                        }
                    }
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

/// [`Simd::multiply`] of `R` rows and the panel's `part` of 16 columns, whose sums stay in registers.
///
/// # Safety
///
/// The processor has AVX2, FMA and the instructions of `D`. The panel holds whole groups; `a` holds `R` rows as long as a column of the
/// panel; `part` is less than 4.
#[inline(always)]
pub(super) unsafe fn multiply<const R: usize, D: Dot, E: Epilogue<Avx2<D>>>(
    simd: Avx2<D>,
    a: Rows,
    first: usize,
    panel: Panel,
    part: usize,
    epilogue: &mut E,
) {
    let bias = panel.bias[part * LANES..].as_ptr().cast::<__m256i>();
    // SAFETY: 16 numbers of the bias are two vectors of 32 bytes.
    let bias = unsafe { [_mm256_loadu_si256(bias), _mm256_loadu_si256(bias.add(1))] };
    let mut sums = [bias; R];
    let (rows, weights) = (a.bytes.as_ptr(), panel.weights.as_ptr());
    for group in 0..panel.weights.len() / (GROUP * PANEL) {
        // SAFETY: the caller's lengths hold this group of the panel and of each row.
        unsafe {
            let columns = weights
                .add((group * PANEL + part * LANES) * GROUP)
                .cast::<__m256i>();
            let columns = [_mm256_loadu_si256(columns), _mm256_loadu_si256(columns.add(1))];
            for (row, sums) in sums.iter_mut().enumerate() {
                let inputs = rows
                    .add(row * a.stride + group * GROUP)
                    .cast::<i32>()
                    .read_unaligned();
                let inputs = _mm256_set1_epi32(inputs);
                for (sum, &columns) in sums.iter_mut().zip(&columns) {
                    *sum = D::add(*sum, inputs, columns);
                }
            }
        }
    }
    let (scales, _) = panel.scales.as_chunks::<LANES>();
    let mut products = [[0.0; LANES]; R];
    for (sums, product) in sums.iter().zip(&mut products) {
        // SAFETY: the caller's processor has AVX2.
        let value = unsafe { Pair(_mm256_cvtepi32_ps(sums[0]), _mm256_cvtepi32_ps(sums[1])) };
        simd.store(simd.mul(value, simd.load(&scales[part])), product);
    }
    // SAFETY: the caller's processor has AVX2 and FMA.
    unsafe { finish(simd, &products, first, panel.column + part * LANES, epilogue) };
}

/// Gives the products to the epilogue. Not inlined, so that the epilogue has the registers of the sums.
#[inline(never)]
#[target_feature(enable = "avx2,fma")]
fn finish<const R: usize, D: Dot, E: Epilogue<Avx2<D>>>(
    simd: Avx2<D>,
    products: &[[f32; LANES]; R],
    first: usize,
    column: usize,
    epilogue: &mut E,
) {
    for (row, product) in products.iter().enumerate() {
        epilogue.take(simd, first + row, column, simd.load(product));
    }
}

/// [`Avx2::run`].
///
/// # Safety
///
/// The processor has AVX2 and FMA.
#[target_feature(enable = "avx2,fma")]
unsafe fn run<D: Dot>(simd: Avx2<D>, task: impl Task) {
    task.run(simd);
}

/// Lane `i` of row `j` becomes lane `j` of row `i`.
///
/// # Safety
///
/// The processor has AVX2.
#[inline]
#[target_feature(enable = "avx2")]
unsafe fn transpose(rows: [__m256; WIDTH]) -> [__m256; WIDTH] {
    // Of four rows, a vector holds in each half `h` the column `4 h + c`.
    let mut halves = [[rows[0]; 4]; 2];
    for (halves, rows) in halves.iter_mut().zip(rows.chunks_exact(4)) {
        let [low, next_low] = [
            _mm256_unpacklo_ps(rows[0], rows[1]),
            _mm256_unpacklo_ps(rows[2], rows[3]),
        ];
        let [high, next_high] = [
            _mm256_unpackhi_ps(rows[0], rows[1]),
            _mm256_unpackhi_ps(rows[2], rows[3]),
        ];
        halves[0] = _mm256_shuffle_ps::<0x44>(low, next_low);
        halves[1] = _mm256_shuffle_ps::<0xee>(low, next_low);
        halves[2] = _mm256_shuffle_ps::<0x44>(high, next_high);
        halves[3] = _mm256_shuffle_ps::<0xee>(high, next_high);
    }
    let mut columns = rows;
    for column in 0..4 {
        let [a, b] = [halves[0][column], halves[1][column]];
        columns[column] = _mm256_permute2f128_ps::<0x20>(a, b);
        columns[4 + column] = _mm256_permute2f128_ps::<0x31>(a, b);
    }
    columns
}
