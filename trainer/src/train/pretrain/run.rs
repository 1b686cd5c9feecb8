//! A pre-training from texts to a checkpoint.

use std::sync::atomic::{AtomicBool, Ordering};

use std::time::Instant;

use nerve_inference::TextTokenizer;
use nerve_tagging::WindowLimits;
use serde::{Deserialize, Serialize};

use crate::base::open::base_dir;
use crate::evaluate::error::TaggerError;
use crate::model::checkpoint::ModelDir;
use crate::model::checkpoint::masked::write_masked_checkpoint;
use crate::model::gradients::Gradients;
use crate::model::masked::MaskedModel;
use crate::ops::dropout::Dropout;
use crate::ops::multiplier::Multiplier;
use crate::threads::on_threads;
use crate::train::error::TrainError;
use crate::train::example::{Example, pack};
use crate::train::files::{JsonLines, failed, replace};
use crate::train::lock::RunLock;
use crate::train::optimizer::plan::ParameterPlan;
use crate::train::optimizer::{Optimizer, UpdateRule};
use crate::train::order;
use crate::train::pretrain::error::PretrainError;
use crate::train::pretrain::mask::Masking;
use crate::train::pretrain::options::{FILE, PretrainSettings};
use crate::train::pretrain::text::Texts;
use crate::train::run::Beginning;
use crate::train::run_dir::RunDir;
use crate::train::schedule::{Decay, Schedule, Steps};
use crate::train::shard::shards;
use crate::train::state::TrainingState;

const STEPS: &str = "pretrain_steps.jsonl";
const RECORDS: &str = "pretrain_records.jsonl";
/// The largest norm of a step's gradient.
const MAX_GRADIENT_NORM: f64 = 1.0;
/// Windows per batch of an evaluation.
const EVALUATION_BATCH: usize = 32;

/// The record of one step, a line of `pretrain_steps.jsonl`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
struct StepLoss {
    step: usize,
    loss: f64,
    learning_rate: f64,
    gradient_norm: f64,
}

/// The record of one evaluation, a line of `pretrain_records.jsonl`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct PretrainRecord {
    /// The number of steps since the start of the run; 0 for the base model.
    pub step: usize,
    /// The mean loss of the steps since the previous evaluation, in nats per masked token; absent for the base model.
    pub loss: Option<f64>,
    /// The perplexity of the masked tokens of the held-out sentences, whose masks are always the same.
    pub perplexity: f64,
}

/// The result of a pre-training.
#[derive(Clone, Debug)]
pub struct PretrainReport {
    /// All evaluations.
    pub records: Vec<PretrainRecord>,
    /// The number of steps made.
    pub steps: usize,
    /// Whether it was interrupted before its last step.
    pub is_interrupted: bool,
}

