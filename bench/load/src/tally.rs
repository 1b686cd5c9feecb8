//! The outcomes and latencies of requests.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use serde::Serialize;

use crate::connection::Arrived;
use crate::response::{Failure, Response};

/// The outcomes of requests. Counts and latencies are of the requests that arrived in the measured period.
pub(crate) struct Tally {
    window: Window,
    /// Requests with any outcome.
    ended: u64,
    answers: u64,
    answered_in_window: u64,
    statuses: BTreeMap<u16, u64>,
    failures: Failures,
    unfinished: u64,
    accepted: Vec<Duration>,
    refused: Vec<Duration>,
    body_bytes: u64,
    hashes: Vec<Option<u64>>,
    differing: u64,
}

/// The measured period. A bound is `None` until it has been reached.
#[derive(Clone, Copy, Debug, Default)]
struct Window {
    from: Option<Instant>,
    to: Option<Instant>,
}

impl Window {
    fn contains(self, at: Instant) -> bool {
        self.from.is_some_and(|from| from <= at) && self.to.is_none_or(|to| at < to)
    }

    fn seconds(self) -> f64 {
        match (self.from, self.to) {
            (Some(from), Some(to)) => to.saturating_duration_since(from).as_secs_f64(),
            _ => 0.0,
        }
    }
}

/// The numbers of requests without a response, by [`Failure`].
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub(crate) struct Failures {
    broken: u64,
    closed: u64,
    malformed: u64,
}

/// The measurements that the program prints.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    /// Responses with status 200 per second of the measured period, regardless of when their requests arrived.
    throughput: f64,
    seconds: f64,
    /// All responses with status 200, including warm-up and drain.
    answers: u64,
    /// Latencies of responses with status 200. An unfinished request counts with the time it has waited.
    latency_ms: Option<Latencies>,
    /// Latencies of responses with status 429.
    refusal_ms: Option<Latencies>,
    statuses: BTreeMap<u16, u64>,
    failures: Failures,
    /// Requests without an outcome at the end of the drain.
    unfinished: u64,
    /// Responses with status 200 whose body differs from the first response to the same request body, including warm-up.
    differing: u64,
    mean_body_bytes: f64,
    /// The CPU time of this process.
    cpu_seconds: f64,
    /// For each request body, a hash of the first response with status 200.
    hashes: Vec<Option<String>>,
}

/// Latencies in milliseconds. Percentiles are by nearest rank.
#[derive(Debug, Serialize)]
pub(crate) struct Latencies {
    mean: f64,
    p50: f64,
    p90: f64,
    p99: f64,
    max: f64,
}

impl Tally {
    pub(crate) fn new(bodies: usize) -> Self {
        Self {
            window: Window::default(),
            ended: 0,
            answers: 0,
            answered_in_window: 0,
            statuses: BTreeMap::new(),
            failures: Failures::default(),
            unfinished: 0,
            accepted: Vec::new(),
            refused: Vec::new(),
            body_bytes: 0,
            hashes: vec![None; bodies],
            differing: 0,
        }
    }

    /// Starts the measured period.
    pub(crate) fn begin(&mut self, now: Instant) {
        self.window.from = Some(now);
    }

    /// Ends the measured period.
    pub(crate) fn end(&mut self, now: Instant) {
        self.window.to = Some(now);
    }

    /// The number of requests with any outcome.
    pub(crate) fn ended(&self) -> u64 {
        self.ended
    }

    /// Counts a response that was complete at `now`.
    pub(crate) fn answered(&mut self, request: Arrived, response: Response, now: Instant) {
        self.ended += 1;
        if response.status == 200 {
            self.answers += 1;
            let first = self.hashes[request.body].get_or_insert(response.hash);
            self.differing += u64::from(*first != response.hash);
            self.answered_in_window += u64::from(self.window.contains(now));
        }
        if !self.window.contains(request.at) {
            return;
        }
        *self.statuses.entry(response.status).or_default() += 1;
        let took = now.saturating_duration_since(request.at);
        match response.status {
            200 => {
                self.accepted.push(took);
                self.body_bytes += response.body_bytes as u64;
            }
            429 => self.refused.push(took),
            _ => {}
        }
    }

