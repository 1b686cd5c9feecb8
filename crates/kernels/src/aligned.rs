//! Bytes at addresses that are multiples of 64.

/// A cache line.
#[derive(Clone, Copy, Debug)]
#[repr(C, align(64))]
pub(crate) struct Line([i8; 64]);

/// Bytes that start at a multiple of 64, in whole lines of 64, so that no vector crosses two cache lines.
#[derive(Clone, Debug)]
pub(crate) struct AlignedBytes(Vec<Line>);

impl AlignedBytes {
    /// Zeros: `lines` lines of 64 bytes.
    pub(crate) fn zeros(lines: usize) -> Self {
        Self(vec![Line([0; 64]); lines])
    }

    /// The line at this index.
    pub(crate) fn line_mut(&mut self, at: usize) -> &mut [i8; 64] {
        &mut self.0[at].0
    }

    /// All bytes.
    pub(crate) fn as_slice(&self) -> &[i8] {
        // SAFETY: `Line` is `repr(C)` over 64 bytes without padding, so the lines are one initialized run of bytes.
        unsafe { std::slice::from_raw_parts(self.0.as_ptr().cast(), self.0.len() * 64) }
    }
}
