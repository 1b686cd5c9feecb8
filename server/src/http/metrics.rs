//! The Prometheus metrics of HTTP requests. Every series is present before the first request.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use nerve_engine::{Refusal, Series};
use prometheus::{HistogramVec, IntCounter, IntCounterVec, IntGauge, Registry};

use crate::http::route::Route;

/// The counters, gauges and histograms of HTTP requests.
pub(crate) struct HttpMetrics {
    requests: IntCounterVec,
    request_seconds: HistogramVec,
    refused: IntCounterVec,
    received: IntCounter,
    outcomes: Outcomes,
    in_flight: IntGauge,
    inflight_bytes: IntGauge,
    /// Held while several series change together, and while all are read: a reader sees received requests as the sum of those that ended
    /// and those in flight.
    together: Mutex<()>,
}

/// How requests end. Received requests are the sum of these and of the requests in flight.
struct Outcomes {
    answered: IntCounter,
    refused: IntCounter,
    failed: IntCounter,
    cancelled: IntCounter,
}

/// The status under which a request is counted whose client disconnected before the answer, as in nginx.
pub(crate) const CLIENT_LEFT: u16 = 499;

impl Outcomes {
    fn new(series: &Series) -> Result<Self, prometheus::Error> {
        let outcomes = series.counters(
            "nerve_outcomes_total",
            "Requests by how they ended: answered (1xx to 3xx), refused (4xx, and 503 while not ready), failed (other 5xx) \
             and cancelled (the client left)",
            &["outcome"],
        )?;
        Ok(Self {
            answered: outcomes.with_label_values(&["answered"]),
            refused: outcomes.with_label_values(&["refused"]),
            failed: outcomes.with_label_values(&["failed"]),
            cancelled: outcomes.with_label_values(&["cancelled"]),
        })
    }
}

impl HttpMetrics {
    /// Metrics at zero, in the engine's registry.
    pub(crate) fn new(registry: &Registry) -> Result<Self, prometheus::Error> {
        let series = Series(registry);
        let requests = series.counters(
            "nerve_requests_total",
            "Requests by route and status; 499 is a client that left before the answer",
            &["route", "status"],
        )?;
        let request_seconds = series.durations(
            "nerve_request_duration_seconds",
            "From a request's head to its answer's head",
            "route",
        )?;
        for route in Route::ALL {
            for &status in route.statuses() {
                requests.with_label_values(&[route.name(), &status.to_string()]);
            }
            request_seconds.with_label_values(&[route.name()]);
        }
        let refused = series.counters(
            "nerve_refused_total",
            "Requests, items of batches and lines of streams that were refused because of load or limits, by reason",
            &["reason"],
        )?;
        for reason in Refusal::ALL {
            refused.with_label_values(&[reason.name()]);
        }
        Ok(Self {
            requests,
            request_seconds,
            refused,
            received: series.counter("nerve_received_total", "Requests whose head was read")?,
            outcomes: Outcomes::new(&series)?,
            in_flight: series.gauge(
                "nerve_in_flight",
                "Requests that were received and whose answer is not sent yet, streams included",
            )?,
            inflight_bytes: series.gauge(
                "nerve_inflight_bytes",
                "Bytes of --max-inflight-bytes that requests and unsent answers hold",
            )?,
            together: Mutex::default(),
        })
    }

    /// Shows the bytes that requests hold.
    pub(crate) fn set_inflight_bytes(&self, bytes: usize) {
        self.inflight_bytes.set(i64::try_from(bytes).unwrap_or(i64::MAX));
    }

    /// Counts a request whose head was read. [`Self::request_ended`] must follow.
    pub(crate) fn request_began(&self) {
        let _together = self.together();
        self.received.inc();
        self.in_flight.inc();
    }

    /// Counts a finished request. `refused` means that an error was no failure of the server.
    pub(crate) fn request_ended(&self, route: Route, status: u16, refused: bool, took: Duration) {
        let _together = self.together();
        self.in_flight.dec();
        match status {
            CLIENT_LEFT => self.outcomes.cancelled.inc(),
            500.. if !refused => self.outcomes.failed.inc(),
            400.. => self.outcomes.refused.inc(),
            _ => self.outcomes.answered.inc(),
        }
        self.requests
            .with_label_values(&[route.name(), &status.to_string()])
            .inc();
        self.request_seconds
            .with_label_values(&[route.name()])
            .observe(took.as_secs_f64());
    }

    /// The result of reading series, none of which is half updated meanwhile.
    pub(crate) fn read<T>(&self, read: impl FnOnce() -> T) -> T {
        let _together = self.together();
        read()
    }

    fn together(&self) -> MutexGuard<'_, ()> {
        // It guards no value.
        self.together.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts a refusal, if there is a reason.
    pub(crate) fn refused(&self, reason: Option<Refusal>) {
        if let Some(reason) = reason {
            self.refused.with_label_values(&[reason.name()]).inc();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use prometheus::{Encoder, TextEncoder};

    #[test]
    fn a_reader_sees_every_request_once() {
        let registry = Registry::new();
        let metrics = HttpMetrics::new(&registry).unwrap();
        std::thread::scope(|scope| {
            let counting = scope.spawn(|| {
                for _ in 0..20_000 {
                    metrics.request_began();
                    metrics.request_ended(Route::Ner, 200, false, Duration::ZERO);
                }
            });
            while !counting.is_finished() {
                let (received, in_flight, ended) = metrics.read(|| {
                    let ended = metrics.outcomes.answered.get();
                    (metrics.received.get(), metrics.in_flight.get() as u64, ended)
                });
                assert_eq!(received, in_flight + ended);
            }
        });
    }

    #[test]
    fn every_series_is_there_before_the_first_request() {
        let registry = Registry::new();
        let _metrics = HttpMetrics::new(&registry).unwrap();
        let mut text = Vec::new();
        TextEncoder::new().encode(&registry.gather(), &mut text).unwrap();
        let text = String::from_utf8(text).unwrap();
        for reason in Refusal::ALL {
            let line = format!("nerve_refused_total{{reason=\"{}\"}} 0", reason.name());
            assert!(text.contains(&line), "{line} is missing from\n{text}");
        }
        for line in [
            "nerve_requests_total{route=\"/ner\",status=\"200\"} 0",
            "nerve_request_duration_seconds_count{route=\"/ner/batch\"} 0",
            "nerve_outcomes_total{outcome=\"cancelled\"} 0",
            "nerve_received_total 0",
            "nerve_in_flight 0",
            "nerve_inflight_bytes 0",
        ] {
            assert!(text.contains(line), "{line} is missing from\n{text}");
        }
    }
}
