//! aarch64 with dot products: a vector is four registers, and one instruction adds four 8-bit products to each of four sums.

use std::arch::aarch64::*;
use std::arch::asm;

use crate::instructions::InstructionSet;
use crate::linear::{GROUP, PANEL, Panel};
use crate::simd::vector::{Epilogue, LANES, Rows, Simd, Task};

/// Sums of a register.
const WIDTH: usize = 4;
/// The registers of a vector.
const REGISTERS: usize = LANES / WIDTH;
/// Groups of a row that one register holds.
const GROUPS: usize = 4;
/// The most rows that are computed together: 20 registers of sums, 5 of inputs and those of the columns are fewer than 32.
const BLOCK: usize = 5;

/// A processor with NEON and dot products.
#[derive(Clone, Copy)]
pub(crate) struct Neon(());

impl Neon {
    /// The proof, if the processor has the instructions.
    pub(crate) fn detect() -> Option<Self> {
        InstructionSet::NeonDotprod.is_available().then_some(Self(()))
    }

    /// Runs the task, compiled for the instruction set.
    pub(crate) fn run(self, task: impl Task) {
        // SAFETY: `self` proves the instructions.
        unsafe { run(self, task) }
    }
}

/// 16 floats in four registers.
type Quad = [float32x4_t; REGISTERS];

#[inline(always)]
fn each(a: Quad, b: Quad, of: impl Fn(float32x4_t, float32x4_t) -> float32x4_t) -> Quad {
    [of(a[0], b[0]), of(a[1], b[1]), of(a[2], b[2]), of(a[3], b[3])]
}

/// [`Simd::max`]; the instruction `fmax` has another result where a lane is not a number.
///
/// # Safety
///
/// The processor has NEON.
#[inline]
#[target_feature(enable = "neon")]
unsafe fn greater(a: float32x4_t, b: float32x4_t) -> float32x4_t {
    vbslq_f32(vcgtq_f32(a, b), a, b)
}

/// [`Simd::min`].
///
/// # Safety
///
/// The processor has NEON.
#[inline]
#[target_feature(enable = "neon")]
unsafe fn lesser(a: float32x4_t, b: float32x4_t) -> float32x4_t {
    vbslq_f32(vcltq_f32(a, b), a, b)
}

impl Simd for Neon {
    type Floats = Quad;

    #[inline(always)]
    fn splat(self, value: f32) -> Quad {
        // SAFETY: `self` proves NEON.
        [unsafe { vdupq_n_f32(value) }; REGISTERS]
    }

    #[inline(always)]
    fn load(self, from: &[f32; LANES]) -> Quad {
        let from = from.as_ptr();
        // SAFETY: `self` proves NEON, and the array is 64 readable bytes.
        std::array::from_fn(|at| unsafe { vld1q_f32(from.add(at * WIDTH)) })
    }

    #[inline(always)]
    fn store(self, value: Quad, to: &mut [f32; LANES]) {
        for (value, to) in value.into_iter().zip(to.as_chunks_mut::<WIDTH>().0) {
            // SAFETY: `self` proves NEON, and the chunk is 16 writable bytes.
            unsafe { vst1q_f32(to.as_mut_ptr(), value) }
        }
    }

    #[inline(always)]
    fn add(self, a: Quad, b: Quad) -> Quad {
        // SAFETY: `self` proves NEON.
        each(a, b, |a, b| unsafe { vaddq_f32(a, b) })
    }

    #[inline(always)]
    fn sub(self, a: Quad, b: Quad) -> Quad {
        // SAFETY: `self` proves NEON.
        each(a, b, |a, b| unsafe { vsubq_f32(a, b) })
    }

    #[inline(always)]
    fn mul(self, a: Quad, b: Quad) -> Quad {
        // SAFETY: `self` proves NEON.
        each(a, b, |a, b| unsafe { vmulq_f32(a, b) })
    }

    #[inline(always)]
    fn div(self, a: Quad, b: Quad) -> Quad {
        // SAFETY: `self` proves NEON.
        each(a, b, |a, b| unsafe { vdivq_f32(a, b) })
    }

    #[inline(always)]
    fn mul_add(self, a: Quad, b: Quad, c: Quad) -> Quad {
        // SAFETY: `self` proves NEON.
        std::array::from_fn(|at| unsafe { vfmaq_f32(c[at], a[at], b[at]) })
    }

    #[inline(always)]
    fn max(self, a: Quad, b: Quad) -> Quad {
        // SAFETY: `self` proves NEON.
        each(a, b, |a, b| unsafe { greater(a, b) })
    }

    #[inline(always)]
    fn min(self, a: Quad, b: Quad) -> Quad {
        // SAFETY: `self` proves NEON.
        each(a, b, |a, b| unsafe { lesser(a, b) })
    }

    #[inline(always)]
    fn round(self, a: Quad) -> Quad {
        // SAFETY: `self` proves NEON.
        a.map(|a| unsafe { vrndnq_f32(a) })
    }

