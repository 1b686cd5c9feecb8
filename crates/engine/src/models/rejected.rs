//! A version that was rejected, and when it is tried again.

use std::error::Error;
use std::io;
use std::time::{Duration, Instant};

use crate::error::EngineError;
use crate::models::error::ReloadError;
use crate::models::source::VersionPath;

/// The pause after a rejection that may pass; doubled each time, up to the longest.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// A version that was rejected. Its files are not read again before it has changed or, if the cause may pass, before a
/// pause is over.
pub(super) struct RejectedVersion {
    /// The version's place; absent if the place could not be determined.
    place: Option<VersionPath>,
    /// When it is tried again unchanged; never if absent.
    due: Option<Instant>,
    pause: Duration,
}

impl RejectedVersion {
    /// The version at this place, rejected because of this error after the `previous` rejection.
    pub(super) fn new(place: Option<VersionPath>, error: &ReloadError, previous: Option<Self>) -> Self {
        let pause = match previous {
            Some(previous) if previous.place == place => (previous.pause * 2).min(LONGEST_PAUSE),
            _ => FIRST_PAUSE,
        };
        let due = (!is_lasting(error)).then(|| Instant::now() + pause);
        Self { place, due, pause }
    }

    /// Whether the version at this place is this one, and is not to be tried now.
    pub(super) fn is_held_back(&self, place: Option<&VersionPath>) -> bool {
        self.place.as_ref() == place && self.due.is_none_or(|due| Instant::now() < due)
    }
}

#[cfg(test)]
impl RejectedVersion {
    pub(super) fn is_lasting(&self) -> bool {
        self.due.is_none()
    }
}

/// Whether the same files would be rejected again. Memory, time and errors of the file system may be better later.
fn is_lasting(error: &ReloadError) -> bool {
    let ReloadError::Version(error @ EngineError::Model { .. }) = error else {
        return false;
    };
    let mut causes = std::iter::successors(Some(error as &dyn Error), |&error| error.source());
    !causes.any(<dyn Error>::is::<io::Error>)
}
