//! A slice whose chunks are written by several threads.

use std::marker::PhantomData;

/// A slice whose chunks of equal size, the last one shorter, are written by several threads.
pub(crate) struct Chunks<'a, T> {
    start: *mut T,
    length: usize,
    size: usize,
    slice: PhantomData<&'a mut [T]>,
}

// SAFETY: a value gives out disjoint parts of a slice that it borrows exclusively, so sharing it is like sending these parts.
unsafe impl<T: Send> Sync for Chunks<'_, T> {}

impl<'a, T> Chunks<'a, T> {
    pub(crate) fn new(slice: &'a mut [T], size: usize) -> Self {
        Self {
            start: slice.as_mut_ptr(),
            length: slice.len(),
            size,
            slice: PhantomData,
        }
    }

    /// The chunk with this number; empty behind the end.
    ///
    /// # Safety
    ///
    /// It is called at most once with each number.
    pub(crate) unsafe fn take(&self, number: usize) -> &'a mut [T] {
        let start = number.saturating_mul(self.size).min(self.length);
        let length = self.size.min(self.length - start);
        // SAFETY: the range is inside the borrowed slice, and the caller takes no chunk twice.
        unsafe { std::slice::from_raw_parts_mut(self.start.add(start), length) }
    }
}
