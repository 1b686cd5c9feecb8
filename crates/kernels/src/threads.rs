//! The threads on which the parts of a computation run.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};

use ort::operator::ComputeContext;

use crate::encoder::EncoderError;

/// Threads on which the parts of a computation run.
///
/// # Safety
///
/// [`Threads::run`] calls `part` at most once with each number, and returns when all calls have ended.
pub(crate) unsafe trait Threads {
    /// The number of threads.
    fn count(&self) -> usize;

    /// Calls `part` with every number below `parts`, and waits for all calls.
    fn run(&self, parts: usize, part: &(dyn Fn(usize) + Sync)) -> Result<(), EncoderError>;
}

/// The calling thread alone.
pub(crate) struct OneThread;

// SAFETY: the loop calls once with each number.
unsafe impl Threads for OneThread {
    fn count(&self) -> usize {
        1
    }

    fn run(&self, parts: usize, part: &(dyn Fn(usize) + Sync)) -> Result<(), EncoderError> {
        (0..parts).for_each(part);
        Ok(())
    }
}

/// The calling thread and those of its ONNX Runtime session, which spin for a bounded time while they wait for the next parts.
pub(crate) struct SessionThreads<'c> {
    pub(crate) context: &'c ComputeContext,
    pub(crate) count: usize,
}

// SAFETY: ONNX Runtime calls once with each number.
unsafe impl Threads for SessionThreads<'_> {
    fn count(&self) -> usize {
        self.count
    }

    fn run(&self, parts: usize, part: &(dyn Fn(usize) + Sync)) -> Result<(), EncoderError> {
        if self.count == 1 || parts == 1 {
            return OneThread.run(parts, part);
        }
        // A panic must not pass through ONNX Runtime.
        let panicked = AtomicBool::new(false);
        let call = |number| {
            if catch_unwind(AssertUnwindSafe(|| part(number))).is_err() {
                panicked.store(true, Ordering::Relaxed);
            }
        };
        let result = self.context.par_for(parts, parts, call);
        result.map_err(|error| EncoderError::Threads(error.to_string()))?;
        match panicked.into_inner() {
            true => Err(EncoderError::Threads("a part of it panicked".to_owned())),
            false => Ok(()),
        }
    }
}
