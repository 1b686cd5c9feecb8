//! Why another version is not served.

use std::time::Duration;

use thiserror::Error;

use crate::error::EngineError;
use crate::pipeline::error::TagError;

/// How long a new version may take to open its sessions and tag its first text.
pub(crate) const START_LIMIT: Duration = Duration::from_secs(300);

/// Why another version is not served. The previous one stays live.
#[derive(Debug, Error)]
pub enum ReloadError {
    /// The version cannot be found, opened or started.
    #[error(transparent)]
    Version(#[from] EngineError),
    /// The version does not tag a plain text.
    #[error("the version fails its self-test: {0}")]
    SelfTest(TagError),
    /// The version takes too long to start.
    #[error("the version did not start within {} s", START_LIMIT.as_secs())]
    TooSlow,
    /// The previous version's files have changed.
    #[error("the files of the previous version have changed since it was served")]
    Changed,
    /// The version to leave is not the live one.
    #[error("`from` is not the live version")]
    AnotherServed,
    /// There is no previous version.
    #[error("there is no previous version")]
    NothingBefore,
}

impl ReloadError {
    /// The error as a client may see it: without the model's path, which is in the log.
    pub fn shown(&self) -> String {
        match self {
            Self::Version(EngineError::Model { source, .. }) => without_directories(&source.to_string()),
            other => without_directories(&other.to_string()),
        }
    }
}

/// The text with each path reduced to its last component.
fn without_directories(text: &str) -> String {
    let ends = |c: char| c.is_whitespace() || "\"'`()[]<>,;=".contains(c);
    let shortened = text
        .split_inclusive(ends)
        .map(|word| word.rsplit_once('/').map_or(word, |(_, last)| last));
    shortened.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_shown_by_their_last_part() {
        for (text, shown) in [
            (
                "cannot open /srv/store/model.onnx: gone",
                "cannot open model.onnx: gone",
            ),
            ("store/current: no", "current: no"),
            ("at \"/a/b.json\" (in /e/f)", "at \"b.json\" (in f)"),
            ("no such model", "no such model"),
        ] {
            assert_eq!(without_directories(text), shown);
        }
    }
}
