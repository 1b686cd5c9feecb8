//! The engine's Prometheus metrics. Every series is present before the first request.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use nerve_tagging::EntityType;
#[cfg(target_os = "linux")]
use prometheus::process_collector::ProcessCollector;
use prometheus::{
    Encoder, Gauge, Histogram, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Registry, TextEncoder,
};

use crate::pipeline::model::TextModel;
use crate::series::Series;

/// The engine's counters, gauges and histograms.
pub struct Metrics {
    registry: Registry,
    pub(crate) stages: Stages,
    batches: Batches,
    pub(crate) queue_windows: IntGauge,
    pub(crate) queue_tokens: IntGauge,
    entities: IntCounterVec,
    model_requests: IntCounterVec,
    info: ModelSeries,
    reloads: IntCounterVec,
    store: StoreSeries,
    pub(crate) worker_restarts: IntCounter,
    pub(crate) workers_alive: IntGauge,
    pub(crate) text_threads: TextThreadGauges,
    pub(crate) cache_hits: IntCounter,
    pub(crate) cache_misses: IntCounter,
}

/// Durations of the stages of an answer, in seconds.
pub(crate) struct Stages {
    /// Splitting, tokenizing and windowing a request's texts.
    pub(crate) tokenize: Histogram,
    /// A window's time in the queue.
    pub(crate) queue: Histogram,
    /// Running a batch and reading its logits.
    pub(crate) inference: Histogram,
    /// From word labels to the written answer.
    pub(crate) decode: Histogram,
}

/// The threads that split and tokenize texts.
#[derive(Clone)]
pub(crate) struct TextThreadGauges {
    pub(crate) threads: IntGauge,
    pub(crate) busy: IntGauge,
    /// Steps of texts that wait for a thread.
    pub(crate) waiting: IntGauge,
}

/// Sizes of batches, and their padding.
struct Batches {
    windows: Histogram,
    positions: Histogram,
    real_tokens: IntCounter,
    padded_tokens: IntCounter,
    padding_ratio: Gauge,
}

/// Whether the places are readable that versions come from, by track.
struct StoreSeries {
    up: IntGaugeVec,
    /// When the current version was last determined, in seconds since 1970.
    read: IntGaugeVec,
}

impl StoreSeries {
    fn new(series: &Series) -> Result<Self, prometheus::Error> {
        Ok(Self {
            up: series.gauges(
                "nerve_model_store_up",
                "Whether the last look for the current version in the model's directory or store succeeded",
                &["track"],
            )?,
            read: series.gauges(
                "nerve_model_store_read_timestamp_seconds",
                "Time of the last look for the current version that succeeded, in seconds since 1970",
                &["track"],
            )?,
        })
    }
}

/// One series for each live version.
struct ModelSeries {
    gauges: IntGaugeVec,
    /// The labels of the series that are shown.
    shown: Mutex<Vec<[String; 5]>>,
}

impl ModelSeries {
    /// Replaces the series by others. At every moment, the old ones or the new ones are there.
    fn replace(&self, labels: Vec<[String; 5]>) {
        let mut shown = self.shown.lock().unwrap_or_else(PoisonError::into_inner);
        for new in &labels {
            self.gauges.with_label_values(new).set(1);
        }
        for old in shown.iter().filter(|old| !labels.contains(old)) {
            // A series that is not there need not be removed.
            let _absent = self.gauges.remove_label_values(old);
        }
        *shown = labels;
    }
}

/// The counters of one version of a model.
pub struct ModelMetrics {
    entities: Vec<IntCounter>,
    answered: IntCounter,
    failed: IntCounter,
}

/// The result of an attempt to serve another version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ReloadResult {
    /// The version is live.
    Loaded,
    /// The version was rejected; the previous one stays live.
    Rejected,
    /// The previous version is live again, as requested.
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

const WINDOWS: &[f64] = &[1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0];
const TOKENS: &[f64] = &[
    16.0, 32.0, 64.0, 128.0, 256.0, 512.0, 1024.0, 2048.0, 4096.0, 8192.0, 16384.0,
];

impl Stages {
    fn new(series: &Series) -> Result<Self, prometheus::Error> {
        let stages = series.durations(
            "nerve_stage_duration_seconds",
            "Time spent in a stage of an answer",
            "stage",
        )?;
        Ok(Self {
            tokenize: stages.with_label_values(&["tokenize"]),
            queue: stages.with_label_values(&["queue"]),
            inference: stages.with_label_values(&["inference"]),
            decode: stages.with_label_values(&["decode"]),
        })
    }
}

