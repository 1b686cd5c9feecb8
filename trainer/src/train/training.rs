//! A network, its optimizer and its loss: what a training step changes.

use std::collections::BTreeSet;

use nerve_tagging::LabelSet;

use crate::evaluate::Tagger;
use crate::evaluate::checkpoint::CheckpointTagger;
use crate::model::bert::BertTagger;
use crate::model::checkpoint::ModelDir;
use crate::ops::multiplier::Multiplier;
use crate::ops::precision::Precision;
use crate::summary::corpus::CorpusSummary;
use crate::summary::notices::corpus_notices;
use crate::train::average::AveragedWeights;
use crate::train::config::TrainConfig;
use crate::train::config::averaging::Averaging;
use crate::train::error::TrainError;
use crate::train::example::Example;
use crate::train::hook::Prediction;
use crate::train::learning_rate::learning_rate;
use crate::train::loss::{Loss, LossFunction, SoftLoss};
use crate::train::loss_scale::{LossScale, StepOutcome};
use crate::train::notice::Notice;
use crate::train::optimizer::Optimizer;
use crate::train::optimizer::plan::{ParameterPlan, is_embedding, layer_of};
use crate::train::order;
use crate::train::record::{EvaluationRecord, StepRecord};
use crate::train::schedule::DevScore;
use crate::train::step::differentiate;
use crate::train::training_set::TrainingSet;
use nerve_corpus::{Corpus, entity_types};
use nerve_inference::Device;

/// A network that is trained, with its optimizer and loss.
pub(super) struct Training<'c> {
    pub(super) config: &'c TrainConfig,
    pub(super) tagger: CheckpointTagger,
    pub(super) optimizer: Optimizer,
    /// The average of the weights, where the configuration asks for one.
    pub(super) average: Option<AveragedWeights>,
    /// The scale of the loss, with gradients in fp16.
    pub(super) loss_scale: Option<LossScale>,
    loss: Loss,
    learning_rate: f64,
}

impl<'c> Training<'c> {
    /// The tagger that starts with the weights of a model.
    pub(super) fn tagger(
        config: &TrainConfig,
        base: ModelDir,
        labels: LabelSet,
    ) -> Result<CheckpointTagger, TrainError> {
        if config.max_length > base.config.max_length() {
            return Err(TrainError::MaxLength {
                max_length: config.max_length,
                positions: base.config.max_length(),
            });
        }
        let multiplier = match config.device {
            Device::Cpu => Multiplier::new(config.precision)?,
            Device::Cuda(_) => Multiplier::composed(config.precision),
        };
        let (network, tokenizer) = base
            .with_dropout(config.dropout, config.attention_dropout)
            .with_transitions(config.objective.function == LossFunction::Crf)
            .into_tagger(&labels, config.seed)?;
        if config.regularization.r_drop.is_some() && network.config().drops_nothing() {
            return Err(TrainError::RDropWithoutDropout);
        }
        let network = frozen(config, network)?
            .with_multiplier(multiplier)
            .with_gradient_checkpointing(config.gradient_checkpointing);
        Ok(CheckpointTagger::new(
            network,
            tokenizer,
            labels,
            config.max_length,
            config.threads,
        )?)
    }

    /// The training of a tagger on a training set.
    pub(super) fn new(
        config: &'c TrainConfig,
        tagger: CheckpointTagger,
        set: &TrainingSet,
    ) -> Result<Self, TrainError> {
        let optimization = &config.optimization;
        let parameters = tagger.network().parameters();
        let shape = tagger.network().config();
        let layers = shape.numbered_layers();
        let learning_rate = learning_rate(optimization.learning_rate, shape.hidden_size);
        let head = optimization
            .head_learning_rate
            .map_or(1.0, |rate| rate / learning_rate);
        let plan = |name: &str| ParameterPlan::new(name, layers, optimization.layer_decay, head);
        let decay = optimization.weight_decay;
        let optimizer = Optimizer::new(parameters, plan, optimization.rule, decay, config.threads)?;
        let total = set.steps.total;
        let average = |averaging: Averaging| match averaging.has_effect(total) {
            true => Ok(AveragedWeights::new(
                averaging,
                parameters,
                total,
                config.threads,
            )?),
            false => Err(nothing_averaged(averaging, total)),
        };
        Ok(Self {
            config,
            optimizer,
            average: config.averaging.map(average).transpose()?,
            loss_scale: (config.precision == Precision::Fp16).then(LossScale::default),
            loss: loss(config, tagger.labels(), set)?,
            learning_rate,
            tagger,
        })
    }

    /// Restores the scale of the loss and the number of steps that it skipped.
    pub(super) fn restore_loss_scale(&mut self, loss_scale: LossScale) {
        self.optimizer.restore_skipped_steps(loss_scale.skipped_steps);
        self.loss_scale = Some(loss_scale);
    }

