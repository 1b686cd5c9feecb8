//! The numbers of texts tagged and failed.

/// The numbers of texts tagged and failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tally {
    /// What holds a text: `lines`, or `rows`.
    pub unit: &'static str,
    /// Lines that are not blank, or rows that are not null.
    pub texts: u64,
    /// Those that could not be tagged.
    pub failed: u64,
}

impl Tally {
    /// No texts yet.
    pub(crate) fn of(unit: &'static str) -> Self {
        Self {
            unit,
            texts: 0,
            failed: 0,
        }
    }
}
