//! What Prometheus scrapes, every series present from the start.

use std::time::Duration;

use nerve_tagging::EntityType;
#[cfg(target_os = "linux")]
use prometheus::process_collector::ProcessCollector;
use prometheus::{
    Encoder, Gauge, Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec,
    Opts, Registry, TextEncoder,
};

use crate::http::{ApiError, Route};
use crate::pipeline::TextModel;

/// The server's counters, gauges and histograms.
pub(crate) struct Metrics {
    registry: Registry,
    requests: IntCounterVec,
    request_seconds: HistogramVec,
    pub(crate) stages: Stages,
    batch_size: Histogram,
    batch_tokens: Histogram,
    real_tokens: IntCounter,
    padded_tokens: IntCounter,
    padding_ratio: Gauge,
    pub(crate) queue_windows: IntGauge,
    pub(crate) queue_tokens: IntGauge,
    refused: IntCounterVec,
    received: IntCounter,
    outcomes: Outcomes,
    in_flight: IntGauge,
    entities: IntCounterVec,
    model_requests: IntCounterVec,
    info: IntGaugeVec,
    reloads: IntCounterVec,
    pub(crate) worker_restarts: IntCounter,
    pub(crate) workers_alive: IntGauge,
    pub(crate) cache_hits: IntCounter,
    pub(crate) cache_misses: IntCounter,
}

/// How long each stage of an answer takes, in seconds.
pub(crate) struct Stages {
    /// Splitting, encoding and windowing a request's texts.
    pub(crate) tokenize: Histogram,
    /// A window's wait for a worker.
    pub(crate) queue: Histogram,
    /// A batch's run, with the reading of its labels.
    pub(crate) inference: Histogram,
    /// A request's way from word labels to entities.
    pub(crate) decode: Histogram,
}

/// How requests end: what was received is the sum of these and of what is in flight.
struct Outcomes {
    answered: IntCounter,
    refused: IntCounter,
    failed: IntCounter,
    cancelled: IntCounter,
}

/// The counters of one version of a model.
pub(crate) struct ModelMetrics {
    entities: Vec<IntCounter>,
    answered: IntCounter,
    failed: IntCounter,
}

/// What became of an attempt to serve another version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ReloadResult {
    /// It is served.
    Loaded,
    /// It is not, and the one before still is.
    Rejected,
    /// The one before is served again, as was asked for.
    RolledBack,
}

impl ReloadResult {
    const ALL: [Self; 3] = [Self::Loaded, Self::Rejected, Self::RolledBack];

    fn name(self) -> &'static str {
        match self {
            Self::Loaded => "loaded",
            Self::Rejected => "rejected",
            Self::RolledBack => "rolled_back",
        }
    }
}

const SECONDS: &[f64] = &[
    0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0,
    30.0,
];
const WINDOWS: &[f64] = &[1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0];
const TOKENS: &[f64] = &[
    16.0, 32.0, 64.0, 128.0, 256.0, 512.0, 1024.0, 2048.0, 4096.0, 8192.0, 16384.0,
];

/// The status under which a request is counted whose client left before the answer, as nginx has it.
pub(crate) const CLIENT_LEFT: u16 = 499;

