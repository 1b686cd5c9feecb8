//! Vectors of 16 floats, products of 8-bit integers, and what is done with each product while it is in a register.

use crate::linear::Panel;

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

/// Rows of bytes, the inputs of products.
#[derive(Clone, Copy)]
pub(crate) struct Rows<'a> {
    pub(crate) bytes: &'a [u8],
    /// Bytes from one row to the next.
    pub(crate) stride: usize,
    pub(crate) count: usize,
}

impl<'a> Rows<'a> {
    /// Panics unless every row has `width` bytes, as the instruction sets require that read rows through pointers.
    #[inline(always)]
    pub(crate) fn check(self, width: usize) {
        let last = self.count.saturating_sub(1) * self.stride;
        assert!(self.count == 0 || self.bytes.len() >= last + width);
    }

    /// Blocks of at most `size` rows, each with the number of its first row.
    #[inline(always)]
    pub(crate) fn blocks(self, size: usize) -> impl Iterator<Item = (usize, Self)> {
        let block = move |first| Self {
            bytes: &self.bytes[first * self.stride..],
            count: size.min(self.count - first),
            ..self
        };
        (0..self.count)
            .step_by(size)
            .map(move |first| (first, block(first)))
    }
}

/// What is done with a product, 16 columns of a row at a time.
pub(crate) trait Epilogue<S: Simd> {
    /// Whether it needs so few registers that it can follow a product without moving the sums to memory.
    const IN_REGISTERS: bool = true;

    /// `value` holds the real values of the columns from `column` of the row.
    fn take(&mut self, simd: S, row: usize, column: usize, value: S::Floats);
}
