//! Prometheus series, registered as they are created.

use prometheus::core::Collector;
use prometheus::{
    Error, Gauge, Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec,
    Opts, Registry,
};

/// Upper bounds of the buckets of durations, in seconds.
const SECONDS: &[f64] = &[
    0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0,
    30.0,
];

/// Creates series in a registry.
pub struct Series<'r>(pub &'r Registry);

impl Series<'_> {
    /// A counter.
    pub fn counter(&self, name: &str, help: &str) -> Result<IntCounter, Error> {
        self.registered(IntCounter::new(name, help)?)
    }

    /// Counters with labels.
    pub fn counters(&self, name: &str, help: &str, labels: &[&str]) -> Result<IntCounterVec, Error> {
        self.registered(IntCounterVec::new(Opts::new(name, help), labels)?)
    }

    /// A gauge of integers.
    pub fn gauge(&self, name: &str, help: &str) -> Result<IntGauge, Error> {
        self.registered(IntGauge::new(name, help)?)
    }

    /// Gauges of integers with labels.
    pub fn gauges(&self, name: &str, help: &str, labels: &[&str]) -> Result<IntGaugeVec, Error> {
        self.registered(IntGaugeVec::new(Opts::new(name, help), labels)?)
    }

    /// A gauge of a ratio.
    pub fn ratio(&self, name: &str, help: &str) -> Result<Gauge, Error> {
        self.registered(Gauge::new(name, help)?)
    }

    /// A histogram with these bucket bounds.
    pub fn histogram(&self, name: &str, help: &str, bounds: &[f64]) -> Result<Histogram, Error> {
        self.registered(Histogram::with_opts(
            HistogramOpts::new(name, help).buckets(bounds.to_vec()),
        )?)
    }

    /// Histograms of durations in seconds, with one label.
    pub fn durations(&self, name: &str, help: &str, label: &str) -> Result<HistogramVec, Error> {
        let options = HistogramOpts::new(name, help).buckets(SECONDS.to_vec());
        self.registered(HistogramVec::new(options, &[label])?)
    }

    fn registered<C: Collector + Clone + 'static>(&self, series: C) -> Result<C, Error> {
        self.0.register(Box::new(series.clone()))?;
        Ok(series)
    }
}
