//! When a request that failed is sent again.

use std::thread::sleep;
use std::time::{Duration, SystemTime};

use crate::hub::error::HubFault;
use crate::hub::limits::Limits;

/// Counts the attempts of a request.
pub(super) struct Retries<'a> {
    limits: &'a Limits,
    attempts: u32,
    failed: u32,
}

impl<'a> Retries<'a> {
    /// As many attempts as the limits allow.
    pub(super) fn new(limits: &'a Limits) -> Self {
        Self::at_most(limits.attempts, limits)
    }

    /// Fewer attempts.
    pub(super) fn at_most(attempts: u32, limits: &'a Limits) -> Self {
        Self {
            limits,
            attempts,
            failed: 0,
        }
    }

    /// Starts counting anew, because the last attempt brought a part of the answer.
    pub(super) fn restart(&mut self) {
        self.failed = 0;
    }

    /// Waits before the next attempt, after `announce` was told the fault and the time. The fault itself if it is not temporary,
    /// if there were enough attempts, or if the hub asks for a longer wait than the limit.
    pub(super) fn wait(
        &mut self,
        fault: HubFault,
        announce: impl FnOnce(&HubFault, Duration),
    ) -> Result<(), HubFault> {
        self.failed += 1;
        let asked = fault.retry_after().unwrap_or_default();
        if !fault.is_temporary() || self.failed >= self.attempts || asked > self.limits.longest_wait {
            return Err(fault);
        }
        let wait = self.limits.first_wait * 2u32.saturating_pow(self.failed - 1);
        let wait = spread(wait).min(self.limits.longest_wait).max(asked);
        announce(&fault, wait);
        sleep(wait);
        Ok(())
    }
}

/// Between half and all of a wait, so that processes that failed together do not return together.
fn spread(wait: Duration) -> Duration {
    let nanoseconds = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .map_or(0, |since| since.subsec_nanos());
    wait.mul_f64(0.5 + 0.5 * f64::from(nanoseconds % 1_000_000) / 1e6)
}