impl Metrics {
    /// Metrics at zero.
    pub(crate) fn new() -> Result<Self, prometheus::Error> {
        let registry = Registry::new();
        let counters =
            |name: &str, help: &str, labels: &[&str]| -> Result<IntCounterVec, prometheus::Error> {
                let counters = IntCounterVec::new(Opts::new(name, help), labels)?;
                registry.register(Box::new(counters.clone()))?;
                Ok(counters)
            };
        let counter = |name: &str, help: &str| -> Result<IntCounter, prometheus::Error> {
            let counter = IntCounter::new(name, help)?;
            registry.register(Box::new(counter.clone()))?;
            Ok(counter)
        };
        let gauge = |name: &str, help: &str| -> Result<IntGauge, prometheus::Error> {
            let gauge = IntGauge::new(name, help)?;
            registry.register(Box::new(gauge.clone()))?;
            Ok(gauge)
        };
        let histogram = |name: &str, help: &str, buckets: &[f64]| -> Result<Histogram, prometheus::Error> {
            let histogram = Histogram::with_opts(HistogramOpts::new(name, help).buckets(buckets.to_vec()))?;
            registry.register(Box::new(histogram.clone()))?;
            Ok(histogram)
        };
        let seconds = |name: &str, help: &str, label: &str| -> Result<HistogramVec, prometheus::Error> {
            let histograms =
                HistogramVec::new(HistogramOpts::new(name, help).buckets(SECONDS.to_vec()), &[label])?;
            registry.register(Box::new(histograms.clone()))?;
            Ok(histograms)
        };

        let requests = counters(
            "nerve_requests_total",
            "Requests by route and status; 499 is a client that left before the answer",
            &["route", "status"],
        )?;
        let request_seconds = seconds(
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
        let stages = seconds(
            "nerve_stage_duration_seconds",
            "Time spent in a stage of an answer",
            "stage",
        )?;
        let tokens = counters(
            "nerve_tokens_total",
            "Positions of batches: real tokens, and those that pad a batch to its longest window (which a padding-free graph computes in attention alone)",
            &["kind"],
        )?;
        let padding_ratio = Gauge::new(
            "nerve_padding_ratio",
            "The padded share of all positions of batches so far",
        )?;
        registry.register(Box::new(padding_ratio.clone()))?;
        let refused = counters(
            "nerve_refused_total",
            "Requests refused because of load or limits, by reason",
            &["reason"],
        )?;
        for reason in ApiError::REFUSALS {
            refused.with_label_values(&[reason]);
        }
        let entities = counters(
            "nerve_entities_total",
            "Entities found, before threshold and label filters",
            &["type"],
        )?;
        let model_requests = counters(
            "nerve_model_requests_total",
            "Tagging requests that a version of the model ended, by how",
            &["version", "outcome"],
        )?;
        let outcomes = counters(
            "nerve_outcomes_total",
            "Requests by how they ended: answered (1xx to 3xx), refused (4xx, and 503 while not ready), failed (other 5xx) \
             and cancelled (the client left)",
            &["outcome"],
        )?;
        let reloads = counters(
            "nerve_reloads_total",
            "Attempts to serve another version of the model, by result",
            &["result"],
        )?;
        for result in ReloadResult::ALL {
            reloads.with_label_values(&[result.name()]);
        }
        let cached = counters(
            "nerve_cache_lookups_total",
            "Texts looked up in the cache of recent answers, by whether their answer was there",
            &["result"],
        )?;
        let info = IntGaugeVec::new(
            Opts::new("nerve_model_info", "The models that answer"),
            &["name", "version", "precision", "device", "track"],
        )?;
        registry.register(Box::new(info.clone()))?;
        #[cfg(target_os = "linux")]
        registry.register(Box::new(ProcessCollector::for_self()))?;

        Ok(Self {
            requests,
            request_seconds,
            stages: Stages {
                tokenize: stages.with_label_values(&["tokenize"]),
                queue: stages.with_label_values(&["queue"]),
                inference: stages.with_label_values(&["inference"]),
                decode: stages.with_label_values(&["decode"]),
            },
            batch_size: histogram("nerve_batch_size", "Windows of a batch", WINDOWS)?,
            batch_tokens: histogram(
                "nerve_batch_tokens",
                "Positions of a batch, padding included",
                TOKENS,
            )?,
            real_tokens: tokens.with_label_values(&["real"]),
            padded_tokens: tokens.with_label_values(&["padded"]),
            padding_ratio,
            queue_windows: gauge("nerve_queue_windows", "Windows that wait for a worker")?,
            queue_tokens: gauge(
                "nerve_queue_tokens",
                "Tokens of the windows that wait for a worker",
            )?,
            refused,
            received: counter("nerve_received_total", "Requests whose head was read")?,
            outcomes: Outcomes {
                answered: outcomes.with_label_values(&["answered"]),
                refused: outcomes.with_label_values(&["refused"]),
                failed: outcomes.with_label_values(&["failed"]),
                cancelled: outcomes.with_label_values(&["cancelled"]),
            },
            in_flight: gauge(
                "nerve_in_flight",
                "Requests that were received and have not ended",
            )?,
            entities,
            model_requests,
            info,
            reloads,
            worker_restarts: counter(
                "nerve_worker_restarts_total",
                "Sessions opened anew after a panic",
            )?,
            workers_alive: gauge("nerve_workers_alive", "Workers with a working session")?,
            cache_hits: cached.with_label_values(&["hit"]),
            cache_misses: cached.with_label_values(&["miss"]),
            registry,
        })
    }

    /// The counters of a version of a model, at zero where the version is new.
    pub(crate) fn model(&self, model: &TextModel) -> ModelMetrics {
        let ended = |outcome| {
            self.model_requests
                .with_label_values(&[model.version.as_str(), outcome])
        };
        ModelMetrics {
            entities: model
                .labels
                .types()
                .iter()
                .map(|name| self.entities.with_label_values(&[name]))
                .collect(),
            answered: ended("answered"),
            failed: ended("failed"),
        }
    }

    /// Shows these models, each by its track, as those that answer.
    pub(crate) fn show_models<'m>(
        &self,
        device: &str,
        models: impl IntoIterator<Item = (&'static str, &'m TextModel)>,
    ) {
        self.info.reset();
        for (track, model) in models {
            let labels = [&model.name, &model.version, &model.precision, device, track];
            self.info.with_label_values(&labels).set(1);
        }
    }

    /// Counts an attempt to serve another version.
    pub(crate) fn reloaded(&self, result: ReloadResult) {
        self.reloads.with_label_values(&[result.name()]).inc();
    }