impl TextThreadGauges {
    fn new(series: &Series) -> Result<Self, prometheus::Error> {
        Ok(Self {
            threads: series.gauge("nerve_text_threads", "Threads that split and tokenize texts")?,
            busy: series.gauge(
                "nerve_text_threads_busy",
                "Threads that are splitting or tokenizing a text",
            )?,
            waiting: series.gauge(
                "nerve_text_tasks_waiting",
                "Steps of texts that wait for a thread to split and tokenize them",
            )?,
        })
    }
}

impl Batches {
    fn new(series: &Series) -> Result<Self, prometheus::Error> {
        let tokens = series.counters(
            "nerve_tokens_total",
            "Positions of batches: real tokens, and those that pad a batch to its longest window (which a padding-free graph computes in attention alone)",
            &["kind"],
        )?;
        Ok(Self {
            windows: series.histogram("nerve_batch_size", "Windows of a batch", WINDOWS)?,
            positions: series.histogram(
                "nerve_batch_tokens",
                "Positions of a batch, padding included",
                TOKENS,
            )?,
            real_tokens: tokens.with_label_values(&["real"]),
            padded_tokens: tokens.with_label_values(&["padded"]),
            padding_ratio: series.ratio(
                "nerve_padding_ratio",
                "The padded share of all positions of batches so far",
            )?,
        })
    }

    /// Updates the ratio.
    fn update_ratio(&self) {
        let (real, padded) = (self.real_tokens.get() as f64, self.padded_tokens.get() as f64);
        if real + padded > 0.0 {
            self.padding_ratio.set(padded / (real + padded));
        }
    }
}

impl Metrics {
    /// Metrics at zero, in a new registry.
    pub(crate) fn new() -> Result<Self, prometheus::Error> {
        let registry = Registry::new();
        let series = Series(&registry);
        let reloads = series.counters(
            "nerve_reloads_total",
            "Attempts to serve another version of the model, by result",
            &["result"],
        )?;
        for result in ReloadResult::ALL {
            reloads.with_label_values(&[result.name()]);
        }
        let cached = series.counters(
            "nerve_cache_lookups_total",
            "Texts looked up in the cache of recent answers, by whether their answer was there",
            &["result"],
        )?;
        #[cfg(target_os = "linux")]
        registry.register(Box::new(ProcessCollector::for_self()))?;
        Ok(Self {
            stages: Stages::new(&series)?,
            batches: Batches::new(&series)?,
            queue_windows: series.gauge("nerve_queue_windows", "Windows that wait for a worker")?,
            queue_tokens: series.gauge(
                "nerve_queue_tokens",
                "Tokens of the windows that wait for a worker",
            )?,
            entities: series.counters(
                "nerve_entities_total",
                "Entities found, before threshold and label filters",
                &["type"],
            )?,
            model_requests: series.counters(
                "nerve_model_requests_total",
                "Tagging requests by model version and outcome",
                &["version", "outcome"],
            )?,
            info: ModelSeries {
                gauges: series.gauges(
                    "nerve_model_info",
                    "The models that answer",
                    &["name", "version", "precision", "device", "track"],
                )?,
                shown: Mutex::default(),
            },
            reloads,
            store: StoreSeries::new(&series)?,
            worker_restarts: series.counter(
                "nerve_worker_restarts_total",
                "Sessions opened anew after a panic",
            )?,
            workers_alive: series.gauge("nerve_workers_alive", "Workers with a working session")?,
            text_threads: TextThreadGauges::new(&series)?,
            cache_hits: cached.with_label_values(&["hit"]),
            cache_misses: cached.with_label_values(&["miss"]),
            registry,
        })
    }

    /// The registry, where a program may register metrics of its own.
    pub fn registry(&self) -> &Registry {
        &self.registry
    }

    /// The counters of a version, at zero if the version is new.
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

