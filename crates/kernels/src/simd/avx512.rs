//! AVX-512: a vector is one register. With VNNI, one instruction adds four 8-bit products to each of 16 sums.

use std::arch::x86_64::*;

use crate::instructions::InstructionSet;
use crate::linear::{GROUP, PANEL, Panel};
use crate::simd::vector::{Epilogue, LANES, Rows, Simd, Task};

/// The registers of a panel's columns.
const REGISTERS: usize = PANEL / LANES;
/// Rows whose sums stay in registers: 24 of the 32.
const ROWS: usize = 6;

/// A processor with AVX-512 F, BW and VNNI, which multiplies 8-bit integers with `P`.
#[derive(Clone, Copy)]
pub(crate) struct Avx512<P = Vnni>(P);

/// Products of 8-bit integers beside AVX-512. A value of the type proves that the processor has the instructions.
pub(crate) trait Product: Copy {
    /// [`Simd::multiply`].
    fn multiply<'l, E: Epilogue<Avx512<Self>>>(
        simd: Avx512<Self>,
        rows: Rows,
        panels: impl Iterator<Item = Panel<'l>>,
        epilogue: &mut E,
    );
}

/// Products with AVX-512 VNNI.
#[derive(Clone, Copy)]
pub(crate) struct Vnni(());

impl Avx512 {
    /// The proof, if the processor has the instructions.
    pub(crate) fn detect() -> Option<Self> {
        InstructionSet::Avx512Vnni
            .is_available()
            .then_some(Self(Vnni(())))
    }
}

impl<P: Product> Avx512<P> {
    /// The proof, if the processor has the instructions of `P`, of which the value is a proof, and AVX-512 VNNI.
    pub(super) fn with(product: P) -> Option<Self> {
        Avx512::<Vnni>::detect().map(|_| Self(product))
    }

    /// Runs the task, compiled for the instruction set.
    pub(crate) fn run(self, task: impl Task) {
        // SAFETY: `self` proves the instructions.
        unsafe { run(self, task) }
    }
}

impl<P: Product> Simd for Avx512<P> {
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
    fn sum(self, a: __m512) -> f32 {
        // SAFETY: `self` proves AVX-512 F.
        unsafe {
            let high = _mm256_castpd_ps(_mm512_extractf64x4_pd::<1>(_mm512_castps_pd(a)));
            let a = _mm256_add_ps(_mm512_castps512_ps256(a), high);
            let a = _mm_add_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps::<1>(a));
            let a = _mm_add_ps(a, _mm_movehl_ps(a, a));
            _mm_cvtss_f32(_mm_add_ss(a, _mm_movehdup_ps(a)))
        }
    }

    #[inline(always)]
    fn highest(self, a: __m512) -> f32 {
        // SAFETY: `self` proves AVX-512 F.
        unsafe {
            let high = _mm256_castpd_ps(_mm512_extractf64x4_pd::<1>(_mm512_castps_pd(a)));
            let a = _mm256_max_ps(_mm512_castps512_ps256(a), high);
            let a = _mm_max_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps::<1>(a));
            let a = _mm_max_ps(a, _mm_movehl_ps(a, a));
            _mm_cvtss_f32(_mm_max_ss(a, _mm_movehdup_ps(a)))
        }
    }

    #[inline(always)]
    fn transpose(self, rows: [__m512; LANES]) -> [__m512; LANES] {
        // SAFETY: `self` proves AVX-512 F.
        unsafe { transpose(rows) }
    }

    #[inline(always)]
    fn to_bytes(self, value: __m512, zero: u8, to: &mut [u8; LANES]) {
        // SAFETY: `self` proves AVX-512 F, and the array is 16 writable bytes.
        unsafe {
            // What is too low or not a number becomes the lowest integer. The minimum keeps what is not a number.
            let steps = _mm512_cvtps_epi32(_mm512_min_ps(_mm512_set1_ps(255.0), value));
            let steps = _mm512_add_epi32(steps, _mm512_set1_epi32(i32::from(zero)));
            let steps = _mm512_max_epi32(steps, _mm512_setzero_si512());
            _mm_storeu_si128(to.as_mut_ptr().cast(), _mm512_cvtusepi32_epi8(steps));
        }
    }

    #[inline(always)]
    fn multiply<'l, E: Epilogue<Self>>(
        self,
        rows: Rows,
        panels: impl Iterator<Item = Panel<'l>>,
        epilogue: &mut E,
    ) {
        P::multiply(self, rows, panels, epilogue);
    }
}

impl Product for Vnni {
    #[inline(always)]
    fn multiply<'l, E: Epilogue<Avx512>>(
        simd: Avx512,
        rows: Rows,
        panels: impl Iterator<Item = Panel<'l>>,
        epilogue: &mut E,
    ) {
        for panel in panels {
            assert!(panel.weights.len() % (GROUP * PANEL) == 0);
            rows.check(panel.weights.len() / PANEL);
            for (first, a) in rows.blocks(ROWS) {
                // SAFETY: `simd` proves the instructions; the checked lengths hold everything that is read.
                unsafe {
                    match a.count {
                        1 => multiply::<1, E>(simd, a, first, panel, epilogue),
                        2 => multiply::<2, E>(simd, a, first, panel, epilogue),
                        3 => multiply::<3, E>(simd, a, first, panel, epilogue),
                        4 => multiply::<4, E>(simd, a, first, panel, epilogue),
                        5 => multiply::<5, E>(simd, a, first, panel, epilogue),
                        _ => multiply::<ROWS, E>(simd, a, first, panel, epilogue),
                    }
                }
            }
        }
    }
}

