//! The threads that split and tokenize, so that long texts do not hold up the threads that serve connections.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::Builder;
use std::time::{Duration, Instant};

use tokio::sync::oneshot;
use tracing::error;

use crate::metrics::TextThreadGauges;

type Task = Box<dyn FnOnce() + Send>;

/// A few threads, and a bounded queue of tasks. The threads end when this is dropped.
pub(crate) struct TokenizerPool {
    shared: Arc<TaskQueue>,
}

struct TaskQueue {
    line: Mutex<WaitingTasks>,
    changed: Condvar,
    limit: usize,
    gauges: TextThreadGauges,
    threads: Vec<TaskStart>,
    /// What times are counted from.
    epoch: Instant,
}

/// When a thread began its task, in milliseconds; [`TaskStart::IDLE`] without a task.
struct TaskStart(AtomicU64);

impl TaskStart {
    const IDLE: u64 = u64::MAX;
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
    pub(crate) fn start(threads: usize, limit: usize, gauges: TextThreadGauges) -> std::io::Result<Self> {
        let idle = || TaskStart(AtomicU64::new(TaskStart::IDLE));
        gauges.threads.set(i64::try_from(threads).unwrap_or(i64::MAX));
        let shared = Arc::new(TaskQueue {
            line: Mutex::default(),
            changed: Condvar::new(),
            limit,
            gauges,
            threads: (0..threads).map(|_| idle()).collect(),
            epoch: Instant::now(),
        });
        // The pool owns the threads from the start, so that they end if a later one cannot be started.
        let pool = Self { shared };
        for number in 0..threads {
            let shared = Arc::clone(&pool.shared);
            Builder::new()
                .name(format!("nerve-text-{number}"))
                .spawn(move || shared.serve(number))?;
        }
        Ok(pool)
    }

    /// A pool that drops every task without running it, as after a panic.
    pub(crate) fn that_lose_tasks(gauges: TextThreadGauges) -> std::io::Result<Self> {
        let threads = Self::start(0, usize::MAX, gauges)?;
        let shared = Arc::clone(&threads.shared);
        std::thread::spawn(move || while shared.next().is_some() {});
        Ok(threads)
    }

    /// Whether every thread has been in one task for longer than this, so that no text can be prepared.
    pub(crate) fn are_stuck(&self, longer_than: Duration) -> bool {
        let now = self.shared.now();
        let is_stuck = |thread: &TaskStart| {
            // An idle thread started later than now.
            let busy_ms = now.checked_sub(thread.0.load(Ordering::Acquire));
            busy_ms.is_some_and(|ms| u128::from(ms) > longer_than.as_millis())
        };
        let threads = &self.shared.threads;
        !threads.is_empty() && threads.iter().all(is_stuck)
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
        self.gauges.waiting.inc();
        drop(line);
        self.changed.notify_one();
        Ok(())
    }

    fn serve(&self, number: usize) {
        let show = |started| {
            if let Some(thread) = self.threads.get(number) {
                thread.0.store(started, Ordering::Release);
            }
        };
        while let Some(task) = self.next() {
            show(self.now());
            self.gauges.busy.inc();
            // A task owns its data, so no partial result is seen after a panic.
            if catch_unwind(AssertUnwindSafe(task)).is_err() {
                error!("tokenizing a text panicked");
            }
            self.gauges.busy.dec();
            show(TaskStart::IDLE);
        }
    }

    /// Milliseconds since the start of the pool.
    fn now(&self) -> u64 {
        u64::try_from(self.epoch.elapsed().as_millis()).unwrap_or(TaskStart::IDLE - 1)
    }

    fn next(&self) -> Option<Task> {
        let line = self.lock();
        let waited = self
            .changed
            .wait_while(line, |line| line.tasks.is_empty() && !line.closed);
        let task = waited.unwrap_or_else(PoisonError::into_inner).tasks.pop_front()?;
        self.gauges.waiting.dec();
        Some(task)
    }

    fn lock(&self) -> MutexGuard<'_, WaitingTasks> {
        // No task runs while the lock is held.
        self.line.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicUsize;
    use std::sync::mpsc;

