//! The numbers of texts tagged and failed.

use std::fmt;

/// What holds a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TextUnit {
    /// A line that is not blank.
    Line,
    /// A row of a table that is not null.
    Row,
}

/// The numbers of texts tagged and failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tally {
    /// What holds a text.
    pub unit: TextUnit,
    /// All texts.
    pub texts: u64,
    /// Those that could not be tagged.
    pub failed: u64,
}

impl Tally {
    /// No texts yet.
    pub(crate) fn of(unit: TextUnit) -> Self {
        Self {
            unit,
            texts: 0,
            failed: 0,
        }
    }
}

impl fmt::Display for TextUnit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Line => "line",
            Self::Row => "row",
        })
    }
}
