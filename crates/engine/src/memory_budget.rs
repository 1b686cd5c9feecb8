//! The memory that all requests may hold together.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use thiserror::Error;
use tokio::sync::Notify;

/// The memory that all requests may hold together, in bytes. Its clones are the same budget.
#[derive(Clone, Debug)]
pub struct MemoryBudget {
    shared: Arc<BudgetState>,
}

#[derive(Debug)]
struct BudgetState {
    limit: usize,
    /// The sum of all permits. It exceeds the limit only by [`MemoryPermit::grow_anyway`].
    used: AtomicUsize,
    /// The number of [`MemoryPermit::grow_when_free`] that wait.
    waiting: AtomicUsize,
    released: Notify,
}

/// What one request holds of a [`MemoryBudget`]. Dropping it returns the bytes.
#[derive(Debug)]
pub struct MemoryPermit {
    budget: MemoryBudget,
    bytes: usize,
}

/// Why a request gets no more memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum MemoryError {
    /// Other requests hold the memory.
    #[error("other requests hold the memory for requests and answers (--max-inflight-bytes)")]
    Full,
    /// The request alone needs more than all of it.
    #[error(
        "the request and its answer need at least {needed} bytes, more than the {limit} of --max-inflight-bytes; send less text at once, or raise it"
    )]
    NeverFits {
        /// The bytes that the request needs as far as it is known.
        needed: usize,
        /// The whole budget in bytes.
        limit: usize,
    },
}

impl MemoryBudget {
    /// A budget of so many bytes.
    pub fn new(bytes: usize) -> Self {
        Self {
            shared: Arc::new(BudgetState {
                limit: bytes,
                used: AtomicUsize::new(0),
                waiting: AtomicUsize::new(0),
                released: Notify::new(),
            }),
        }
    }

    /// A permit that holds nothing yet.
    pub fn permit(&self) -> MemoryPermit {
        MemoryPermit {
            budget: self.clone(),
            bytes: 0,
        }
    }

    /// The bytes that all permits together hold at most.
    pub fn limit(&self) -> usize {
        self.shared.limit
    }

    /// The bytes that are held now.
    pub fn used(&self) -> usize {
        self.shared.used.load(Ordering::SeqCst)
    }

    /// Adds to the bytes that are held, if they then stay within the limit.
    fn take(&self, bytes: usize) -> bool {
        let within = |used: usize| used.checked_add(bytes).filter(|&sum| sum <= self.shared.limit);
        let (set, fetch) = (Ordering::SeqCst, Ordering::SeqCst);
        self.shared.used.fetch_update(set, fetch, within).is_ok()
    }

    fn release(&self, bytes: usize) {
        if bytes == 0 {
            return;
        }
        self.shared.used.fetch_sub(bytes, Ordering::SeqCst);
        if self.shared.waiting.load(Ordering::SeqCst) > 0 {
            self.shared.released.notify_waiters();
        }
    }
}

impl MemoryPermit {
    /// A permit of the same budget that holds nothing yet.
    pub fn empty(&self) -> Self {
        self.budget.permit()
    }

    /// The bytes that it holds.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Takes more bytes, if the budget has them.
    pub fn grow(&mut self, bytes: usize) -> Result<(), MemoryError> {
        let limit = self.budget.shared.limit;
        if bytes > limit.saturating_sub(self.bytes) {
            let needed = self.bytes.saturating_add(bytes);
            return Err(MemoryError::NeverFits { needed, limit });
        }
        if !self.budget.take(bytes) {
            return Err(MemoryError::Full);
        }
        self.bytes += bytes;
        Ok(())
    }

    /// Holds exactly so many bytes from now on, if the budget has them.
    pub fn resize(&mut self, bytes: usize) -> Result<(), MemoryError> {
        self.shrink_to(bytes);
        self.grow(bytes - self.bytes)
    }

