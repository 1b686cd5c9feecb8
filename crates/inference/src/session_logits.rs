//! Window logits from an ONNX Runtime session.

use crate::session::Session;
use crate::window_logits::{LogitsError, TokenWindow, WindowLogits};

/// The number of windows in a batch. Windows of similar length share a batch, so it contains little padding.
const BATCH: usize = 8;

impl WindowLogits for Session {
    fn window_logits(&mut self, windows: &[TokenWindow]) -> Result<Vec<Vec<f32>>, LogitsError> {
        let mut found = Vec::with_capacity(windows.len());
        for batch in windows.chunks(BATCH) {
            let sequences: Vec<&[u32]> = batch.iter().map(|window| window.ids).collect();
            let positions: Vec<&[usize]> = batch.iter().map(|window| window.reads).collect();
            let logits = self.run_selected(&sequences, &positions)?;
            for (sequence, window) in batch.iter().enumerate() {
                let rows = window
                    .reads
                    .iter()
                    .map(|&position| logits.row(sequence, position));
                let rows: Option<Vec<&[f32]>> = rows.collect();
                found.push(rows.ok_or("the graph gives no logits for some tokens")?.concat());
            }
        }
        Ok(found)
    }
}