    /// Publishes the live versions, each with its track.
    pub(crate) fn show_models<'m>(
        &self,
        device: &str,
        models: impl IntoIterator<Item = (&'static str, &'m TextModel)>,
    ) {
        let labels = models.into_iter().map(|(track, model)| {
            [&model.name, &model.version, &model.precision, device, track].map(ToOwned::to_owned)
        });
        self.info.replace(labels.collect());
    }

    /// Counts an attempt to serve another version.
    pub(crate) fn reloaded(&self, result: ReloadResult) {
        self.reloads.with_label_values(&[result.name()]).inc();
    }

    /// Records whether the current version of a track could be determined.
    pub(crate) fn store_read(&self, track: &str, succeeded: bool) {
        self.store.up.with_label_values(&[track]).set(succeeded.into());
        let read = self.store.read.with_label_values(&[track]);
        if succeeded {
            let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
            read.set(i64::try_from(now.as_secs()).unwrap_or(i64::MAX));
        }
    }

    /// Counts a batch of `windows` windows with `real` tokens in `positions` positions.
    pub(crate) fn batch_ran(&self, windows: usize, real: usize, positions: usize, took: Duration) {
        self.batches.windows.observe(windows as f64);
        self.batches.positions.observe(positions as f64);
        self.batches.real_tokens.inc_by(real as u64);
        self.batches
            .padded_tokens
            .inc_by(positions.saturating_sub(real) as u64);
        self.stages.inference.observe(took.as_secs_f64());
    }

    /// Records the time from word labels to the written answer.
    pub fn decoded(&self, took: Duration) {
        self.stages.decode.observe(took.as_secs_f64());
    }

    /// All metrics of the registry in the text exposition format.
    pub fn exposition(&self) -> Result<Vec<u8>, prometheus::Error> {
        self.batches.update_ratio();
        let mut text = Vec::new();
        TextEncoder::new().encode(&self.registry.gather(), &mut text)?;
        Ok(text)
    }
}

impl ModelMetrics {
    /// Counts an entity.
    pub fn entity_found(&self, entity_type: EntityType) {
        if let Some(counter) = self.entities.get(entity_type.0) {
            counter.inc();
        }
    }

    /// Counts a tagging request that this version answered.
    pub fn request_answered(&self) {
        self.answered.inc();
    }

    /// Counts a tagging request that this version failed.
    pub fn request_failed(&self) {
        self.failed.inc();
    }
}

#[cfg(test)]
impl Default for TextThreadGauges {
    /// Gauges of no registry.
    fn default() -> Self {
        Self::new(&Series(&Registry::new())).unwrap()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::*;
    use crate::testing::text_model;

    #[test]
    fn every_series_is_there_before_the_first_request() {
        let metrics = Metrics::new().unwrap();
        let model = text_model(8);
        let _counters = metrics.model(&model);
        metrics.store_read("stable", false);
        metrics.show_models("cpu", [("stable", &model)]);
        let text = String::from_utf8(metrics.exposition().unwrap()).unwrap();
        for line in [
            "nerve_stage_duration_seconds_count{stage=\"decode\"} 0",
            "nerve_tokens_total{kind=\"padded\"} 0",
            "nerve_padding_ratio 0",
            "nerve_entities_total{type=\"person\"} 0",
            "nerve_model_info{device=\"cpu\",name=\"test\",precision=\"fp32\",track=\"stable\",version=\"v1\"} 1",
            "nerve_model_requests_total{outcome=\"answered\",version=\"v1\"} 0",
            "nerve_reloads_total{result=\"rejected\"} 0",
            "nerve_model_store_up{track=\"stable\"} 0",
            "nerve_model_store_read_timestamp_seconds{track=\"stable\"} 0",
            "nerve_worker_restarts_total 0",
            "nerve_workers_alive 0",
            "nerve_text_threads 0",
            "nerve_text_threads_busy 0",
            "nerve_text_tasks_waiting 0",
            "nerve_cache_lookups_total{result=\"hit\"} 0",
            "nerve_cache_lookups_total{result=\"miss\"} 0",
        ] {
            assert!(text.contains(line), "{line} is missing from\n{text}");
        }
    }

    #[test]
    fn every_scrape_shows_a_model_while_versions_change() {
        let metrics = Metrics::new().unwrap();
        let model = |version: &str| TextModel {
            version: version.to_owned(),
            ..text_model(8)
        };
        let versions = [model("v1"), model("v2")];
        metrics.show_models("cpu", [("stable", &versions[0])]);
        let stopped = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                for version in versions.iter().cycle().take(5_000) {
                    metrics.show_models("cpu", [("stable", version)]);
                }
                stopped.store(true, Ordering::Release);
            });
            let mut scrapes = 0;
            while !stopped.load(Ordering::Acquire) || scrapes == 0 {
                let gathered = metrics.registry.gather();
                assert!(
                    gathered.iter().any(|family| family.name() == "nerve_model_info"),
                    "no model at scrape {scrapes}"
                );
                scrapes += 1;
            }
        });
        let text = String::from_utf8(metrics.exposition().unwrap()).unwrap();
        assert_eq!(text.matches("nerve_model_info{").count(), 1, "{text}");
    }

    #[test]
    fn the_padding_ratio_is_the_padded_share() {
        let metrics = Metrics::new().unwrap();
        metrics.batch_ran(2, 30, 40, Duration::ZERO);
        let text = String::from_utf8(metrics.exposition().unwrap()).unwrap();
        assert!(text.contains("nerve_padding_ratio 0.25"), "{text}");
    }
}