    /// Counts a request whose head was read; [`Self::request_ended`] must follow.
    pub(crate) fn request_began(&self) {
        self.received.inc();
        self.in_flight.inc();
    }

    /// Counts a finished request; `refused` says that the error was no failure of the server's.
    pub(crate) fn request_ended(&self, route: Route, status: u16, refused: bool, took: Duration) {
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

    /// Counts a refusal, if the error is one.
    pub(crate) fn refusal(&self, error: &ApiError) {
        if let Some(reason) = error.refusal() {
            self.refused.with_label_values(&[reason]).inc();
        }
    }

    /// Counts a batch of `windows` windows with `real` tokens on `positions` positions.
    pub(crate) fn batch_ran(&self, windows: usize, real: usize, positions: usize, took: Duration) {
        self.batch_size.observe(windows as f64);
        self.batch_tokens.observe(positions as f64);
        self.real_tokens.inc_by(real as u64);
        self.padded_tokens.inc_by(positions.saturating_sub(real) as u64);
        self.stages.inference.observe(took.as_secs_f64());
    }

    /// The text exposition of every metric.
    pub(crate) fn exposition(&self) -> Result<Vec<u8>, prometheus::Error> {
        let (real, padded) = (self.real_tokens.get() as f64, self.padded_tokens.get() as f64);
        if real + padded > 0.0 {
            self.padding_ratio.set(padded / (real + padded));
        }
        let mut text = Vec::new();
        TextEncoder::new().encode(&self.registry.gather(), &mut text)?;
        Ok(text)
    }

    /// Metrics that cannot be written.
    #[cfg(test)]
    pub(crate) fn broken() -> Self {
        let metrics = Self::new().unwrap();
        let counter = IntCounter::new("nameless", "Loses its name").unwrap();
        metrics
            .registry
            .register(Box::new(tests::Nameless(counter)))
            .unwrap();
        metrics
    }
}

impl ModelMetrics {
    /// Counts one entity.
    pub(crate) fn entity_found(&self, entity_type: EntityType) {
        if let Some(counter) = self.entities.get(entity_type.0) {
            counter.inc();
        }
    }

    /// Counts a tagging request that this version ended with this status, unless it never had its turn.
    pub(crate) fn request_ended(&self, status: u16) {
        match status {
            200..=299 => self.answered.inc(),
            500 | 504 => self.failed.inc(),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pipeline::text_model;
    use prometheus::core::{Collector, Desc};
    use prometheus::proto::MetricFamily;

    /// A counter that comes without a name, which the encoder refuses.
    pub(super) struct Nameless(pub(super) IntCounter);

    impl Collector for Nameless {
        fn desc(&self) -> Vec<&Desc> {
            self.0.desc()
        }

        fn collect(&self) -> Vec<MetricFamily> {
            let mut families = self.0.collect();
            for family in &mut families {
                family.set_name(String::new());
            }
            families
        }
    }

    #[test]
    fn every_series_is_there_before_the_first_request() {
        let metrics = Metrics::new().unwrap();
        let model = text_model(8);
        let _counters = metrics.model(&model);
        metrics.show_models("cpu", [("stable", &model)]);
        let text = String::from_utf8(metrics.exposition().unwrap()).unwrap();
        for line in [
            "nerve_requests_total{route=\"/ner\",status=\"200\"} 0",
            "nerve_request_duration_seconds_count{route=\"/ner/batch\"} 0",
            "nerve_stage_duration_seconds_count{stage=\"decode\"} 0",
            "nerve_tokens_total{kind=\"padded\"} 0",
            "nerve_padding_ratio 0",
            "nerve_refused_total{reason=\"queue_windows\"} 0",
            "nerve_entities_total{type=\"person\"} 0",
            "nerve_model_info{device=\"cpu\",name=\"test\",precision=\"fp32\",track=\"stable\",version=\"v1\"} 1",
            "nerve_model_requests_total{outcome=\"answered\",version=\"v1\"} 0",
            "nerve_outcomes_total{outcome=\"cancelled\"} 0",
            "nerve_received_total 0",
            "nerve_in_flight 0",
            "nerve_reloads_total{result=\"rejected\"} 0",
            "nerve_worker_restarts_total 0",
            "nerve_workers_alive 0",
            "nerve_cache_lookups_total{result=\"hit\"} 0",
            "nerve_cache_lookups_total{result=\"miss\"} 0",
        ] {
            assert!(text.contains(line), "{line} is missing from\n{text}");
        }
    }

    #[test]
    fn the_padding_ratio_is_the_padded_share() {
        let metrics = Metrics::new().unwrap();
        metrics.batch_ran(2, 30, 40, Duration::ZERO);
        let text = String::from_utf8(metrics.exposition().unwrap()).unwrap();
        assert!(text.contains("nerve_padding_ratio 0.25"), "{text}");
    }
}