    fn pool(threads: usize, limit: usize) -> TokenizerPool {
        TokenizerPool::start(threads, limit, TextThreadGauges::default()).unwrap()
    }

    #[tokio::test]
    async fn a_panic_ends_its_task_alone() {
        let threads = pool(1, 4);
        assert_eq!(
            threads.run(|| -> u8 { panic!("on purpose") }).await,
            Err(TaskError::Panicked)
        );
        assert_eq!(threads.run(|| 7).await, Ok(7));
    }

    #[tokio::test]
    async fn a_full_line_refuses_what_is_new() {
        let threads = pool(1, 0);
        assert_eq!(threads.run(|| 7).await, Err(TaskError::Full));
        assert_eq!(threads.run_patiently(|| 7).await, Ok(7));
    }

    /// Tasks that occupy both threads of a pool until the senders are dropped.
    async fn occupied(threads: &Arc<TokenizerPool>) -> Vec<mpsc::Sender<()>> {
        let mut holds = Vec::new();
        for _ in 0..2 {
            let (hold, held) = mpsc::channel::<()>();
            let (began, begins) = oneshot::channel();
            let threads = Arc::clone(threads);
            tokio::spawn(async move {
                let task = move || {
                    began.send(()).unwrap();
                    held.recv().unwrap_err();
                };
                threads.run(task).await
            });
            begins.await.unwrap();
            holds.push(hold);
        }
        holds
    }

    async fn eventually(holds: impl Fn() -> bool) {
        while !holds() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    #[tokio::test]
    async fn the_pool_is_stuck_while_every_thread_is_in_a_long_task() {
        let threads = Arc::new(pool(2, 4));
        assert!(!threads.are_stuck(Duration::ZERO));
        let mut holds = occupied(&threads).await;
        assert!(!threads.are_stuck(Duration::from_secs(3600)));
        eventually(|| threads.are_stuck(Duration::ZERO)).await;
        let gauges = &threads.shared.gauges;
        assert_eq!(
            (gauges.threads.get(), gauges.busy.get(), gauges.waiting.get()),
            (2, 2, 0)
        );
        holds.pop();
        eventually(|| !threads.are_stuck(Duration::ZERO)).await;
        assert_eq!(threads.run(|| 7).await, Ok(7));
        holds.clear();
        eventually(|| gauges.busy.get() == 0).await;
    }

    #[tokio::test]
    async fn a_short_text_waits_for_at_most_one_step_of_each_long_one() {
        const LONG: usize = 3;
        let threads = Arc::new(pool(1, 16));
        let steps = Arc::new(AtomicUsize::new(0));
        for _ in 0..LONG {
            let (threads, steps) = (Arc::clone(&threads), Arc::clone(&steps));
            tokio::spawn(async move {
                loop {
                    let steps = Arc::clone(&steps);
                    let step = move || steps.fetch_add(1, Ordering::AcqRel);
                    threads.run_patiently(step).await.unwrap();
                }
            });
        }
        for _ in 0..100 {
            let counted = Arc::clone(&steps);
            // No other caller is polled between these two lines, so each has at most one step ahead.
            let before = steps.load(Ordering::Acquire);
            let after = threads
                .run(move || counted.load(Ordering::Acquire))
                .await
                .unwrap();
            assert!(after - before <= LONG, "{} steps", after - before);
            tokio::task::yield_now().await;
        }
    }

    #[tokio::test]
    async fn a_task_without_a_caller_does_not_run() {
        let threads = Arc::new(pool(2, 4));
        let holds = occupied(&threads).await;
        let runs = Arc::new(AtomicUsize::new(0));
        let (counted, caller) = (Arc::clone(&runs), Arc::clone(&threads));
        let waiting =
            tokio::spawn(async move { caller.run(move || counted.fetch_add(1, Ordering::AcqRel)).await });
        eventually(|| threads.shared.gauges.waiting.get() == 1).await;
        waiting.abort();
        assert!(waiting.await.unwrap_err().is_cancelled());
        drop(holds);
        // The threads take tasks in order.
        for _ in 0..2 {
            threads.run(|| ()).await.unwrap();
        }
        assert_eq!(runs.load(Ordering::Acquire), 0);
    }
}