/// Continues the pre-training of a base model on texts, and writes the run: `pretrain.toml`, `pretrain_steps.jsonl`,
/// `pretrain_records.jsonl` and the checkpoint `last/`, which is a base model for `train`.
///
/// A run that was stopped at any moment and is resumed has the same steps, records and weights, to the last bit, as one that was
/// not stopped, with the same number of threads on the same kind of machine. `announce` receives a line of progress at a time.
pub fn pretrain(
    settings: &PretrainSettings,
    beginning: Beginning,
    interrupted: &AtomicBool,
    mut announce: impl FnMut(&str),
) -> Result<PretrainReport, PretrainError> {
    let out = &settings.out;
    let dir = RunDir::new(out);
    let options = out.join(FILE);
    if beginning == Beginning::Resumed && !options.is_file() {
        return Err(TrainError::NoRun { dir: out.clone() }.into());
    }
    std::fs::create_dir_all(out).map_err(failed(out))?;
    let _lock = RunLock::acquire(out)?;
    if beginning == Beginning::New && (options.is_file() || dir.holds_run()) {
        return Err(TrainError::HoldsRun { dir: out.clone() }.into());
    }
    let resumes = beginning == Beginning::Resumed && dir.has_last()?;
    let model = match resumes {
        true => ModelDir::open(&dir.last())?,
        false => ModelDir::open(&base_dir(&settings.base)?)?,
    };
    let multiplier = Multiplier::new(settings.precision).map_err(TrainError::from)?;
    let (model, tokenizer, is_fresh) = model.into_masked_model(settings.seed)?;
    let model = model.with_multiplier(multiplier);
    let config = model.encoder().config();
    if settings.max_length > config.max_length() {
        return Err(TrainError::MaxLength {
            max_length: settings.max_length,
            positions: config.max_length(),
        }
        .into());
    }
    let (before, after) = tokenizer.specials();
    let limits = WindowLimits::for_encoder(settings.max_length, before + after).map_err(TaggerError::from)?;
    let masking = Masking::new(&tokenizer, config.vocab_size, settings.mask_probability);
    let masking = masking.ok_or_else(|| PretrainError::NoMask {
        base: settings.base.clone(),
    })?;
    let texts = Texts::read(
        &settings.texts,
        &tokenizer,
        limits,
        settings.held_out,
        settings.seed,
    )?;
    let layers = config.numbered_layers();
    let plan = |name: &str| ParameterPlan::new(name, layers, 1.0, 1.0);
    let decay = settings.weight_decay;
    let mut optimizer = Optimizer::new(
        model.parameters(),
        plan,
        UpdateRule::AdamW,
        decay,
        settings.threads,
    )?;
    let state = match resumes {
        true => Some(TrainingState::read(&dir.last())?),
        false => None,
    };
    if let Some(state) = &state {
        if state.examples != texts.hash() {
            return Err(PretrainError::OtherTexts { dir: out.clone() });
        }
        state.restore(&dir.last(), &mut optimizer, None)?;
    }
    let (step, records) = state.map_or((0, 0), |state| (state.step, state.records));
    let text = toml::to_string(&settings.options).map_err(std::io::Error::other);
    let step_file = JsonLines::open(&out.join(STEPS), step)?;
    let record_file = JsonLines::open(&out.join(RECORDS), records)?;
    let checkpoints = out.join("checkpoints");
    std::fs::create_dir_all(&checkpoints).map_err(failed(&checkpoints))?;
    replace(&options, text.map_err(failed(&options))?.as_bytes())?;
    announce(&format!(
        "{} distinct sentences in {} windows to learn from and {} held out; the head for masked words is {}",
        texts.sentences,
        texts.windows.len(),
        texts.held_out.len(),
        if is_fresh { "new" } else { "that of the model" }
    ));
    let per_epoch = texts.windows.len().div_ceil(settings.batch_size);
    Run {
        settings,
        dir,
        model,
        tokenizer,
        optimizer,
        masking,
        steps: Steps {
            total: per_epoch.saturating_mul(settings.epochs),
            per_epoch,
        },
        losses: step_file.read()?,
        records: record_file.read()?,
        step_file,
        record_file,
        texts,
        saved: step,
    }
    .fit(interrupted, &mut announce)
}

/// A pre-training with its files.
struct Run<'s> {
    settings: &'s PretrainSettings,
    dir: RunDir,
    model: MaskedModel,
    tokenizer: TextTokenizer,
    optimizer: Optimizer,
    masking: Masking,
    texts: Texts,
    steps: Steps,
    losses: Vec<StepLoss>,
    records: Vec<PretrainRecord>,
    step_file: JsonLines,
    record_file: JsonLines,
    // The step of the last checkpoint; 0 without one.
    saved: usize,
}

