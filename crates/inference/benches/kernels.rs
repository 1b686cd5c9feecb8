//! Microseconds per token of a bundle's sessions with Nerve's kernels and with ONNX Runtime's, in turn, and how far their logits differ:
//! `cargo bench --bench kernels -- BUNDLE CORPUS.conll`.

#![allow(clippy::expect_used)]

use std::path::Path;
use std::time::Instant;

use nerve_inference::{Kernels, Model, OpenOptions, Runtime, SessionOptions};

fn main() {
    let given: Vec<String> = std::env::args()
        .skip(1)
        .filter(|text| !text.starts_with("--"))
        .collect();
    let [bundle, corpus] = &given[..] else {
        panic!("give a bundle and a corpus")
    };
    let text = std::fs::read_to_string(corpus).expect("a corpus");
    let model = Model::open(Path::new(bundle)).expect("a model");
    let mut sequences: Vec<Vec<u32>> = Vec::new();
    for sentence in text.split("\n\n").filter(|sentence| !sentence.trim().is_empty()) {
        let words: Vec<&str> = sentence
            .lines()
            .filter_map(|line| line.split('\t').next())
            .filter(|w| !w.trim().is_empty())
            .collect();
        let subwords = model.tokenizer().encode_words(&words).expect("subwords");
        if let Some(window) = nerve_tagging::windows(&subwords, model.limits()).first() {
            sequences.push(model.tokenizer().window_ids(&subwords, window));
        }
    }
    sequences.sort_by_key(Vec::len);
    let tokens: usize = sequences.iter().map(Vec::len).sum();
    let runtime = Runtime::load(None).expect("a runtime");
    let mut sessions = [Kernels::OnnxRuntime, Kernels::Nerve].map(|kernels| {
        let options = OpenOptions {
            kernels,
            ..OpenOptions::default()
        };
        let model = Model::open_with(Path::new(bundle), &options).expect("a model");
        model
            .session(&runtime, &SessionOptions::default())
            .expect("a session")
    });
    let batches: Vec<Vec<&[u32]>> = sequences
        .chunks(8)
        .map(|batch| batch.iter().map(Vec::as_slice).collect())
        .collect();
    let mut best = [f64::MAX; 2];
    for _ in 0..5 {
        for (session, best) in sessions.iter_mut().zip(&mut best) {
            let began = Instant::now();
            for batch in &batches {
                session.run(batch).expect("a run");
            }
            *best = best.min(began.elapsed().as_secs_f64());
        }
    }
    for (name, seconds) in ["onnxruntime", "nerve"].iter().zip(best) {
        println!(
            "{name:12} {:6.1} us per token, {:6.0} texts/s",
            seconds * 1e6 / tokens as f64,
            sequences.len() as f64 / seconds
        );
    }
    println!("ratio {:.3}", best[0] / best[1]);
    let (mut differ, mut largest) = (0, 0.0f32);
    for batch in &batches {
        let [a, b] = sessions
            .each_mut()
            .map(|session| session.run(batch).expect("a run"));
        for (number, sequence) in batch.iter().enumerate() {
            for position in 0..sequence.len() {
                let [a, b] = [&a, &b].map(|logits| logits.row(number, position).expect("a row"));
                let best = |row: &[f32]| (0..row.len()).max_by(|&x, &y| row[x].total_cmp(&row[y]));
                differ += usize::from(best(a) != best(b));
                largest = a
                    .iter()
                    .zip(b)
                    .map(|(a, b)| (a - b).abs())
                    .fold(largest, f32::max);
            }
        }
    }
    println!("{differ} of {tokens} labels differ, the largest difference of a logit is {largest}");
}
