//! Calls of which the first that succeeds runs alone.

use std::sync::{PoisonError, RwLock};

/// Calls of which the first that succeeds runs alone.
///
/// The first session with an operator adds the operator's domain to a map of ONNX Runtime that all sessions of the process share and read
/// without a lock.
pub(crate) struct FirstAlone(RwLock<bool>);

impl FirstAlone {
    pub(crate) const fn new() -> Self {
        Self(RwLock::new(false))
    }

    /// Calls the function, alone unless one has succeeded.
    pub(crate) fn call<T, E>(&self, function: impl FnOnce() -> Result<T, E>) -> Result<T, E> {
        if *self.0.read().unwrap_or_else(PoisonError::into_inner) {
            return function();
        }
        let mut succeeded = self.0.write().unwrap_or_else(PoisonError::into_inner);
        if *succeeded {
            drop(succeeded);
            return function();
        }
        let value = function()?;
        *succeeded = true;
        Ok(value)
    }

    /// Calls the function while none runs alone.
    pub(crate) fn call_beside<T>(&self, function: impl FnOnce() -> T) -> T {
        let succeeded = self.0.read().unwrap_or_else(PoisonError::into_inner);
        if *succeeded {
            drop(succeeded);
            return function();
        }
        function()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Barrier;
    use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
    use std::time::Duration;

    use super::*;

    #[test]
    fn calls_run_alone_until_one_has_succeeded() {
        let (first, running, calls) = (FirstAlone::new(), AtomicUsize::new(0), AtomicUsize::new(0));
        let call = || {
            first.call(|| {
                let number = calls.fetch_add(1, SeqCst);
                let alone = running.fetch_add(1, SeqCst) == 0;
                std::thread::sleep(Duration::from_millis(5));
                running.fetch_sub(1, SeqCst);
                // The first two calls fail.
                assert!(alone || number > 2, "call {number} is not alone");
                if number < 2 { Err(()) } else { Ok(()) }
            })
        };
        let results = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..8).map(|_| scope.spawn(call)).collect();
            let results = threads.into_iter().map(|thread| thread.join().unwrap());
            results.collect::<Vec<_>>()
        });
        assert_eq!(results.iter().filter(|result| result.is_err()).count(), 2);
        first.call_beside(|| ());
        // Both are inside at once.
        let barrier = Barrier::new(2);
        let meet = || {
            first.call(|| {
                barrier.wait();
                Ok::<(), ()>(())
            })
        };
        std::thread::scope(|scope| {
            scope.spawn(meet);
            scope.spawn(meet);
        });
    }

    #[test]
    fn no_other_call_runs_beside_the_first() {
        let (first, running) = (FirstAlone::new(), AtomicUsize::new(0));
        let enter = || {
            let others = running.fetch_add(1, SeqCst);
            std::thread::sleep(Duration::from_millis(5));
            running.fetch_sub(1, SeqCst);
            others
        };
        std::thread::scope(|scope| {
            let alone = scope.spawn(|| first.call(|| Err::<(), usize>(enter())));
            for _ in 0..8 {
                scope.spawn(|| first.call_beside(enter));
            }
            assert_eq!(alone.join().unwrap(), Err(0));
        });
    }
}
