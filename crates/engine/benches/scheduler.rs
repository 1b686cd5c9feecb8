//! Replays arrivals against the batching policy, in simulated time, and prints what each policy makes of them.
//!
//! `cargo bench --workspace --bench scheduler`. Texts have the lengths of the WNUT-17 test split, in subwords of
//! MiniLM's vocabulary. A batch takes what one was measured to take on one core of an AMD EPYC (Zen 4) with the default
//! int8 model; two workers run, as on two cores. The figures compare policies, and are the same on every machine; only the
//! time a decision takes is measured.

use std::collections::BTreeMap;
use std::hint::black_box;
use std::time::Instant;

use nerve_engine::{BatchLimits, LOOKAHEAD, batch_size_for, next_batch};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

const LENGTHS: &str = include_str!("wnut17-test-tokens.txt");
const WORKERS: usize = 2;
/// Windows of the text that one in a hundred is replaced by where long ones come, and the tokens of each.
const LONG_TEXT: (usize, usize) = (40, 128);
const TEXTS: usize = 20_000;

/// Seconds that a batch of windows of these lengths takes.
type Seconds = fn(&[usize]) -> f64;

/// Nerve's kernels.
fn kernels(lengths: &[usize]) -> f64 {
    let square = |&length: &usize| length as f64 * length as f64;
    let squares: f64 = lengths.iter().map(square).sum();
    (260.0 + 53.5 * tokens(lengths) as f64 + 0.093 * squares) / 1e6
}

/// A padding-free graph on ONNX Runtime's kernels.
fn padding_free_graph(lengths: &[usize]) -> f64 {
    let (real, padded) = (tokens(lengths) as f64, padded(lengths) as f64);
    let longest = lengths.iter().max().copied().unwrap_or(0) as f64;
    (930.0 + 67.5 * real + 11.1 * (padded - real) + 0.102 * padded * longest) / 1e6
}

/// The same weights in a graph that computes padding everywhere.
fn padded_graph(lengths: &[usize]) -> f64 {
    let longest = lengths.iter().max().copied().unwrap_or(0);
    padding_free_graph(&vec![longest; lengths.len()])
}

fn tokens(lengths: &[usize]) -> usize {
    lengths.iter().sum()
}

fn padded(lengths: &[usize]) -> usize {
    lengths.iter().max().copied().unwrap_or(0) * lengths.len()
}

/// A text: when it comes, and the tokens of each of its windows.
struct Arrival {
    at: f64,
    windows: Vec<usize>,
}

/// Which waiting windows run next: positions in their lengths by turn, of at most so many.
type Policy = fn(&[usize], usize) -> Vec<usize>;

/// What is served by default.
fn nerve(waiting: &[usize], share: usize) -> Vec<usize> {
    next_batch(waiting, BatchLimits::PADDING_FREE, share)
}

/// The same for graphs that compute padding.
fn nerve_padded(waiting: &[usize], share: usize) -> Vec<usize> {
    next_batch(waiting, BatchLimits::PROCESSOR, share)
}

/// First come, first batched, whatever the lengths, with as many tokens in a batch.
fn in_order(waiting: &[usize], share: usize) -> Vec<usize> {
    let (limits, mut tokens) = (BatchLimits::PADDING_FREE, 0);
    let fits = |&at: &usize| {
        tokens += waiting[at];
        at == 0 || at < share.min(limits.max_batch) && tokens <= limits.batch_tokens
    };
    (0..waiting.len()).take_while(fits).collect()
}

fn one_by_one(_waiting: &[usize], _share: usize) -> Vec<usize> {
    vec![0]
}

/// The shortest first: the longest wait for ever.
fn shortest_first(waiting: &[usize], share: usize) -> Vec<usize> {
    let limits = BatchLimits::PADDING_FREE;
    let mut by_length: Vec<usize> = (0..waiting.len()).collect();
    by_length.sort_by_key(|&at| (waiting[at], at));
    let room = share.min(limits.max_batch).max(1);
    let fits = |&(count, at): &(usize, usize)| {
        count == 0 || count < room && waiting[at] * (count + 1) <= limits.batch_tokens
    };
    let batch = by_length.into_iter().enumerate().take_while(fits);
    batch.map(|(_, at)| at).collect()
}

/// What a replay showed.
#[derive(Default)]
struct Outcome {
    latencies: Vec<f64>,
    end: f64,
    real: usize,
    padded: usize,
    batches: usize,
    /// The most windows that came after a window and ran before it.
    overtaken: usize,
}

struct Waiting {
    text: usize,
    tokens: usize,
    serial: usize,
    overtaken: usize,
}

