//! Threads that split and tokenise, so that long texts never hold up the threads that serve connections.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::Builder;

use tokio::sync::oneshot;
use tracing::error;

type Task = Box<dyn FnOnce() + Send>;

/// A few threads and a bounded line of tasks before them. The threads end when this is dropped.
pub(crate) struct TokenizerPool {
    shared: Arc<TaskQueue>,
}

struct TaskQueue {
    line: Mutex<WaitingTasks>,
    changed: Condvar,
    limit: usize,
}

#[derive(Default)]
struct WaitingTasks {
    tasks: VecDeque<Task>,
    closed: bool,
}

/// Why a task has no result.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TaskError {
    /// The line is full.
    Full,
    /// The task panicked.
    Panicked,
}

impl TokenizerPool {
    /// As many threads, before which `limit` tasks may wait.
    pub(crate) fn start(threads: usize, limit: usize) -> std::io::Result<Self> {
        let line = Mutex::default();
        let shared = Arc::new(TaskQueue {
            line,
            changed: Condvar::new(),
            limit,
        });
        // Owned from the start, so that the threads already running end should a later one not start.
        let pool = Self { shared };
        for number in 0..threads {
            let shared = Arc::clone(&pool.shared);
            Builder::new()
                .name(format!("nerve-text-{number}"))
                .spawn(move || shared.serve())?;
        }
        Ok(pool)
    }

    /// Threads that drop every task unbegun, as after a panic.
    pub(crate) fn that_lose_tasks() -> std::io::Result<Self> {
        let threads = Self::start(0, usize::MAX)?;
        let shared = Arc::clone(&threads.shared);
        std::thread::spawn(move || while shared.next().is_some() {});
        Ok(threads)
    }

    /// The result of a task, refused where the line is full.
    ///
    /// A task whose caller has left before its turn is not begun.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        task: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, TaskError> {
        let (task, result) = with_reply(task);
        self.shared.push(task, self.shared.limit)?;
        result.await.map_err(|_| TaskError::Panicked)
    }

    /// [`Self::run`] for callers that bound how many of their tasks wait, as a request that was admitted does: a full line
    /// does not refuse them.
    pub(crate) async fn run_patiently<T: Send + 'static>(
        &self,
        task: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, TaskError> {
        let (task, result) = with_reply(task);
        self.shared.push(task, usize::MAX)?;
        result.await.map_err(|_| TaskError::Panicked)
    }
}

fn with_reply<T: Send + 'static>(task: impl FnOnce() -> T + Send + 'static) -> (Task, oneshot::Receiver<T>) {
    let (reply, result) = oneshot::channel();
    let task = move || {
        if !reply.is_closed() {
            let _gone = reply.send(task());
        }
    };
    (Box::new(task), result)
}

impl Drop for TokenizerPool {
    fn drop(&mut self) {
        self.shared.lock().closed = true;
        self.shared.changed.notify_all();
    }
}

impl TaskQueue {
    fn push(&self, task: Task, limit: usize) -> Result<(), TaskError> {
        let mut line = self.lock();
        if line.tasks.len() >= limit {
            return Err(TaskError::Full);
        }
        line.tasks.push_back(task);
        drop(line);
        self.changed.notify_one();
        Ok(())
    }

    fn serve(&self) {
        while let Some(task) = self.next() {
            // A task owns what it works on, so nothing half-done is seen after a panic.
            if catch_unwind(AssertUnwindSafe(task)).is_err() {
                error!("preparing a text panicked");
            }
        }
    }

    fn next(&self) -> Option<Task> {
        let line = self.lock();
        let waited = self
            .changed
            .wait_while(line, |line| line.tasks.is_empty() && !line.closed);
        waited.unwrap_or_else(PoisonError::into_inner).tasks.pop_front()
    }

    fn lock(&self) -> MutexGuard<'_, WaitingTasks> {
        // No task runs under the lock.
        self.line.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_panic_ends_its_task_alone() {
        let threads = TokenizerPool::start(1, 4).unwrap();
        assert_eq!(
            threads.run(|| -> u8 { panic!("on purpose") }).await,
            Err(TaskError::Panicked)
        );
        assert_eq!(threads.run(|| 7).await, Ok(7));
    }

    #[tokio::test]
    async fn a_full_line_refuses_what_is_new() {
        let threads = TokenizerPool::start(1, 0).unwrap();
        assert_eq!(threads.run(|| 7).await, Err(TaskError::Full));
        assert_eq!(threads.run_patiently(|| 7).await, Ok(7));
    }
}
