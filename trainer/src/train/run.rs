//! A training from corpus to checkpoints.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Instant;

use nerve_tagging::LabelSet;
use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use rand::{Rng, SeedableRng};

use super::adamw::AdamW;
use super::config::TrainConfig;
use super::error::TrainError;
use super::example::{Example, examples};
use super::progress::{Plan, Progress};
use super::record::{EpochRecord, TrainReport};
use super::schedule::learning_rate;
use super::step::differentiate;
use crate::base::open_base;
use crate::corpus::{Corpus, Splits, entity_types};
use crate::evaluate::{CheckpointTagger, Evaluation, Tagger, evaluate};
use crate::model::{ModelDir, write_checkpoint};

/// Fine-tunes as configured and writes the run: `config.toml`, `records.jsonl`, `last/`, `best/` and perhaps `test.json`.
pub fn train(config: &TrainConfig, progress: &mut dyn Progress) -> Result<TrainReport, TrainError> {
    let splits = Splits::find(&config.data, &config.wnut17_url)?;
    let test = splits.test.as_ref().filter(|_| config.evaluate_test);
    if config.evaluate_test && test.is_none() {
        return Err(TrainError::NoTest {
            data: config.data.clone(),
        });
    }
    let (fitted, dev) = (splits.read_train()?, splits.read_dev()?);
    let mut training = Training::new(config, &fitted, &dev)?;
    let run = RunFiles::create(config)?;
    progress.begin(&training.plan(fitted.sentences.len()));
    let mut report = TrainReport {
        epochs: Vec::with_capacity(config.epochs),
        losses: Vec::with_capacity(training.steps),
        best: run.best(),
        test: None,
    };
    for epoch in 1..=config.epochs {
        let pass = training.pass(progress, &mut report.losses)?;
        let found = evaluate(&mut training.tagger, &dev)?;
        let best_before = report.epochs.iter().map(|record| record.dev_entity.f1);
        let best = best_before
            .reduce(f64::max)
            .is_none_or(|best| found.score.entity.f1 > best);
        let record = EpochRecord {
            epoch,
            step: report.losses.len(),
            loss: pass.loss,
            learning_rate: pass.learning_rate,
            dev_entity: found.score.entity,
            dev_surface_f1: found.score.surface.f1,
            dev_token_accuracy: found.score.token_accuracy,
            seconds: pass.seconds,
            tokens_per_second: pass.tokens as f64 / pass.seconds,
            best,
        };
        run.keep(&training.tagger, &record)?;
        progress.epoch(&record);
        report.epochs.push(record);
    }
    if let Some(path) = test {
        let mut best = CheckpointTagger::open(&run.best(), config.max_length, config.threads)?;
        let found = evaluate(&mut best, &Corpus::read(path)?)?;
        run.write_test(&found)?;
        report.test = Some(found);
    }
    Ok(report)
}

/// What one pass over the examples came to.
struct Pass {
    /// Mean loss of the steps.
    loss: f64,
    /// Learning rate of the last step.
    learning_rate: f64,
    tokens: usize,
    seconds: f64,
}

/// The state of a training between epochs.
struct Training<'c> {
    config: &'c TrainConfig,
    tagger: CheckpointTagger,
    optimiser: AdamW,
    examples: Vec<Example>,
    order: StdRng,
    steps: usize,
}

impl<'c> Training<'c> {
    fn new(config: &'c TrainConfig, corpus: &Corpus, dev: &Corpus) -> Result<Self, TrainError> {
        let base = open_base(&config.start, config.max_length)?;
        if config.max_length > base.config.max_position_embeddings {
            return Err(TrainError::MaxLength {
                max_length: config.max_length,
                positions: base.config.max_position_embeddings,
            });
        }
        let labels = labels(&base, [corpus, dev])?;
        let (network, encoder) = base.into_tagger(&labels, config.dropout, config.seed)?;
        let tagger = CheckpointTagger::new(network, encoder, labels, config.max_length, config.threads)?;
        let examples = examples(corpus, tagger.encoder(), tagger.labels(), tagger.limits())?;
        if examples.is_empty() {
            return Err(TrainError::NoExamples {
                path: corpus.path.clone(),
            });
        }
        let parameters = tagger.network().parameters();
        Ok(Self {
            config,
            optimiser: AdamW::new(parameters, config.weight_decay, config.threads)?,
            order: StdRng::seed_from_u64(config.seed),
            steps: examples.len().div_ceil(config.batch_size) * config.epochs,
            examples,
            tagger,
        })
    }

