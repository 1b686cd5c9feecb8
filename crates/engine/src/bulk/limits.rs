//! How much of a stream is in memory.

use crate::config::EngineConfig;

/// Lines that the tagger is given together.
const GROUP_LINES: usize = 16;
/// Bytes after which a group takes no further line, so that groups of long lines are short.
pub(crate) const GROUP_BYTES: usize = 64 << 10;
/// Groups of lines in flight for each worker: one that runs, one that waits, and more to choose windows of similar
/// length from.
const GROUPS_PER_WORKER: usize = 8;

/// How much of a stream is in memory.
#[derive(Clone, Copy, Debug)]
pub struct BulkLimits {
    /// Bytes of a line.
    pub(crate) line_bytes: usize,
    /// Lines that the tagger is given together.
    pub(crate) group_lines: usize,
    /// Groups in flight.
    pub(crate) groups: usize,
}

impl BulkLimits {
    /// Enough lines to fill the batches of all workers several times over.
    pub fn of(config: &EngineConfig) -> Self {
        Self {
            line_bytes: config.texts.max_line_bytes,
            group_lines: GROUP_LINES,
            groups: config.model.workers().saturating_mul(GROUPS_PER_WORKER),
        }
    }

    /// The bytes of the longest line or text.
    pub fn line_bytes(&self) -> usize {
        self.line_bytes
    }

    /// Whether a group of so many texts and bytes takes another one.
    pub fn group_takes_more(&self, texts: usize, bytes: usize) -> bool {
        texts < self.group_lines && bytes < GROUP_BYTES
    }
}
