//! Window logits from a candle network that runs on several threads.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use nerve_inference::{LogitsError, TokenWindow, WindowLogits};

use crate::model::bert::BertTagger;
use crate::model::packed::Packed;
use crate::ops::values;
use crate::threads::joined;

/// The number of tokens in a forward pass: large enough for efficient matrix products, small enough for the CPU
/// caches.
const PASS_TOKENS: usize = 512;

/// A network that runs several forward passes in parallel.
pub struct ThreadedNetwork {
    network: BertTagger,
    threads: usize,
}

impl ThreadedNetwork {
    /// The network with this number of threads, at least one.
    pub fn new(network: BertTagger, threads: usize) -> Self {
        let threads = threads.max(1);
        Self { network, threads }
    }

    /// The network.
    pub fn network(&self) -> &BertTagger {
        &self.network
    }

    /// The logits that each window of one forward pass reads.
    fn pass(&self, windows: &[TokenWindow]) -> candle_core::Result<Vec<Vec<f32>>> {
        let logits = self
            .network
            .logits(&Packed::new(windows.iter().map(|window| window.ids)))?;
        let width = logits.dim(1)?;
        let logits = values(&logits)?;
        let mut start = 0;
        let rows = windows.iter().map(|window| {
            let row = |&position: &usize| &logits[(start + position) * width..][..width];
            let rows: Vec<&[f32]> = window.reads.iter().map(row).collect();
            start += window.ids.len();
            rows.concat()
        });
        Ok(rows.collect())
    }
}

impl WindowLogits for ThreadedNetwork {
    fn window_logits(&mut self, windows: &[TokenWindow]) -> Result<Vec<Vec<f32>>, LogitsError> {
        let passes = passes(windows);
        let next = AtomicUsize::new(0);
        let this = &*self;
        let work = || -> candle_core::Result<Vec<(usize, Vec<Vec<f32>>)>> {
            let mut computed = Vec::new();
            loop {
                let at = next.fetch_add(1, Ordering::Relaxed);
                let Some(pass) = passes.get(at) else {
                    return Ok(computed);
                };
                computed.push((at, this.pass(pass)?));
            }
        };
        let parts: Vec<candle_core::Result<_>> = thread::scope(|scope| {
            let threads = self.threads.min(passes.len());
            let handles: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
            handles.into_iter().map(joined).collect()
        });
        let mut computed = parts.into_iter().collect::<Result<Vec<_>, _>>()?.concat();
        computed.sort_by_key(|(at, _)| *at);
        Ok(computed.into_iter().flat_map(|(_, rows)| rows).collect())
    }
}

/// Divides the windows into the batches of the forward passes.
fn passes<'p, 'w>(windows: &'p [TokenWindow<'w>]) -> Vec<&'p [TokenWindow<'w>]> {
    let mut passes = Vec::new();
    let (mut start, mut tokens) = (0, 0);
    for (at, window) in windows.iter().enumerate() {
        if at > start && tokens + window.ids.len() > PASS_TOKENS {
            passes.push(&windows[start..at]);
            (start, tokens) = (at, 0);
        }
        tokens += window.ids.len();
    }
    if start < windows.len() {
        passes.push(&windows[start..]);
    }
    passes
}
