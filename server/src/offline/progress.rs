//! The progress bar of `tag`.

use std::time::Duration;

use bytes::Bytes;
use futures_util::stream::{Stream, StreamExt};
use indicatif::{ProgressBar, ProgressStyle};

const TICK: Duration = Duration::from_millis(200);

/// A progress bar on standard error, if that is a terminal: bytes read, lines tagged, lines per second, and the time
/// left.
pub(crate) struct Bar(ProgressBar);

impl Bar {
    /// A bar for an input of `size` bytes, or of unknown size.
    pub(crate) fn new(size: Option<u64>) -> Self {
        let (bar, template) = match size {
            Some(size) => (
                ProgressBar::new(size),
                "{wide_bar} {bytes}/{total_bytes}, {msg}, {eta} left",
            ),
            None => (ProgressBar::new_spinner(), "{spinner} {bytes}, {msg}, {elapsed}"),
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

    /// Shows the number of lines tagged.
    pub(crate) fn tagged(&self, lines: u64) {
        let seconds = self.0.elapsed().as_secs_f64().max(1e-3);
        self.0
            .set_message(format!("{lines} lines, {:.0} lines/s", lines as f64 / seconds));
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
