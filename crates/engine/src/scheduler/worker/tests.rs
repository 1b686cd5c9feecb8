use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, mpsc};

use futures_util::FutureExt;
use futures_util::future::join_all;
use tokio::time::timeout;

use super::*;
use crate::config::{BatchLimits, QueueLimits};
use crate::health::DrainFlag;
use crate::scheduler::queue::{Flow, Waiter};

/// A run that has this token waits until the test lets it go on.
const GATE: u32 = 1;
/// A run that has this token fails.
const ERROR: u32 = 2;
/// A run that has this token panics.
const PANIC: u32 = 3;
/// The first run that has this token fails, and so does every later one of its session.
const BREAKS: u32 = 4;
const PLAIN: u32 = 5;

#[derive(Default)]
struct Script {
    opened: AtomicUsize,
    runs: AtomicUsize,
    broke: AtomicUsize,
    gate: Mutex<Option<mpsc::Receiver<()>>>,
}

struct FakeSession {
    script: Arc<Script>,
    broken: bool,
}

struct One;

impl LogitRows for One {
    fn row(&self, _window: usize, _position: usize) -> Option<&[f32]> {
        Some(&[1.0])
    }
}

impl ModelSession for FakeSession {
    fn run(&mut self, windows: &[&WindowInput]) -> Result<Box<dyn LogitRows>, ModelSessionError> {
        let has = |token| windows.iter().any(|window| window.ids.contains(&token));
        self.script.runs.fetch_add(1, Ordering::SeqCst);
        let gate = has(GATE).then(|| self.script.gate.lock().unwrap().take());
        if let Some(gate) = gate.flatten() {
            gate.recv().unwrap();
        }
        self.broken |= has(BREAKS) && self.script.broke.fetch_add(1, Ordering::SeqCst) == 0;
        assert!(!has(PANIC), "on purpose");
        match has(ERROR) || self.broken {
            true => Err("on purpose".into()),
            false => Ok(Box::new(One)),
        }
    }
}

/// What became of the windows of one batch, one per request, and what the sessions did.
struct Outcome {
    answered: Vec<bool>,
    opened: usize,
    runs: usize,
}

/// Runs windows of these tokens in one batch on a single worker.
async fn run_together(tokens: &[u32]) -> Outcome {
    let (open_gate, gate) = mpsc::channel();
    let script = Arc::new(Script {
        gate: Mutex::new(Some(gate)),
        ..Script::default()
    });
    let metrics = Arc::new(Metrics::new().unwrap());
    let (windows, batch_tokens) = (100, 1000);
    let batching = BatchLimits {
        batch_tokens,
        max_batch: windows,
        max_padding_percent: 100,
    };
    let limits = QueueLimits {
        windows,
        tokens: batch_tokens,
    };
    let queue = Arc::new(Queue::new(limits, batching, Arc::clone(&metrics)));
    let sessions = Arc::clone(&script);
    let window = |token| WindowInput {
        ids: vec![token],
        reads: vec![0],
    };
    let worker = Worker {
        queue: Arc::clone(&queue),
        health: Arc::new(Health::new(DrainFlag::default())),
        metrics,
        open: Arc::new(move || {
            sessions.opened.fetch_add(1, Ordering::SeqCst);
            Ok(Box::new(FakeSession {
                script: Arc::clone(&sessions),
                broken: false,
            }))
        }),
        open_lone: None,
        lone: LoneSession::default(),
        warm_up: Arc::new(vec![vec![window(PLAIN)]]),
    };
    let (started, ready) = oneshot::channel();
    let thread = std::thread::spawn(move || worker.run(true, started));
    ready.await.unwrap().unwrap();
    let submit = |token| {
        let mut waiters: Vec<Waiter> = queue.submit(vec![window(token)], &Flow::default()).unwrap();
        waiters.remove(0)
    };
    let first = submit(GATE);
    // The worker runs the first window, so that the others are one batch.
    while script.runs.load(Ordering::SeqCst) < 2 {
        std::thread::yield_now();
    }
    let waiters: Vec<Waiter> = tokens.iter().map(|&token| submit(token)).collect();
    open_gate.send(()).unwrap();
    first.await.unwrap().unwrap();
    let answers = join_all(
        waiters
            .into_iter()
            .map(|waiter| waiter.map(|answer| matches!(answer, Ok(Ok(_))))),
    );
    let answered = timeout(Duration::from_secs(20), answers)
        .await
        .expect("an answer");
    queue.close();
    thread.join().unwrap();
    Outcome {
        answered,
        opened: script.opened.load(Ordering::SeqCst),
        runs: script.runs.load(Ordering::SeqCst),
    }
}

#[tokio::test]
async fn a_window_that_fails_fails_no_other_of_its_batch() {
    let outcome = run_together(&[PLAIN, PLAIN, ERROR, PLAIN]).await;
    assert_eq!(outcome.answered, [true, true, false, true]);
    assert_eq!(outcome.opened, 1);
    // The warm-up and the gate; the batch and its check; each window alone and the failing one's check.
    assert_eq!(outcome.runs, 2 + 2 + 4 + 1);
}

#[tokio::test]
async fn a_window_that_panics_fails_no_other_of_its_batch() {
    let outcome = run_together(&[PLAIN, PANIC, PLAIN]).await;
    assert_eq!(outcome.answered, [true, false, true]);
    assert_eq!(outcome.opened, 3, "a session for each panic");
}

#[tokio::test]
async fn a_session_that_breaks_fails_no_window_of_a_batch() {
    let outcome = run_together(&[PLAIN, BREAKS, PLAIN]).await;
    assert_eq!(outcome.answered, [true, true, true]);
    assert_eq!(outcome.opened, 2);
}
