//! What a worker needs of a model: token ids in, label logits out.

use std::error::Error;

use nerve_inference::{Logits, Session};

use crate::scheduler::job::WindowInput;

/// Why a session could not be opened or run.
pub type ModelSessionError = Box<dyn Error + Send + Sync>;

/// A model session, owned by one thread.
pub trait ModelSession: Send {
    /// The logits of a batch's windows at the positions they read. Windows may have different lengths; none is empty.
    fn run(&mut self, windows: &[&WindowInput]) -> Result<Box<dyn LogitRows>, ModelSessionError>;
}

/// The logits of one batch.
pub trait LogitRows {
    /// The label logits of one token; `None` outside the batch, and possibly for a token that is not read.
    fn row(&self, window: usize, position: usize) -> Option<&[f32]>;
}

/// Opens a session of one model, from any thread, whenever a worker needs one.
pub type OpenSession = dyn Fn() -> Result<Box<dyn ModelSession>, ModelSessionError> + Send + Sync;

impl ModelSession for Session {
    fn run(&mut self, windows: &[&WindowInput]) -> Result<Box<dyn LogitRows>, ModelSessionError> {
        let sequences: Vec<&[u32]> = windows.iter().map(|window| window.ids.as_slice()).collect();
        let positions: Vec<&[usize]> = windows.iter().map(|window| window.reads.as_slice()).collect();
        Ok(Box::new(self.run_selected(&sequences, &positions)?))
    }
}

impl LogitRows for Logits {
    fn row(&self, window: usize, position: usize) -> Option<&[f32]> {
        Logits::row(self, window, position)
    }
}
