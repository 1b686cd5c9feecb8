//! How long a download may take, and how often it is tried.

use std::time::Duration;

/// How long a download may take, and how often it is tried.
#[derive(Clone, Debug)]
pub(super) struct Limits {
    /// To look up a host, and to connect to it.
    pub(super) connect: Duration,
    /// Without a byte from the hub.
    pub(super) idle: Duration,
    /// For an answer without the content of a file.
    pub(super) answer: Duration,
    /// For a file, besides the time its size takes at the lowest speed.
    pub(super) file: Duration,
    /// The lowest speed, in bytes per second.
    pub(super) lowest_speed: u64,
    /// Attempts that bring nothing new, one after the other.
    pub(super) attempts: u32,
    /// Before the second attempt; each further wait is twice as long.
    pub(super) first_wait: Duration,
    /// The longest time that the hub may ask to wait.
    pub(super) longest_wait: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(10),
            idle: Duration::from_secs(30),
            answer: Duration::from_secs(60),
            file: Duration::from_secs(300),
            lowest_speed: 32 << 10,
            attempts: 5,
            first_wait: Duration::from_secs(1),
            longest_wait: Duration::from_secs(120),
        }
    }
}

impl Limits {
    /// The longest time for a file; of unknown size, for one of 4 GiB.
    pub(super) fn of_file(&self, size: Option<u64>) -> Duration {
        let size = size.unwrap_or(4 << 30);
        self.file + Duration::from_secs(size / self.lowest_speed.max(1))
    }
}