/// Runs the policy over the arrivals as the queue does: turns as in start-time fair queueing, an idle worker takes what is
/// there at once.
fn replay(arrivals: &[Arrival], policy: Policy, seconds: Seconds) -> Outcome {
    let mut outcome = Outcome::default();
    let mut left: Vec<usize> = arrivals.iter().map(|arrival| arrival.windows.len()).collect();
    let mut waiting: BTreeMap<(u64, usize), Waiting> = BTreeMap::new();
    let mut running: Vec<(f64, Vec<usize>)> = Vec::new();
    let (mut next, mut serial, mut serving) = (0, 0, 0);
    loop {
        let ended = running.iter().map(|batch| batch.0).fold(f64::INFINITY, f64::min);
        let comes = arrivals.get(next).map_or(f64::INFINITY, |arrival| arrival.at);
        let now = ended.min(comes);
        if now.is_infinite() {
            return outcome;
        }
        if comes <= ended {
            for (turn, &tokens) in (serving + 1..).zip(&arrivals[next].windows) {
                let window = Waiting {
                    text: next,
                    tokens,
                    serial,
                    overtaken: 0,
                };
                waiting.insert((turn, serial), window);
                serial += 1;
            }
            next += 1;
        } else {
            let done = running.iter().position(|batch| batch.0 == ended).unwrap_or(0);
            for text in running.swap_remove(done).1 {
                left[text] -= 1;
                if left[text] == 0 {
                    outcome.latencies.push(now - arrivals[text].at);
                }
            }
            outcome.end = now;
        }
        while running.len() < WORKERS && !waiting.is_empty() {
            let keys: Vec<(u64, usize)> = waiting.keys().take(LOOKAHEAD).copied().collect();
            let lengths: Vec<usize> = waiting
                .values()
                .take(LOOKAHEAD)
                .map(|window| window.tokens)
                .collect();
            serving = serving.max(keys[0].0);
            let chosen = policy(&lengths, batch_size_for(waiting.len(), WORKERS - running.len()));
            let taken: Vec<Waiting> = chosen
                .iter()
                .filter_map(|&at| waiting.remove(&keys[at]))
                .collect();
            for window in waiting.values_mut() {
                window.overtaken += taken.iter().filter(|taken| taken.serial > window.serial).count();
            }
            let lengths: Vec<usize> = taken.iter().map(|window| window.tokens).collect();
            outcome.batches += 1;
            outcome.real += tokens(&lengths);
            outcome.padded += padded(&lengths);
            outcome.overtaken = taken
                .iter()
                .map(|window| window.overtaken)
                .fold(outcome.overtaken, usize::max);
            let end = now + seconds(&lengths);
            running.push((end, taken.iter().map(|window| window.text).collect()));
        }
    }
}

/// Texts of the recorded lengths in a random order, one in a hundred a long one if asked, at the times `pause` spaces out.
fn arrivals(long: bool, seed: u64, mut pause: impl FnMut(usize, &mut StdRng) -> f64) -> Vec<Arrival> {
    let lengths: Vec<usize> = LENGTHS
        .split_whitespace()
        .filter_map(|length| length.parse().ok())
        .collect();
    let mut random = StdRng::seed_from_u64(seed);
    let mut at = 0.0;
    let mut text = |number: usize| {
        at += pause(number, &mut random);
        let long = long && random.random_ratio(1, 100);
        let (windows, tokens) = match long {
            true => LONG_TEXT,
            false => (1, lengths[random.random_range(0..lengths.len())].min(LONG_TEXT.1)),
        };
        Arrival {
            at,
            windows: vec![tokens; windows],
        }
    };
    (0..TEXTS).map(&mut text).collect()
}

/// Texts at random times, so many a second on average.
fn poisson(rate: f64, long: bool) -> Vec<Arrival> {
    arrivals(long, 1, move |_, random| {
        -(1.0 - random.random::<f64>()).ln() / rate
    })
}

/// Texts in bursts of 64 at once, so many a second on average.
fn bursts(rate: f64) -> Vec<Arrival> {
    arrivals(
        false,
        2,
        move |number, _| if number % 64 == 0 { 64.0 / rate } else { 0.0 },
    )
}

fn main() {
    let policies: [(&str, Policy, Seconds); 7] = [
        ("nerve", nerve, kernels),
        ("in order", in_order, kernels),
        ("one by one", one_by_one, kernels),
        ("shortest first", shortest_first, kernels),
        ("onnxruntime", nerve, padding_free_graph),
        ("onnxruntime, in order", in_order, padding_free_graph),
        ("padded graph", nerve_padded, padded_graph),
    ];
    let recorded = [
        ("Poisson, 500 texts/s", poisson(500.0, false)),
        ("Poisson, 850 texts/s", poisson(850.0, false)),
        ("Poisson, 1050 texts/s", poisson(1050.0, false)),
        ("bursts of 64, 700 texts/s", bursts(700.0)),
        ("Poisson, 280 texts/s, 1% of 40 windows", poisson(280.0, true)),
        ("more than can be served: 1800 texts/s", poisson(1800.0, false)),
    ];
    println!(
        "{:<40}{:<23}{:>9}{:>9}{:>11}{:>10}{:>10}{:>11}",
        "arrivals", "policy", "texts/s", "padding", "batch size", "p50 ms", "p99 ms", "overtaken"
    );
    for (name, arrivals) in &recorded {
        for (policy_name, policy, seconds) in policies {
            let mut outcome = replay(arrivals, policy, seconds);
            outcome.latencies.sort_by(f64::total_cmp);
            let texts = outcome.latencies.len();
            let quantile = |q: f64| outcome.latencies[(q * (texts - 1) as f64) as usize] * 1e3;
            let windows: usize = arrivals.iter().map(|arrival| arrival.windows.len()).sum();
            println!(
                "{name:<40}{policy_name:<21}{:>9.0}{:>8.1}%{:>11.1}{:>10.1}{:>10.1}{:>11}",
                texts as f64 / (outcome.end - arrivals[0].at),
                100.0 * (1.0 - outcome.real as f64 / outcome.padded as f64),
                windows as f64 / outcome.batches as f64,
                quantile(0.5),
                quantile(0.99),
                outcome.overtaken,
            );
        }
    }
    let waiting: Vec<usize> = poisson(1.0, false)
        .iter()
        .take(LOOKAHEAD)
        .map(|text| text.windows[0])
        .collect();
    let began = Instant::now();
    let decisions = 20_000;
    for _ in 0..decisions {
        black_box(nerve(black_box(&waiting), LOOKAHEAD));
    }
    let each = began.elapsed().as_secs_f64() * 1e6 / f64::from(decisions);
    println!("a decision among {LOOKAHEAD} waiting windows: {each:.1} µs");
}