    /// Returns what it holds beyond so many bytes.
    pub fn shrink_to(&mut self, bytes: usize) {
        let excess = self.bytes.saturating_sub(bytes);
        self.bytes -= excess;
        self.budget.release(excess);
    }

    /// Takes more bytes, even beyond the limit.
    pub fn grow_anyway(&mut self, bytes: usize) {
        self.budget.shared.used.fetch_add(bytes, Ordering::SeqCst);
        self.bytes += bytes;
    }

    /// Takes more bytes as soon as the budget has them; at most the whole budget. A caller that holds bytes while it
    /// waits for more may wait forever. Waiters have no order: one that is not polled, since its client does not read, would
    /// hold up all others.
    pub async fn grow_when_free(&mut self, bytes: usize) {
        let bytes = bytes.min(self.budget.shared.limit);
        if !self.budget.take(bytes) {
            let shared = Arc::clone(&self.budget.shared);
            let _waiting = Waiting::new(&shared);
            loop {
                let mut released = pin!(shared.released.notified());
                // Registered before the budget is looked at, so that no release is missed.
                released.as_mut().enable();
                if self.budget.take(bytes) {
                    break;
                }
                released.await;
            }
        }
        self.bytes += bytes;
    }

    /// Holds the other permit's bytes too. Both are of the same budget.
    pub fn merge(&mut self, mut other: Self) {
        self.bytes += std::mem::take(&mut other.bytes);
    }
}

impl Drop for MemoryPermit {
    fn drop(&mut self) {
        self.budget.release(self.bytes);
    }
}

/// Counts a waiting permit until it is dropped.
struct Waiting<'b>(&'b BudgetState);

impl<'b> Waiting<'b> {
    fn new(shared: &'b BudgetState) -> Self {
        shared.waiting.fetch_add(1, Ordering::SeqCst);
        Self(shared)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::SeqCst);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt;

    #[test]
    fn permits_share_the_limit_and_return_what_they_held() {
        let budget = MemoryBudget::new(10);
        let (mut one, mut other) = (budget.permit(), budget.clone().permit());
        assert_eq!(one.grow(6), Ok(()));
        assert_eq!(other.grow(5), Err(MemoryError::Full));
        let never = |needed| Err(MemoryError::NeverFits { needed, limit: 10 });
        assert_eq!(other.grow(11), never(11));
        assert_eq!(one.grow(5), never(11));
        assert_eq!(one.grow(usize::MAX), never(usize::MAX));
        assert_eq!((other.grow(4), budget.used()), (Ok(()), 10));
        one.shrink_to(7);
        one.shrink_to(2);
        assert_eq!((one.bytes(), budget.used()), (2, 6));
        assert_eq!(one.resize(6), Ok(()));
        assert_eq!(one.resize(7), Err(MemoryError::Full));
        assert_eq!(one.bytes(), 6);
        one.merge(other);
        assert_eq!((one.bytes(), budget.used()), (10, 10));
        drop(one);
        assert_eq!(budget.used(), 0);
    }

    #[tokio::test]
    async fn who_waits_has_the_bytes_once_they_are_returned() {
        let budget = MemoryBudget::new(10);
        let mut first = budget.permit();
        first.grow(8).unwrap();
        let mut second = budget.permit();
        {
            let mut waiting = pin!(second.grow_when_free(1000));
            assert!(waiting.as_mut().now_or_never().is_none());
            first.shrink_to(1);
            assert!(waiting.as_mut().now_or_never().is_none());
            drop(first);
            waiting.await;
        }
        assert_eq!((second.bytes(), budget.used()), (10, 10));
        let mut third = budget.permit();
        assert!(third.grow_when_free(1).now_or_never().is_none());
        third.grow_anyway(5);
        assert_eq!(budget.used(), 15);
        drop((second, third));
        assert_eq!(budget.used(), 0);
        assert_eq!(budget.shared.waiting.load(Ordering::SeqCst), 0);
    }
}
