//! The progress bar of `tag`.

use std::time::Duration;

use bytes::Bytes;
use futures_util::stream::{Stream, StreamExt};
use indicatif::{ProgressBar, ProgressStyle};

use crate::offline::tally::Tally;

const TICK: Duration = Duration::from_millis(200);

/// A progress bar on standard error, if that is a terminal: bytes or rows read, texts tagged, texts per second, and the time
/// left.
pub(crate) struct Bar(ProgressBar);

impl Bar {
    /// A bar for an input of `size` bytes, or of unknown size.
    pub(crate) fn of_bytes(size: Option<u64>) -> Self {
        match size {
            Some(_) => Self::new(size, "{wide_bar} {bytes}/{total_bytes}, {msg}, {eta} left"),
            None => Self::new(size, "{spinner} {bytes}, {msg}, {elapsed}"),
        }
    }

    /// A bar for a table of so many rows, or of an unknown number.
    pub(crate) fn of_rows(rows: Option<u64>) -> Self {
        match rows {
            Some(_) => Self::new(rows, "{wide_bar} {pos}/{len} rows, {msg}, {eta} left"),
            None => Self::new(rows, "{spinner} {msg}, {elapsed}"),
        }
    }

    fn new(length: Option<u64>, template: &str) -> Self {
        let bar = match length {
            Some(length) => ProgressBar::new(length),
            None => ProgressBar::new_spinner(),
        };
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style);
        }
        bar.enable_steady_tick(TICK);
        Self(bar)
    }

    /// Counts the bytes of the chunks.
    pub(crate) fn watch<E>(
        &self,
        chunks: impl Stream<Item = Result<Bytes, E>> + Unpin,
    ) -> impl Stream<Item = Result<Bytes, E>> + Unpin {
        let bar = self.0.clone();
        chunks.inspect(move |chunk| bar.inc(chunk.as_ref().map_or(0, |bytes| bytes.len() as u64)))
    }

    /// Counts the rows that results were written for.
    pub(crate) fn rows(&self, rows: u64) {
        self.0.set_position(rows);
    }

    /// Shows the number of texts tagged.
    pub(crate) fn tagged(&self, tally: Tally) {
        let seconds = self.0.elapsed().as_secs_f64().max(1e-3);
        let Tally { unit, texts, .. } = tally;
        let rate = texts as f64 / seconds;
        self.0
            .set_message(format!("{texts} {unit}s, {rate:.0} {unit}s/s"));
    }

    /// Writes a line above the bar.
    pub(crate) fn report(&self, problem: &str) {
        self.0.suspend(|| eprintln!("nerve-server: {problem}"));
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        self.0.finish();
    }
}