/// [`Simd::multiply`] of `R` rows, whose sums stay in registers.
///
/// # Safety
///
/// The processor has AVX-512 F, BW and VNNI. The panel holds whole groups; `a` holds `R` rows as long as a column of the panel.
#[target_feature(enable = "avx512f,avx512bw,avx512vnni,fma")]
unsafe fn multiply<const R: usize, E: Epilogue<Avx512>>(
    simd: Avx512,
    a: Rows,
    first: usize,
    panel: Panel,
    epilogue: &mut E,
) {
    let bias = panel.bias.as_ptr().cast::<__m512i>();
    // SAFETY: the bias is four vectors of 64 bytes.
    let bias: [__m512i; REGISTERS] = std::array::from_fn(|at| unsafe { _mm512_loadu_si512(bias.add(at)) });
    let mut sums = [bias; R];
    let (rows, weights) = (a.bytes.as_ptr(), panel.weights.as_ptr());
    for group in 0..panel.weights.len() / (GROUP * PANEL) {
        // SAFETY: the caller's lengths hold this group of the panel and of each row.
        unsafe {
            let columns = weights.add(group * GROUP * PANEL).cast::<__m512i>();
            let columns: [__m512i; REGISTERS] = std::array::from_fn(|at| _mm512_loadu_si512(columns.add(at)));
            for (row, sums) in sums.iter_mut().enumerate() {
                let inputs = rows
                    .add(row * a.stride + group * GROUP)
                    .cast::<i32>()
                    .read_unaligned();
                let inputs = _mm512_set1_epi32(inputs);
                for (sum, &columns) in sums.iter_mut().zip(&columns) {
                    *sum = _mm512_dpbusd_epi32(*sum, inputs, columns);
                }
            }
        }
    }
    let (scales, _) = panel.scales.as_chunks::<LANES>();
    if E::IN_REGISTERS {
        for (row, sums) in sums.iter().enumerate() {
            for (part, (&sum, scales)) in sums.iter().zip(scales).enumerate() {
                let product = simd.mul(_mm512_cvtepi32_ps(sum), simd.load(scales));
                epilogue.take(simd, first + row, panel.column + part * LANES, product);
            }
        }
        return;
    }
    let mut products = [[[0.0; LANES]; REGISTERS]; R];
    for (sums, products) in sums.iter().zip(&mut products) {
        for ((sum, scales), product) in sums.iter().zip(scales).zip(products) {
            simd.store(simd.mul(_mm512_cvtepi32_ps(*sum), simd.load(scales)), product);
        }
    }
    finish(simd, &products, first, panel.column, epilogue);
}

/// Gives the products to the epilogue. Not inlined, so that the epilogue has the registers of the sums.
#[inline(never)]
#[target_feature(enable = "avx512f,avx512bw,avx512vnni,fma")]
fn finish<const R: usize, E: Epilogue<Avx512>>(
    simd: Avx512,
    products: &[[[f32; LANES]; REGISTERS]; R],
    first: usize,
    column: usize,
    epilogue: &mut E,
) {
    for (row, products) in products.iter().enumerate() {
        for (part, product) in products.iter().enumerate() {
            epilogue.take(simd, first + row, column + part * LANES, simd.load(product));
        }
    }
}

/// [`Avx512::run`].
///
/// # Safety
///
/// The processor has AVX-512 F, BW and VNNI.
#[target_feature(enable = "avx512f,avx512bw,avx512vnni,fma")]
unsafe fn run<P: Product>(simd: Avx512<P>, task: impl Task) {
    task.run(simd);
}

/// [`Simd::transpose`].
///
/// # Safety
///
/// The processor has AVX-512 F.
#[inline]
#[target_feature(enable = "avx512f")]
unsafe fn transpose(rows: [__m512; LANES]) -> [__m512; LANES] {
    // Of four rows, a vector holds in each quarter `q` the column `4 q + c`.
    let mut quarters = [[rows[0]; 4]; 4];
    for (quarters, rows) in quarters.iter_mut().zip(rows.chunks_exact(4)) {
        let even = _mm512_castps_pd(_mm512_unpacklo_ps(rows[0], rows[1]));
        let odd = _mm512_castps_pd(_mm512_unpackhi_ps(rows[0], rows[1]));
        let next_even = _mm512_castps_pd(_mm512_unpacklo_ps(rows[2], rows[3]));
        let next_odd = _mm512_castps_pd(_mm512_unpackhi_ps(rows[2], rows[3]));
        quarters[0] = _mm512_castpd_ps(_mm512_unpacklo_pd(even, next_even));
        quarters[1] = _mm512_castpd_ps(_mm512_unpackhi_pd(even, next_even));
        quarters[2] = _mm512_castpd_ps(_mm512_unpacklo_pd(odd, next_odd));
        quarters[3] = _mm512_castpd_ps(_mm512_unpackhi_pd(odd, next_odd));
    }
    let mut columns = rows;
    for column in 0..4 {
        let [a, b, c, d] = [
            quarters[0][column],
            quarters[1][column],
            quarters[2][column],
            quarters[3][column],
        ];
        let even = [
            _mm512_shuffle_f32x4::<0x88>(a, b),
            _mm512_shuffle_f32x4::<0x88>(c, d),
        ];
        let odd = [
            _mm512_shuffle_f32x4::<0xdd>(a, b),
            _mm512_shuffle_f32x4::<0xdd>(c, d),
        ];
        columns[column] = _mm512_shuffle_f32x4::<0x88>(even[0], even[1]);
        columns[4 + column] = _mm512_shuffle_f32x4::<0x88>(odd[0], odd[1]);
        columns[8 + column] = _mm512_shuffle_f32x4::<0xdd>(even[0], even[1]);
        columns[12 + column] = _mm512_shuffle_f32x4::<0xdd>(odd[0], odd[1]);
    }
    columns
}
