//! How far a download is: a bar on a terminal, log lines elsewhere.

use std::time::{Duration, Instant};

use indicatif::{HumanBytes, ProgressBar, ProgressStyle};
use tracing::info;

/// Between two log lines.
const INTERVAL: Duration = Duration::from_secs(10);

/// Shows the progress of one file.
pub(super) struct Progress {
    file: String,
    size: Option<u64>,
    /// Hidden where standard error is not a terminal.
    bar: ProgressBar,
    logged: Instant,
}

impl Progress {
    /// The progress of a file of which `received` bytes are on disk.
    pub(super) fn start(file: &str, size: Option<u64>, received: u64) -> Self {
        let bar = size.map_or_else(ProgressBar::no_length, ProgressBar::new);
        let template = "{msg} {bar:30} {bytes}/{total_bytes} {bytes_per_sec} {eta}";
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style);
        }
        bar.set_message(file.to_owned());
        bar.set_position(received);
        let progress = Self {
            file: file.to_owned(),
            size,
            bar,
            logged: Instant::now(),
        };
        if progress.bar.is_hidden() {
            let of = size.map_or("unknown size".to_owned(), |size| HumanBytes(size).to_string());
            match received {
                0 => info!("downloading {file} ({of})"),
                _ => info!("continuing {file} after {} ({of})", HumanBytes(received)),
            }
        }
        progress
    }

    /// Shows the bytes on disk.
    pub(super) fn set(&mut self, received: u64) {
        self.bar.set_position(received);
        if self.bar.is_hidden() && self.logged.elapsed() >= INTERVAL {
            self.logged = Instant::now();
            let percent = self
                .size
                .filter(|size| *size > 0)
                .map(|size| received * 100 / size);
            match percent {
                Some(percent) => info!("{}: {} ({percent} %)", self.file, HumanBytes(received)),
                None => info!("{}: {}", self.file, HumanBytes(received)),
            }
        }
    }

    /// Writes a log line above the bar.
    pub(super) fn log(&self, line: impl FnOnce()) {
        self.bar.suspend(line);
    }
}

/// Leaves no bar behind.
impl Drop for Progress {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}