    #[inline(always)]
    fn power_of_two(self, n: Quad) -> Quad {
        // SAFETY: `self` proves NEON.
        n.map(|n| unsafe {
            let exponent = vaddq_s32(vcvtnq_s32_f32(n), vdupq_n_s32(127));
            vreinterpretq_f32_s32(vshlq_n_s32::<23>(exponent))
        })
    }

    #[inline(always)]
    fn sum(self, a: Quad) -> f32 {
        // SAFETY: `self` proves NEON.
        unsafe {
            let a = vaddq_f32(vaddq_f32(a[0], a[2]), vaddq_f32(a[1], a[3]));
            let a = vadd_f32(vget_low_f32(a), vget_high_f32(a));
            vget_lane_f32::<0>(a) + vget_lane_f32::<1>(a)
        }
    }

    #[inline(always)]
    fn highest(self, a: Quad) -> f32 {
        // SAFETY: `self` proves NEON.
        unsafe {
            let a = greater(greater(a[0], a[2]), greater(a[1], a[3]));
            let a = greater(a, vextq_f32::<2>(a, a));
            vgetq_lane_f32::<0>(greater(a, vextq_f32::<1>(a, a)))
        }
    }

    #[inline(always)]
    fn transpose(self, rows: [Quad; LANES]) -> [Quad; LANES] {
        let mut columns = rows;
        for row in 0..REGISTERS {
            for column in 0..REGISTERS {
                let square = std::array::from_fn(|at| rows[row * WIDTH + at][column]);
                // SAFETY: `self` proves NEON.
                let square = unsafe { transpose(square) };
                for (at, square) in square.into_iter().enumerate() {
                    columns[column * WIDTH + at][row] = square;
                }
            }
        }
        columns
    }

    #[inline(always)]
    fn to_bytes(self, value: Quad, zero: u8, to: &mut [u8; LANES]) {
        // SAFETY: `self` proves NEON, and the array is 16 writable bytes.
        unsafe {
            let zero = vdupq_n_s32(i32::from(zero));
            let [a, b, c, d] = value.map(|value| {
                let steps = vqmovun_s32(vqaddq_s32(vcvtnq_s32_f32(value), zero));
                // What is not a number is not equal to itself.
                vand_u16(steps, vmovn_u32(vceqq_f32(value, value)))
            });
            let (low, high) = (vcombine_u16(a, b), vcombine_u16(c, d));
            vst1q_u8(to.as_mut_ptr(), vcombine_u8(vqmovn_u16(low), vqmovn_u16(high)));
        }
    }

    #[inline(always)]
    fn multiply<'l, E: Epilogue<Self>>(
        self,
        rows: Rows,
        panels: impl Iterator<Item = Panel<'l>>,
        epilogue: &mut E,
    ) {
        // Blocks of like numbers of rows: of six rows, twice three.
        let size = rows.count.div_ceil(rows.count.div_ceil(BLOCK).max(1)).max(1);
        for panel in panels {
            assert!(panel.weights.len() % (GROUP * PANEL) == 0);
            rows.check(panel.weights.len() / PANEL);
            for part in 0..PANEL / LANES {
                for (first, block) in rows.blocks(size) {
                    // SAFETY: `self` proves the instructions; the checked lengths hold everything that is read.
                    unsafe {
                        match block.count {
                            1 => multiply::<1, E>(self, block, first, panel, part, epilogue),
                            2 => multiply::<2, E>(self, block, first, panel, part, epilogue),
                            3 => multiply::<3, E>(self, block, first, panel, part, epilogue),
                            4 => multiply::<4, E>(self, block, first, panel, part, epilogue),
                            _ => multiply::<BLOCK, E>(self, block, first, panel, part, epilogue),
                        }
                    }
                }
            }
        }
    }
}

/// [`Simd::transpose`] of 4 by 4 floats.
///
/// # Safety
///
/// The processor has NEON.
#[inline]
#[target_feature(enable = "neon")]
unsafe fn transpose([a, b, c, d]: [float32x4_t; WIDTH]) -> [float32x4_t; WIDTH] {
    let (even, odd) = (vtrn1q_f32(a, b), vtrn2q_f32(a, b));
    let (below_even, below_odd) = (vtrn1q_f32(c, d), vtrn2q_f32(c, d));
    [
        vcombine_f32(vget_low_f32(even), vget_low_f32(below_even)),
        vcombine_f32(vget_low_f32(odd), vget_low_f32(below_odd)),
        vcombine_f32(vget_high_f32(even), vget_high_f32(below_even)),
        vcombine_f32(vget_high_f32(odd), vget_high_f32(below_odd)),
    ]
}

