//! Vectors of 16 floats and products of 8-bit integers, for each instruction set.

#[cfg(target_arch = "x86_64")]
pub(crate) mod amx;
#[cfg(target_arch = "x86_64")]
pub(crate) mod avx2;
#[cfg(target_arch = "x86_64")]
pub(crate) mod avx512;
#[cfg(target_arch = "x86_64")]
pub(crate) mod avx_vnni;
#[cfg(target_arch = "aarch64")]
pub(crate) mod neon;
pub(crate) mod portable;
#[cfg(target_arch = "x86_64")]
mod tiles;

use crate::instructions::InstructionSet;
use crate::linear::Panel;
use crate::product::{Epilogue, Rows};

/// Floats of a vector. It is 16 for every instruction set, since the order of a sum depends on it.
pub(crate) const LANES: usize = 16;

/// The operations of an instruction set. A value of the type proves that the processor has it.
///
/// Every operation rounds as IEEE 754 asks, multiplication with addition once, so that all instruction sets agree in every bit. The
/// floating-point environment is the default one: round to nearest, denormals kept. Nothing in the process may set another on a thread
/// that computes, as the session option `session.set_denormal_as_zero` of ONNX Runtime would.
pub(crate) trait Simd: Copy + Sized {
    /// 16 floats.
    type Floats: Copy;

    fn splat(self, value: f32) -> Self::Floats;
    fn load(self, from: &[f32; LANES]) -> Self::Floats;
    fn store(self, value: Self::Floats, to: &mut [f32; LANES]);
    fn add(self, a: Self::Floats, b: Self::Floats) -> Self::Floats;
    fn sub(self, a: Self::Floats, b: Self::Floats) -> Self::Floats;
    fn mul(self, a: Self::Floats, b: Self::Floats) -> Self::Floats;
    /// `a / b`.
    fn div(self, a: Self::Floats, b: Self::Floats) -> Self::Floats;
    /// `a * b + c`, rounded once.
    fn mul_add(self, a: Self::Floats, b: Self::Floats, c: Self::Floats) -> Self::Floats;
    /// `a` where it is greater, else `b`, which is also taken where either is not a number.
    fn max(self, a: Self::Floats, b: Self::Floats) -> Self::Floats;
    /// `a` where it is less, else `b`, which is also taken where either is not a number.
    fn min(self, a: Self::Floats, b: Self::Floats) -> Self::Floats;
    /// The nearest integers, halves to even.
    fn round(self, a: Self::Floats) -> Self::Floats;
    /// `2^n` for whole numbers from -126 to 127.
    fn power_of_two(self, n: Self::Floats) -> Self::Floats;
    /// The sum of the lanes in one order: lane `i` and lane `i + 8`, then `i + 4`, `i + 2` and `i + 1`.
    fn sum(self, a: Self::Floats) -> f32;
    /// The highest lane, compared in the order of [`Simd::sum`] by [`Simd::max`].
    fn highest(self, a: Self::Floats) -> f32;
    /// Lane `i` of row `j` becomes lane `j` of row `i`.
    #[inline(always)]
    fn transpose(self, rows: [Self::Floats; LANES]) -> [Self::Floats; LANES] {
        let mut values = [[0.0; LANES]; LANES];
        for (row, values) in rows.into_iter().zip(&mut values) {
            self.store(row, values);
        }
        std::array::from_fn(|column| self.load(&std::array::from_fn(|row| values[row][column])))
    }

    /// The nearest integers, halves to even, plus `zero`; 0 or 255 for what is below or above, 0 for what is not a number.
    fn to_bytes(self, value: Self::Floats, zero: u8, to: &mut [u8; LANES]);

    /// Multiplies the rows with each panel: the sum over `k` of `row[k] * panel[k][column]`, plus the bias, times the scale. Each 16
    /// columns of a row are given to the epilogue once.
    fn multiply<'l, E: Epilogue<Self>>(
        self,
        rows: Rows,
        panels: impl Iterator<Item = Panel<'l>>,
        epilogue: &mut E,
    );
}

/// What can be computed with any instruction set.
pub(crate) trait Task {
    /// Computes it. Every function between it and the operations of `simd` must be inlined, so that it is compiled for the instruction set.
    fn run<S: Simd>(self, simd: S);
}

impl InstructionSet {
    /// Runs the task with this instruction set; with portable Rust if the processor lacks it.
    pub(crate) fn run(self, task: impl Task) {
        match self {
            #[cfg(target_arch = "x86_64")]
            Self::Amx => match amx::Amx::detect() {
                Some(simd) => simd.run(task),
                None => task.run(portable::Portable),
            },
            #[cfg(target_arch = "x86_64")]
            Self::AvxVnni => match avx_vnni::AvxVnni::detect() {
                Some(simd) => simd.run(task),
                None => task.run(portable::Portable),
            },
            #[cfg(target_arch = "x86_64")]
            Self::Avx512Vnni => match avx512::Avx512::<avx512::Vnni>::detect() {
                Some(simd) => simd.run(task),
                None => task.run(portable::Portable),
            },
            #[cfg(target_arch = "x86_64")]
            Self::Avx2 => match avx2::Avx2::<avx2::Pairs>::detect() {
                Some(simd) => simd.run(task),
                None => task.run(portable::Portable),
            },
            #[cfg(not(target_arch = "x86_64"))]
            Self::Amx | Self::Avx512Vnni | Self::AvxVnni | Self::Avx2 => task.run(portable::Portable),
            #[cfg(target_arch = "aarch64")]
            Self::NeonDotprod => match neon::Neon::detect() {
                Some(simd) => simd.run(task),
                None => task.run(portable::Portable),
            },
            #[cfg(not(target_arch = "aarch64"))]
            Self::NeonDotprod => task.run(portable::Portable),
            Self::Portable => task.run(portable::Portable),
        }
    }
}

#[cfg(test)]
mod tests;