    /// Counts a request whose connection failed.
    pub(crate) fn failed(&mut self, request: Arrived, failure: Failure) {
        self.ended += 1;
        if self.window.contains(request.at) {
            match failure {
                Failure::Broken => self.failures.broken += 1,
                Failure::Closed => self.failures.closed += 1,
                Failure::Malformed => self.failures.malformed += 1,
            }
        }
    }

    /// Counts a request without an outcome at the end of the drain.
    pub(crate) fn unfinished(&mut self, request: Arrived, now: Instant) {
        if self.window.contains(request.at) {
            self.unfinished += 1;
            self.accepted.push(now.saturating_duration_since(request.at));
        }
    }

    pub(crate) fn report(mut self, cpu: Duration) -> Report {
        let answered = self.statuses.get(&200).copied().unwrap_or(0);
        let seconds = self.window.seconds();
        Report {
            throughput: self.answered_in_window as f64 / seconds.max(f64::MIN_POSITIVE),
            seconds,
            answers: self.answers,
            latency_ms: Latencies::of(&mut self.accepted),
            refusal_ms: Latencies::of(&mut self.refused),
            statuses: self.statuses,
            failures: self.failures,
            unfinished: self.unfinished,
            differing: self.differing,
            mean_body_bytes: self.body_bytes as f64 / answered.max(1) as f64,
            cpu_seconds: cpu.as_secs_f64(),
            hashes: self
                .hashes
                .into_iter()
                .map(|hash| hash.map(|hash| format!("{hash:016x}")))
                .collect(),
        }
    }
}

impl Latencies {
    /// The latencies of these durations. `None` if there are none.
    fn of(times: &mut [Duration]) -> Option<Self> {
        times.sort_unstable();
        let ms = |time: Duration| time.as_secs_f64() * 1e3;
        let rank = |percent: usize| ms(times[(times.len() * percent).div_ceil(100).max(1) - 1]);
        let last = *times.last()?;
        Some(Self {
            mean: times.iter().copied().map(ms).sum::<f64>() / times.len() as f64,
            p50: rank(50),
            p90: rank(90),
            p99: rank(99),
            max: ms(last),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_by_nearest_rank() {
        let mut times: Vec<Duration> = (1..=200).rev().map(Duration::from_millis).collect();
        let found = Latencies::of(&mut times).unwrap();
        assert_eq!(
            (found.p50, found.p90, found.p99, found.max),
            (100.0, 180.0, 198.0, 200.0)
        );
        let one = Latencies::of(&mut [Duration::from_millis(3)]).unwrap();
        assert_eq!((one.p50, one.p99), (3.0, 3.0));
        assert!(Latencies::of(&mut []).is_none());
    }

    #[test]
    fn the_window_bounds_what_is_counted_and_every_answer_is_compared() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let mut tally = Tally::new(1);
        tally.begin(at(100));
        tally.end(at(200));
        let response = |status, hash| Response {
            status,
            hash,
            body_bytes: 2,
            last: false,
        };
        let request = |ms| Arrived { body: 0, at: at(ms) };
        tally.answered(request(50), response(200, 1), at(110));
        tally.answered(request(150), response(200, 1), at(160));
        tally.answered(request(190), response(200, 2), at(900));
        tally.answered(request(150), response(429, 3), at(151));
        tally.failed(request(10), Failure::Closed);
        tally.failed(request(120), Failure::Closed);
        tally.unfinished(request(199), at(1199));
        let report = tally.report(Duration::ZERO);
        assert_eq!(report.throughput, 20.0);
        assert_eq!(report.statuses, BTreeMap::from([(200, 2), (429, 1)]));
        assert_eq!(
            (report.failures.closed, report.unfinished, report.differing),
            (1, 1, 1)
        );
        let latencies = report.latency_ms.unwrap();
        assert_eq!((latencies.p50, latencies.max), (710.0, 1000.0));
    }
}
