//! The memory of a stream's groups: a group waits until the budget has it.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::Notify;

use crate::memory_budget::{MemoryBudget, MemoryPermit};

/// Admits the groups of one stream.
#[derive(Clone)]
pub(crate) struct GroupAdmission {
    budget: MemoryBudget,
    groups: Arc<GroupCount>,
}

#[derive(Default)]
struct GroupCount {
    in_flight: AtomicUsize,
    none_left: Notify,
}

/// The memory of a group and its place among those in flight, to be held until the last byte of its answer is sent.
pub struct GroupPermit {
    memory: MemoryPermit,
    place: GroupPlace,
}

/// A group's place among those in flight.
pub struct GroupPlace(Arc<GroupCount>);

impl GroupPermit {
    /// The memory, and the place.
    pub fn split(self) -> (MemoryPermit, GroupPlace) {
        (self.memory, self.place)
    }
}

impl GroupAdmission {
    pub(crate) fn new(budget: MemoryBudget) -> Self {
        Self {
            budget,
            groups: Arc::default(),
        }
    }

    /// The permit of a group that needs so many bytes, once the budget has them. A stream without a group in flight gets
    /// it at once, so that no stream waits for others for ever.
    pub(crate) async fn admit(&self, bytes: usize) -> GroupPermit {
        let mut memory = self.budget.permit();
        let waited = tokio::select! {
            biased;
            () = memory.grow_when_free(bytes) => true,
            () = self.none_in_flight() => false,
        };
        if !waited {
            memory.grow_anyway(bytes);
        }
        self.groups.in_flight.fetch_add(1, Ordering::SeqCst);
        GroupPermit {
            memory,
            place: GroupPlace(Arc::clone(&self.groups)),
        }
    }

    async fn none_in_flight(&self) {
        // Only this task adds groups, and a notification without a waiter is kept for the next.
        while self.groups.in_flight.load(Ordering::SeqCst) > 0 {
            self.groups.none_left.notified().await;
        }
    }
}

impl Drop for GroupPlace {
    fn drop(&mut self) {
        if self.0.in_flight.fetch_sub(1, Ordering::SeqCst) == 1 {
            self.0.none_left.notify_one();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt;

    #[test]
    fn a_stream_waits_unless_it_has_nothing_in_flight() {
        let budget = MemoryBudget::new(10);
        let (one, other) = (
            GroupAdmission::new(budget.clone()),
            GroupAdmission::new(budget.clone()),
        );
        let first = one.admit(8).now_or_never().unwrap();
        assert!(one.admit(3).now_or_never().is_none());
        let second = one.admit(2).now_or_never().unwrap();
        let of_other = other.admit(5).now_or_never().unwrap();
        assert_eq!(budget.used(), 15);
        assert!(other.admit(1).now_or_never().is_none());
        drop(first);
        assert!(one.admit(9).now_or_never().is_none());
        drop(second);
        // More than all of the budget, alone.
        let third = one.admit(90).now_or_never().unwrap();
        drop((third, of_other));
        assert_eq!(budget.used(), 0);
    }
}