    /// Makes the step of these batches, after these evaluations. Its predictions are empty unless they are read.
    pub(super) fn step<'e>(
        &mut self,
        set: &TrainingSet,
        batches: &[Vec<&'e Example>],
        records: &[EvaluationRecord],
        reads_predictions: bool,
    ) -> Result<(StepRecord, Vec<Vec<Prediction<'e>>>), TrainError> {
        let optimization = &self.config.optimization;
        let step = self.optimizer.steps();
        let select_by = &self.config.select_by;
        let scores: Vec<DevScore> = records.iter().map(|record| select_by.dev_score(record)).collect();
        let rate = optimization
            .schedule
            .rate(self.learning_rate, step, set.steps, &scores);
        let seed = order::dropout_seed(self.config.seed, step);
        let network = self.tagger.network();
        // Shards run in parallel on the CPU only; on another device they would be smaller batches one after another.
        let threads = match self.config.device {
            Device::Cpu => self.config.threads,
            Device::Cuda(_) => 1,
        };
        let loss_scale = self.loss_scale.map_or(1.0, |loss_scale| loss_scale.scale);
        let loss = (&self.loss, self.config.regularization, loss_scale);
        let passes = (threads, reads_predictions);
        let found = differentiate(network, &mut self.optimizer, batches, loss, passes, seed)?;
        let precision = self.config.precision;
        set.finite(step, batches, ("loss", found.loss), precision)?;
        let outcome = match &mut self.loss_scale {
            Some(loss_scale) => loss_scale.update(found.norm),
            None => StepOutcome::Applied,
        };
        let skipped = outcome == StepOutcome::Skipped;
        if skipped {
            self.optimizer.skip_step();
        } else {
            set.finite(step, batches, ("gradient norm", found.norm), precision)?;
            let scale = optimization
                .clip
                .map_or(1.0, |clip| (clip / found.norm.max(1e-6)).min(1.0));
            self.optimizer.step(rate, scale / loss_scale)?;
        }
        if let Some(average) = &mut self.average {
            average.add(step + 1)?;
        }
        let record = StepRecord {
            step: step + 1,
            loss: found.loss,
            learning_rate: rate,
            gradient_norm: if skipped { 0.0 } else { found.norm },
            skipped,
            lines: set.lines(batches).collect(),
        };
        Ok((record, found.predicted))
    }
}

/// The error of an average over a run of `total` steps that has none of them.
fn nothing_averaged(averaging: Averaging, total: usize) -> TrainError {
    TrainError::NothingAveraged {
        every: averaging.every(),
        before: averaging.steps_before(total),
        steps: total,
    }
}

/// The labels to train: those of the base model if it has the entity types of the corpora, so that its head is kept, else
/// IOB2 labels of these types.
pub(super) fn labels(base: &ModelDir, corpora: [&Corpus; 2]) -> Result<LabelSet, TrainError> {
    let types = entity_types(corpora);
    let own = base
        .labels()
        .filter(|own| own.types().iter().cloned().collect::<BTreeSet<_>>() == types);
    match own {
        Some(own) => Ok(own),
        None => Ok(LabelSet::iob2(types)?),
    }
}

/// What the user is told of the model and the corpora before the first step.
///
/// `head` has the labels of the base model's classifier, where it has one.
pub(super) fn notices(
    config: &TrainConfig,
    head: Option<&LabelSet>,
    tagger: &CheckpointTagger,
    set: &TrainingSet,
    dev: &Corpus,
) -> Result<Vec<Notice>, TrainError> {
    let hidden_size = tagger.network().config().hidden_size;
    let rate = config
        .optimization
        .learning_rate
        .is_none()
        .then(|| Notice::DefaultLearningRate {
            learning_rate: learning_rate(config.optimization.learning_rate, hidden_size),
            hidden_size,
        });
    let labels = tagger.labels();
    let head = head.and_then(|head| Notice::of_heads(head, labels));
    let (trained, evaluated) = (set.types(labels), entity_types([dev]));
    let data = Notice::of_types((set.path(), &trained), (&dev.path, &evaluated));
    let spans = Notice::of_spans(set.corpus()).chain(Notice::of_spans(dev));
    let splits = [("train", set.corpus()), ("dev", dev)];
    let summary = CorpusSummary::of(&splits, Some((tagger.tokenizer(), config.max_length)))?;
    let found = corpus_notices(&summary, &splits);
    let notices = rate.into_iter().chain(head).chain(data).chain(spans);
    Ok(notices.chain(found).chain([Notice::Corpus(summary)]).collect())
}

/// The network with the parameters frozen that the configuration does not train.
fn frozen(config: &TrainConfig, network: BertTagger) -> Result<BertTagger, TrainError> {
    let patterns = config.frozen()?;
    if patterns.is_empty() && config.freeze_layers == 0 && !config.freeze_embeddings {
        return Ok(network);
    }
    let layers = network.config().numbered_layers();
    if config.freeze_layers > layers {
        return Err(TrainError::FreezeLayers {
            frozen: config.freeze_layers,
            layers,
        });
    }
    let names = || network.parameters().iter().map(|(name, _)| name);
    if let Some(idle) = patterns
        .iter()
        .find(|pattern| !names().any(|name| pattern.is_match(name)))
    {
        return Err(TrainError::FreezesNothing {
            pattern: idle.to_string(),
        });
    }
    let is_low = |name: &str| layer_of(name).is_some_and(|layer| layer < config.freeze_layers);
    let is_lowest = |name: &str| config.freeze_embeddings && is_embedding(name);
    let matches =
        |name: &str| is_low(name) || is_lowest(name) || patterns.iter().any(|pattern| pattern.is_match(name));
    if names().all(matches) {
        return Err(TrainError::FreezesAll);
    }
    Ok(network.frozen(matches)?)
}

fn loss(config: &TrainConfig, labels: &LabelSet, set: &TrainingSet) -> Result<Loss, TrainError> {
    let counts = set.label_counts(labels.len());
    let weights = config.objective.class_weights.as_ref();
    let weights = weights.map(|weights| weights.resolve(labels, &counts));
    Ok(Loss {
        function: config.objective.function,
        weights: weights
            .transpose()
            .map_err(|label| TrainError::UnknownLabel { label })?,
        soft: config.distillation.as_ref().map(|distillation| SoftLoss {
            temperature: distillation.temperature,
            weight: distillation.weight,
        }),
    })
}