    fn plan(&self, sentences: usize) -> Plan {
        let parameters = self.tagger.network().parameters().iter();
        Plan {
            sentences,
            windows: self.examples.len(),
            labels: self.tagger.network().config().id2label.len(),
            parameters: parameters.map(|(_, var)| var.elem_count()).sum(),
            steps: self.steps,
            threads: self.config.threads,
        }
    }

    /// One pass over the examples in an order of its own.
    fn pass(&mut self, progress: &mut dyn Progress, losses: &mut Vec<f64>) -> Result<Pass, TrainError> {
        let mut shuffled: Vec<&Example> = self.examples.iter().collect();
        shuffled.shuffle(&mut self.order);
        let began = Instant::now();
        let first_step = losses.len();
        let (mut tokens, mut rate) = (0, 0.0);
        for batch in shuffled.chunks(self.config.batch_size) {
            rate = learning_rate(
                losses.len(),
                self.steps,
                self.config.warmup,
                self.config.learning_rate,
            );
            let seed = self.order.random();
            let network = self.tagger.network();
            let (loss, norm) = differentiate(network, &mut self.optimiser, batch, self.config.threads, seed)?;
            finite(losses.len(), "loss", loss)?;
            finite(losses.len(), "gradient norm", norm)?;
            self.optimiser
                .step(rate, (self.config.clip / norm.max(1e-6)).min(1.0))?;
            losses.push(loss);
            tokens += batch.iter().map(|example| example.ids.len()).sum::<usize>();
            progress.step(loss, tokens as f64 / began.elapsed().as_secs_f64());
        }
        let of_pass = &losses[first_step..];
        Ok(Pass {
            loss: of_pass.iter().sum::<f64>() / of_pass.len() as f64,
            learning_rate: rate,
            tokens,
            seconds: began.elapsed().as_secs_f64(),
        })
    }
}

/// The labels to train: the base's own where it tags the corpus' types, so that its head is kept, else fresh ones.
fn labels(base: &ModelDir, corpora: [&Corpus; 2]) -> Result<LabelSet, TrainError> {
    let types = entity_types(corpora);
    let own = base
        .labels()
        .filter(|own| own.types().iter().cloned().collect::<BTreeSet<_>>() == types);
    match own {
        Some(own) => Ok(own),
        None => Ok(LabelSet::iob2(types)?),
    }
}

fn finite(steps: usize, what: &'static str, value: f64) -> Result<(), TrainError> {
    if value.is_finite() {
        return Ok(());
    }
    Err(TrainError::NotFinite {
        step: steps + 1,
        what,
        value,
    })
}

/// The files of a run.
struct RunFiles<'c> {
    dir: &'c Path,
}

impl<'c> RunFiles<'c> {
    /// The run's directory with its `config.toml` and an empty `records.jsonl`.
    fn create(config: &'c TrainConfig) -> Result<Self, TrainError> {
        let run = Self { dir: &config.out };
        std::fs::create_dir_all(run.dir).map_err(failed(run.dir))?;
        let path = run.dir.join("config.toml");
        let text = toml::to_string(&config.to_options()).map_err(std::io::Error::other);
        text.and_then(|text| std::fs::write(&path, text))
            .map_err(failed(&path))?;
        let records = run.records();
        File::create(&records).map_err(failed(&records))?;
        Ok(run)
    }

    fn best(&self) -> PathBuf {
        self.dir.join("best")
    }

    fn records(&self) -> PathBuf {
        self.dir.join("records.jsonl")
    }

    /// Writes the epoch's checkpoint, as the best too where it is, and then its record.
    fn keep(&self, tagger: &CheckpointTagger, record: &EpochRecord) -> Result<(), TrainError> {
        write_checkpoint(&self.dir.join("last"), tagger.network(), tagger.encoder())?;
        if record.best {
            write_checkpoint(&self.best(), tagger.network(), tagger.encoder())?;
        }
        let path = self.records();
        let line = serde_json::to_string(record).map_err(std::io::Error::from);
        line.and_then(|line| {
            let mut file = File::options().append(true).open(&path)?;
            file.write_all(format!("{line}\n").as_bytes())
        })
        .map_err(failed(&path))
    }

    fn write_test(&self, found: &Evaluation) -> Result<(), TrainError> {
        let path = self.dir.join("test.json");
        let text = serde_json::to_vec_pretty(found).map_err(std::io::Error::from);
        text.and_then(|text| std::fs::write(&path, text))
            .map_err(failed(&path))
    }
}

