//! The threads that split and tokenize, so that long texts do not hold up the threads that serve connections.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::Builder;

use tokio::sync::oneshot;
use tracing::error;

type Task = Box<dyn FnOnce() + Send>;

/// A few threads, and a bounded queue of tasks. The threads end when this is dropped.
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
    /// The queue of tasks is full.
    Full,
    /// The task panicked.
    Panicked,
}

impl TokenizerPool {
    /// Starts the threads; `limit` tasks may wait.
    pub(crate) fn start(threads: usize, limit: usize) -> std::io::Result<Self> {
        let line = Mutex::default();
        let shared = Arc::new(TaskQueue {
            line,
            changed: Condvar::new(),
            limit,
        });
        // The pool owns the threads from the start, so that they end if a later one cannot be started.
        let pool = Self { shared };
        for number in 0..threads {
            let shared = Arc::clone(&pool.shared);
            Builder::new()
                .name(format!("nerve-text-{number}"))
                .spawn(move || shared.serve())?;
        }
        Ok(pool)
    }

    /// A pool that drops every task without running it, as after a panic.
    pub(crate) fn that_lose_tasks() -> std::io::Result<Self> {
        let threads = Self::start(0, usize::MAX)?;
        let shared = Arc::clone(&threads.shared);
        std::thread::spawn(move || while shared.next().is_some() {});
        Ok(threads)
    }

    /// The result of a task, which is refused if the queue of tasks is full.
    ///
    /// A task whose caller is gone before the task's turn does not run.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        task: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, TaskError> {
        let (task, result) = with_reply(task);
        self.shared.push(task, self.shared.limit)?;
        result.await.map_err(|_| TaskError::Panicked)
    }

    /// [`Self::run`] without a limit, for admitted requests and for callers that bound how many of their tasks wait.
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
            // A task owns its data, so no partial result is seen after a panic.
            if catch_unwind(AssertUnwindSafe(task)).is_err() {
                error!("tokenizing a text panicked");
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
        // No task runs while the lock is held.
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