impl Run<'_> {
    /// Makes the remaining steps.
    fn fit(
        mut self,
        interrupted: &AtomicBool,
        announce: &mut dyn FnMut(&str),
    ) -> Result<PretrainReport, PretrainError> {
        if self.records.is_empty() {
            self.evaluate(announce)?;
        }
        let done = self.optimizer.steps();
        let (first, skipped) = (done / self.steps.per_epoch, done % self.steps.per_epoch);
        let mut began = Instant::now();
        for epoch in first..self.settings.epochs {
            let batches = self.batches(epoch);
            for batch in batches.iter().skip(if epoch == first { skipped } else { 0 }) {
                self.step(batch)?;
                let step = self.optimizer.steps();
                let every = self.settings.evaluate_every.unwrap_or(self.steps.per_epoch);
                if step.is_multiple_of(every) || step == self.steps.total {
                    let seconds = began.elapsed().as_secs_f64();
                    announce(&format!("step {step} of {}, {seconds:.0} s", self.steps.total));
                    self.evaluate(announce)?;
                    self.save()?;
                    began = Instant::now();
                }
                if interrupted.load(Ordering::Relaxed) && step < self.steps.total {
                    self.save()?;
                    return Ok(self.report(true));
                }
            }
        }
        Ok(self.report(false))
    }

    fn report(self, is_interrupted: bool) -> PretrainReport {
        PretrainReport {
            steps: self.optimizer.steps(),
            records: self.records,
            is_interrupted,
        }
    }

    /// The windows of each step of an epoch, as indices.
    fn batches(&self, epoch: usize) -> Vec<Vec<usize>> {
        let (size, seed) = (self.settings.batch_size, self.settings.seed);
        let batches = order::batches(&self.texts.windows, size, true, seed, epoch);
        let indices = |batch: Vec<&Example>| batch.iter().map(|window| window.sentence).collect();
        batches.into_iter().map(indices).collect()
    }

    /// Makes the step of these windows, whose masks depend on the seed and on the step.
    fn step(&mut self, batch: &[usize]) -> Result<(), PretrainError> {
        let step = self.optimizer.steps();
        let mut generator = order::mask_generator(self.settings.seed, step);
        let hidden: Vec<Example> = batch
            .iter()
            .map(|&at| {
                let (window, words) = (&self.texts.windows[at], &self.texts.words[at]);
                self.masking.hide(window, words, &mut generator)
            })
            .collect();
        let hidden: Vec<&Example> = hidden.iter().collect();
        let weight = hidden
            .iter()
            .map(|window| window.labeled.len())
            .sum::<usize>()
            .max(1) as f64;
        let seed = order::dropout_seed(self.settings.seed, step);
        let of_shard = |index: u64, shard: &[&Example]| -> candle_core::Result<Gradients> {
            let (packed, targets) = pack(shard);
            let dropout = Dropout::seeded(seed ^ index.rotate_right(16));
            self.model.gradients(&packed, &targets, weight, dropout)
        };
        let shards = shards(&hidden, self.settings.threads);
        let parts = on_threads((0u64..).zip(&shards), |(index, shard)| of_shard(index, shard));
        let parts = parts.into_iter().collect::<Result<Vec<_>, _>>()?;
        let loss: f64 = parts.iter().map(|part| part.loss).sum();
        let gradient_norm = self.optimizer.accumulate(&parts)?;
        for (what, value) in [("loss", loss), ("gradient norm", gradient_norm)] {
            if !value.is_finite() {
                return Err(PretrainError::NotFinite {
                    step: step + 1,
                    what,
                    value,
                });
            }
        }
        let schedule = Schedule {
            warmup: self.settings.warmup,
            decay: Decay::Linear,
        };
        let learning_rate = schedule.rate(self.settings.learning_rate, step, self.steps, &[]);
        let scale = (MAX_GRADIENT_NORM / gradient_norm.max(1e-6)).min(1.0);
        self.optimizer.step(learning_rate, scale)?;
        let record = StepLoss {
            step: step + 1,
            loss,
            learning_rate,
            gradient_norm,
        };
        self.step_file.append(&record)?;
        self.losses.push(record);
        Ok(())
    }

    /// Measures the perplexity of the held-out sentences.
    fn evaluate(&mut self, announce: &mut dyn FnMut(&str)) -> Result<(), PretrainError> {
        let mut generator = order::mask_generator(self.settings.seed, usize::MAX);
        let windows = self.texts.held_out.iter().zip(&self.texts.held_out_words);
        let hidden: Vec<Example> = windows
            .map(|(window, words)| self.masking.hide(window, words, &mut generator))
            .collect();
        let count: usize = hidden.iter().map(|window| window.labeled.len()).sum();
        let of_shard = |shard: &[&Example]| {
            let (packed, targets) = pack(shard);
            self.model.loss(&packed, &targets)
        };
        let mut sum = 0.0;
        for batch in hidden.chunks(EVALUATION_BATCH) {
            let shards = shards(&batch.iter().collect::<Vec<_>>(), self.settings.threads);
            for loss in on_threads(&shards, |shard| of_shard(shard)) {
                sum += loss?;
            }
        }
        let step = self.optimizer.steps();
        let last = self.records.last().map_or(0, |record| record.step);
        let since = &self.losses[last.min(self.losses.len())..];
        let mean = since.iter().map(|step| step.loss).sum::<f64>() / since.len().max(1) as f64;
        let record = PretrainRecord {
            step,
            loss: (!since.is_empty()).then_some(mean),
            perplexity: (sum / count.max(1) as f64).exp(),
        };
        let loss = record
            .loss
            .map_or_else(String::new, |loss| format!("loss {loss:.4}, "));
        announce(&format!(
            "step {step}: {loss}perplexity of held-out words {:.2}",
            record.perplexity
        ));
        self.record_file.append(&record)?;
        self.records.push(record);
        Ok(())
    }

    /// Writes the checkpoint of the steps made, and makes it the one that a resumed run continues from.
    fn save(&mut self) -> Result<(), PretrainError> {
        let step = self.optimizer.steps();
        if self.saved == step {
            return Ok(());
        }
        let path = self.dir.checkpoint(step);
        write_masked_checkpoint(&path, &self.model, &self.tokenizer, self.settings.max_length)?;
        let state = TrainingState {
            step,
            records: self.records.len(),
            examples: self.texts.hash(),
            seconds: 0.0,
            averaged: 0,
            loss_scale: None,
        };
        state.write(&path, &self.optimizer, None)?;
        self.dir.commit(step, None)?;
        self.saved = step;
        Ok(())
    }
}

#[cfg(test)]
mod tests;