fn failed(path: &Path) -> impl FnOnce(std::io::Error) -> TrainError {
    let path = path.to_owned();
    move |source| TrainError::Write { path, source }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::write_corpus;
    use crate::train::{Init, TrainOptions};

    fn options(dir: &Path, out: &str) -> TrainOptions {
        TrainOptions {
            data: Some(dir.to_string_lossy().into_owned()),
            out: Some(dir.join(out)),
            init: Some(Init::Scratch),
            vocab: Some(dir.to_owned()),
            hidden_size: Some(32),
            epochs: Some(12),
            batch_size: Some(4),
            learning_rate: Some(5e-3),
            threads: Some(2),
            ..TrainOptions::default()
        }
    }

    fn run(options: TrainOptions) -> Result<TrainReport, TrainError> {
        train(&TrainConfig::new(options).unwrap(), &mut ())
    }

    #[test]
    fn a_fresh_model_learns_and_its_run_is_on_record() {
        let dir = tempfile::tempdir().unwrap();
        write_corpus(dir.path());
        let report = run(TrainOptions {
            evaluate_test: Some(true),
            ..options(dir.path(), "run")
        })
        .unwrap();
        assert_eq!(
            report.epochs.iter().map(|e| e.dev_entity.f1).fold(0.0, f64::max),
            1.0
        );
        // `Rome` is of a type never seen in training: one of two entities is missed, none is lost.
        let test = report.test.unwrap();
        assert_eq!((test.score.counts.gold, test.score.counts.correct), (2, 1));
        let run_dir = dir.path().join("run");
        let records = std::fs::read_to_string(run_dir.join("records.jsonl")).unwrap();
        assert_eq!(records.lines().count(), 12);
        let again = TrainOptions::read(&run_dir.join("config.toml")).unwrap();
        assert_eq!(again.learning_rate, Some(5e-3));
        assert!(run_dir.join("last/model.safetensors").is_file() && run_dir.join("test.json").is_file());
        let mut best = CheckpointTagger::open(&report.best, 128, 1).unwrap();
        let dev = Corpus::read(&dir.path().join("dev.conll")).unwrap();
        assert_eq!(evaluate(&mut best, &dev).unwrap().score.entity.f1, 1.0);
    }

    #[test]
    fn the_same_seed_and_threads_give_the_same_losses_to_the_last_bit() {
        let dir = tempfile::tempdir().unwrap();
        write_corpus(dir.path());
        let losses = |seed, out| {
            let seeded = TrainOptions {
                seed: Some(seed),
                epochs: Some(2),
                ..options(dir.path(), out)
            };
            let losses = run(seeded).unwrap().losses;
            losses.into_iter().map(f64::to_bits).collect::<Vec<u64>>()
        };
        let first = losses(7, "a");
        assert_eq!(first, losses(7, "b"));
        assert_ne!(first, losses(8, "c"));
    }

    #[test]
    fn a_checkpoint_is_a_base_whose_head_is_kept() {
        let dir = tempfile::tempdir().unwrap();
        write_corpus(dir.path());
        let best = run(options(dir.path(), "first")).unwrap().best;
        let report = run(TrainOptions {
            base: Some(best.to_string_lossy().into_owned()),
            data: Some(dir.path().to_string_lossy().into_owned()),
            out: Some(dir.path().join("second")),
            epochs: Some(1),
            learning_rate: Some(1e-9),
            ..TrainOptions::default()
        })
        .unwrap();
        assert_eq!(report.epochs[0].dev_entity.f1, 1.0);
    }

    #[test]
    fn a_loss_that_explodes_names_its_step() {
        let dir = tempfile::tempdir().unwrap();
        write_corpus(dir.path());
        let error = run(TrainOptions {
            learning_rate: Some(1e30),
            warmup: Some(0.0),
            ..options(dir.path(), "run")
        })
        .unwrap_err();
        assert!(matches!(error, TrainError::NotFinite { step: 2, .. }), "{error}");
    }

    #[test]
    fn what_cannot_be_trained_is_said_before_the_first_step() {
        let dir = tempfile::tempdir().unwrap();
        write_corpus(dir.path());
        std::fs::remove_file(dir.path().join("test.conll")).unwrap();
        let error = run(TrainOptions {
            evaluate_test: Some(true),
            ..options(dir.path(), "run")
        });
        assert!(matches!(error, Err(TrainError::NoTest { .. })));
        let missing = dir.path().join("absent").to_string_lossy().into_owned();
        let error = run(TrainOptions {
            data: Some(missing),
            ..options(dir.path(), "run")
        });
        assert!(error.unwrap_err().to_string().contains("no train split"));
    }
}
