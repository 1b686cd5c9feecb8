//! Texts per second of a bundle's sessions without HTTP, tokenization or decoding, for `bench/bound.py`, which writes the batches:
//! `cargo bench --workspace --bench raw -- BUNDLE KERNELS SESSIONS SECONDS < BATCHES`.
//!
//! A line of BATCHES is one batch, an array of texts `{"ids": [..], "selected": [..]}`: token ids, and the positions whose logits are computed.
//! Each session has one thread and takes the next batch when it has finished one. Prints JSON.

#![allow(clippy::expect_used)]

use std::io::BufRead;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::{Duration, Instant};

use nerve_inference::{KernelsInUse, Model, OpenOptions, Runtime, Session, SessionOptions};
use serde::Deserialize;
use serde_json::json;

#[derive(Deserialize)]
struct Text {
    ids: Vec<u32>,
    selected: Vec<usize>,
}

type Batch = Vec<Text>;

/// Passes over the batches, shared by all sessions. The last pass is the first one that finishes after `end`.
struct Passes {
    batches: Vec<Batch>,
    taken: AtomicUsize,
    end: Instant,
}

impl Passes {
    fn take(&self) -> Option<&Batch> {
        let count = self.batches.len();
        let taken = self.taken.fetch_update(Relaxed, Relaxed, |taken| {
            let is_over = taken > 0 && taken % count == 0 && Instant::now() >= self.end;
            (!is_over).then_some(taken + 1)
        });
        taken.ok().map(|taken| &self.batches[taken % count])
    }
}

fn run(session: &mut Session, batch: &Batch) {
    let ids: Vec<&[u32]> = batch.iter().map(|text| text.ids.as_slice()).collect();
    let selected: Vec<&[usize]> = batch.iter().map(|text| text.selected.as_slice()).collect();
    session.run_selected(&ids, &selected).expect("a run");
}

fn main() {
    let given: Vec<String> = std::env::args()
        .skip(1)
        .filter(|argument| !argument.starts_with("--"))
        .collect();
    let [bundle, kernels, sessions, seconds] = &given[..] else {
        panic!("give a bundle, kernels, the number of sessions and seconds")
    };
    let sessions: usize = sessions.parse().expect("a number of sessions");
    let options = OpenOptions {
        kernels: kernels.parse().expect("kernels"),
        ..OpenOptions::default()
    };
    let model = Model::open_with(Path::new(bundle), &options).expect("a model");
    let runtime = Runtime::load(None).expect("ONNX Runtime");
    let lines = std::io::stdin().lock().lines();
    let batches: Vec<Batch> = lines
        .map(|line| serde_json::from_str(&line.expect("a line")).expect("a batch"))
        .collect();
    let texts = batches.iter().map(Vec::len).sum::<usize>() as f64;
    let tokens = batches.iter().flatten().map(|text| text.ids.len()).sum::<usize>() as f64;
    let open = |_| {
        let mut session = model
            .session(&runtime, &SessionOptions::default())
            .expect("a session");
        for batch in batches.iter().step_by((batches.len() / 16).max(1)) {
            run(&mut session, batch);
        }
        session
    };
    let warm: Vec<Session> = (0..sessions).map(open).collect();
    let began = Instant::now();
    let passes = Passes {
        batches,
        taken: AtomicUsize::new(0),
        end: began + Duration::from_secs_f64(seconds.parse().expect("seconds")),
    };
    std::thread::scope(|scope| {
        for mut session in warm {
            let passes = &passes;
            scope.spawn(move || {
                while let Some(batch) = passes.take() {
                    run(&mut session, batch);
                }
            });
        }
    });
    let elapsed = began.elapsed().as_secs_f64();
    let full = (passes.taken.load(Relaxed) / passes.batches.len()) as f64;
    let instructions = match &model.info().kernels {
        KernelsInUse::Nerve { instructions } => Some(instructions),
        KernelsInUse::OnnxRuntime { .. } => None,
    };
    println!(
        "{}",
        json!({
            "texts_per_second": texts * full / elapsed,
            "microseconds_per_token": elapsed * 1e6 * sessions as f64 / (tokens * full),
            "instructions": instructions,
        })
    );
}