/// [`Simd::multiply`] of `R` rows and the panel's `part` of 16 columns, whose sums stay in registers.
///
/// # Safety
///
/// The processor has NEON and dot products. The panel holds whole groups; `a` holds `R` rows as long as a column of the panel; `part` is less than 4.
#[target_feature(enable = "neon,dotprod")]
unsafe fn multiply<const R: usize, E: Epilogue<Neon>>(
    simd: Neon,
    a: Rows,
    first: usize,
    panel: Panel,
    part: usize,
    epilogue: &mut E,
) {
    let bias = panel.signed_bias[part * LANES..].as_ptr();
    // SAFETY: 16 numbers of the bias are four vectors of 16 bytes.
    let bias: [int32x4_t; REGISTERS] = std::array::from_fn(|at| unsafe { vld1q_s32(bias.add(at * WIDTH)) });
    let mut sums = [bias; R];
    let (rows, weights) = (a.bytes.as_ptr(), panel.weights[part * LANES * GROUP..].as_ptr());
    let groups = panel.weights.len() / (GROUP * PANEL);
    let whole = groups - groups % GROUPS;
    for group in (0..whole).step_by(GROUPS) {
        // SAFETY: the caller's lengths hold these groups of the panel and of each row.
        unsafe {
            let inputs = rows.add(group * GROUP);
            let inputs = std::array::from_fn(|row| signed(vld1q_u8(inputs.add(row * a.stride))));
            let columns = weights.add(group * GROUP * PANEL);
            add_group::<R, 0>(&mut sums, &inputs, columns);
            add_group::<R, 1>(&mut sums, &inputs, columns.add(GROUP * PANEL));
            add_group::<R, 2>(&mut sums, &inputs, columns.add(2 * GROUP * PANEL));
            add_group::<R, 3>(&mut sums, &inputs, columns.add(3 * GROUP * PANEL));
        }
    }
    for group in whole..groups {
        // SAFETY: the caller's lengths hold this group of the panel and of each row.
        unsafe {
            let inputs = std::array::from_fn(|row| {
                let inputs = rows.add(row * a.stride + group * GROUP).cast::<u32>();
                signed(vreinterpretq_u8_u32(vdupq_n_u32(inputs.read_unaligned())))
            });
            add_group::<R, 0>(&mut sums, &inputs, weights.add(group * GROUP * PANEL));
        }
    }
    let (scales, _) = panel.scales.as_chunks::<LANES>();
    let scales = simd.load(&scales[part]);
    let products = sums.map(|sums| simd.mul(sums.map(|sum| vcvtq_f32_s32(sum)), scales));
    let column = panel.column + part * LANES;
    if E::IN_REGISTERS {
        for (row, product) in products.into_iter().enumerate() {
            epilogue.take(simd, first + row, column, product);
        }
    } else {
        finish(simd, &products, first, column, epilogue);
    }
}

/// The inputs less 128, since both factors of a dot product are signed. The bias makes up for it.
///
/// # Safety
///
/// The processor has NEON.
#[inline]
#[target_feature(enable = "neon")]
unsafe fn signed(inputs: uint8x16_t) -> int8x16_t {
    vreinterpretq_s8_u8(veorq_u8(inputs, vdupq_n_u8(128)))
}

/// Adds the products of 16 columns and one group of each row, `inputs[row][group]`.
///
/// # Safety
///
/// The processor has NEON and dot products, and 64 bytes of `columns` are readable.
#[inline]
#[target_feature(enable = "neon,dotprod")]
unsafe fn add_group<const R: usize, const AT: i32>(
    sums: &mut [[int32x4_t; REGISTERS]; R],
    inputs: &[int8x16_t; R],
    columns: *const i8,
) {
    for part in 0..REGISTERS {
        // SAFETY: the caller's 64 bytes are four vectors.
        let columns = unsafe { vld1q_s8(columns.add(part * WIDTH * GROUP)) };
        for (sums, &inputs) in sums.iter_mut().zip(inputs) {
            // SAFETY: the caller's processor has the instruction, which reads and writes these registers alone.
            unsafe {
                asm!(
                    "sdot {sum:v}.4s, {columns:v}.16b, {inputs:v}.4b[{at}]",
                    sum = inout(vreg) sums[part],
                    columns = in(vreg) columns,
                    inputs = in(vreg) inputs,
                    at = const AT,
                    options(pure, nomem, nostack, preserves_flags)
                );
            }
        }
    }
}

/// Gives the products to the epilogue. Not inlined, so that the epilogue has the registers of the sums.
#[inline(never)]
#[target_feature(enable = "neon,dotprod")]
fn finish<const R: usize, E: Epilogue<Neon>>(
    simd: Neon,
    products: &[Quad; R],
    first: usize,
    column: usize,
    epilogue: &mut E,
) {
    for (row, product) in products.iter().enumerate() {
        epilogue.take(simd, first + row, column, *product);
    }
}

/// [`Neon::run`].
///
/// # Safety
///
/// The processor has NEON and dot products.
#[target_feature(enable = "neon,dotprod")]
unsafe fn run(simd: Neon, task: impl Task) {
    task.run(simd);
}
