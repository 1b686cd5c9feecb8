//! A network being fitted to examples.

use std::collections::BTreeSet;

use nerve_tagging::{LabelId, LabelSet};
use sha2::{Digest, Sha256};

use crate::evaluate::Tagger;
use crate::evaluate::checkpoint::CheckpointTagger;
use crate::model::bert::BertTagger;
use crate::model::checkpoint::ModelDir;
use crate::train::config::TrainConfig;
use crate::train::device::DeviceChoice;
use crate::train::error::TrainError;
use crate::train::example::{Example, examples};
use crate::train::hook::{ExampleContext, Prediction, TrainingHook};
use crate::train::learning_rate::learning_rate;
use crate::train::loss::Loss;
use crate::train::notice::Notice;
use crate::train::optimiser::Optimiser;
use crate::train::optimiser::plan::{ParameterPlan, is_embedding, layer_of};
use crate::train::order;
use crate::train::record::{EvaluationRecord, StepRecord};
use crate::train::schedule::{DevScore, Steps};
use crate::train::step::differentiate;
use nerve_corpus::{Corpus, entity_types};

/// What a network is fitted to.
pub(super) struct Fitted {
    pub(super) examples: Vec<Example>,
    pub(super) steps: Steps,
    /// How many sentences it is of.
    pub(super) sentences: usize,
    // The training split, to say where an example is from.
    corpus: Corpus,
}

/// A network being fitted.
pub(super) struct Training<'c> {
    pub(super) config: &'c TrainConfig,
    pub(super) tagger: CheckpointTagger,
    pub(super) optimiser: Optimiser,
    loss: Loss,
    learning_rate: f64,
}

impl Fitted {
    /// The windows of a corpus, or of the configured part of it, for this tagger. The hook may change them.
    pub(super) fn new(
        config: &TrainConfig,
        corpus: Corpus,
        tagger: &CheckpointTagger,
        hook: &mut dyn TrainingHook,
    ) -> Result<Self, TrainError> {
        let (labels, tokenizer) = (tagger.labels(), tagger.tokenizer());
        let labelled = config.label_subwords.into();
        let mut examples = examples(&corpus, tokenizer, labels, tagger.limits(), labelled)?;
        let context = ExampleContext {
            labels,
            specials: tokenizer.specials(),
            padding_id: tagger.network().config().pad_token_id,
        };
        hook.on_examples(&mut examples, &context)?;
        let mut sentences = corpus.sentences.len();
        if let Some(size) = config.subset {
            // After the hooks, which see the whole split.
            let drawn = order::subset(sentences, size, config.seed);
            examples.retain(|example| drawn.binary_search(&example.sentence).is_ok());
            sentences = drawn.len();
        }
        if examples.is_empty() {
            return Err(TrainError::NoExamples {
                path: corpus.path.clone(),
            });
        }
        let batches = examples.len().div_ceil(config.batch_size);
        let per_epoch = batches.div_ceil(config.accumulate);
        Ok(Self {
            steps: Steps {
                total: per_epoch.saturating_mul(config.epochs),
                per_epoch,
            },
            examples,
            sentences,
            corpus,
        })
    }

    /// The entity types that a training label names.
    fn types(&self, labels: &LabelSet) -> BTreeSet<String> {
        let present: BTreeSet<u32> = self
            .examples
            .iter()
            .flat_map(|example| example.labelled.iter().map(|(_, label)| *label))
            .collect();
        let name = |label: u32| labels.type_name(labels.tag(LabelId(label as usize))?.entity_type()?);
        present.into_iter().filter_map(name).map(str::to_owned).collect()
    }

    /// A hash of every token and label.
    pub(super) fn hash(&self) -> String {
        let mut hasher = Sha256::new();
        let mut add = |number: usize| hasher.update((number as u64).to_le_bytes());
        for example in &self.examples {
            add(example.ids.len());
            example.ids.iter().for_each(|&id| add(id as usize));
            add(example.labelled.len());
            for &(position, label) in &example.labelled {
                add(position as usize);
                add(label as usize);
            }
        }
        hasher
            .finalize()
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect()
    }

    /// The line at which the sentence of each window begins.
    fn lines(&self, batches: &[Vec<&Example>]) -> impl Iterator<Item = usize> {
        let windows = batches.iter().flatten();
        windows.map(|example| self.corpus.line(example.sentence, 0))
    }

    /// An error that names the lines of a step's sentences, unless the value is finite.
    fn finite(
        &self,
        step: usize,
        batches: &[Vec<&Example>],
        what: &'static str,
        value: f64,
    ) -> Result<(), TrainError> {
        if value.is_finite() {
            return Ok(());
        }
        let lines: BTreeSet<usize> = self.lines(batches).collect();
        let lines: Vec<String> = lines.iter().map(ToString::to_string).collect();
        Err(TrainError::NotFinite {
            step: step + 1,
            what,
            value,
            batch: format!("{}, lines {}", self.corpus.path.display(), lines.join(", ")),
        })
    }
}

impl<'c> Training<'c> {
    /// A training that begins with the weights of a model.
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
        let (network, tokenizer) = base
            .with_dropout(config.dropout, config.attention_dropout)
            .into_tagger(&labels, config.seed)?;
        let network = frozen(config, network)?;
        Ok(CheckpointTagger::new(
            network,
            tokenizer,
            labels,
            config.max_length,
            config.threads,
        )?)
    }

    /// The training of a tagger on examples.
    pub(super) fn new(
        config: &'c TrainConfig,
        tagger: CheckpointTagger,
        fitted: &Fitted,
    ) -> Result<Self, TrainError> {
        let optimisation = &config.optimisation;
        let parameters = tagger.network().parameters();
        let shape = tagger.network().config();
        let layers = shape.num_hidden_layers;
        let learning_rate = learning_rate(optimisation.learning_rate, shape.hidden_size);
        let head = optimisation
            .head_learning_rate
            .map_or(1.0, |rate| rate / learning_rate);
        let plan = |name: &str| ParameterPlan::new(name, layers, optimisation.layer_decay, head);
        let decay = optimisation.weight_decay;
        let optimiser = Optimiser::new(parameters, plan, optimisation.rule, decay, config.threads)?;
        Ok(Self {
            config,
            optimiser,
            loss: loss(config, tagger.labels(), fitted)?,
            learning_rate,
            tagger,
        })
    }

    /// Makes the step of these batches, after these evaluations.
    pub(super) fn step<'e>(
        &mut self,
        fitted: &Fitted,
        batches: &[Vec<&'e Example>],
        records: &[EvaluationRecord],
    ) -> Result<(StepRecord, Vec<Vec<Prediction<'e>>>), TrainError> {
        let optimisation = &self.config.optimisation;
        let step = self.optimiser.steps();
        let scores: Vec<DevScore> = records.iter().map(EvaluationRecord::dev_score).collect();
        let rate = optimisation
            .schedule
            .rate(self.learning_rate, step, fitted.steps, &scores);
        let seed = order::dropout_seed(self.config.seed, step);
        let network = self.tagger.network();
        // Only the CPU gains by shards; elsewhere they would be smaller batches one after another.
        let threads = match self.config.device {
            DeviceChoice::Cpu => self.config.threads,
            DeviceChoice::Cuda(_) => 1,
        };
        let found = differentiate(network, &mut self.optimiser, batches, &self.loss, threads, seed)?;
        fitted.finite(step, batches, "loss", found.loss)?;
        fitted.finite(step, batches, "gradient norm", found.norm)?;
        let scale = optimisation
            .clip
            .map_or(1.0, |clip| (clip / found.norm.max(1e-6)).min(1.0));
        self.optimiser.step(rate, scale)?;
        let record = StepRecord {
            step: step + 1,
            loss: found.loss,
            learning_rate: rate,
            gradient_norm: found.norm,
            lines: fitted.lines(batches).collect(),
        };
        Ok((record, found.predicted))
    }
}

/// The labels to train: the base's own where it tags the corpus' types, so that its head is kept, else fresh ones.
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
    fitted: &Fitted,
    dev: &Corpus,
) -> Vec<Notice> {
    let hidden_size = tagger.network().config().hidden_size;
    let rate = config
        .optimisation
        .learning_rate
        .is_none()
        .then(|| Notice::DefaultLearningRate {
            learning_rate: learning_rate(config.optimisation.learning_rate, hidden_size),
            hidden_size,
        });
    let labels = tagger.labels();
    let head = head.and_then(|head| Notice::of_heads(head, labels));
    let (trained, evaluated) = (fitted.types(labels), entity_types([dev]));
    let data = Notice::of_types((&fitted.corpus.path, &trained), (&dev.path, &evaluated));
    rate.into_iter().chain(head).chain(data).collect()
}

/// The network without what the configuration leaves alone.
fn frozen(config: &TrainConfig, network: BertTagger) -> Result<BertTagger, TrainError> {
    let patterns = config.frozen()?;
    if patterns.is_empty() && config.freeze_layers == 0 && !config.freeze_embeddings {
        return Ok(network);
    }
    let layers = network.config().num_hidden_layers;
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

fn loss(config: &TrainConfig, labels: &LabelSet, fitted: &Fitted) -> Result<Loss, TrainError> {
    let mut counts = vec![0u64; labels.len()];
    for (_, label) in fitted.examples.iter().flat_map(|example| &example.labelled) {
        if let Some(count) = counts.get_mut(*label as usize) {
            *count += 1;
        }
    }
    let weights = config.objective.class_weights.as_ref();
    let weights = weights.map(|weights| weights.resolve(labels, &counts));
    Ok(Loss {
        function: config.objective.function,
        weights: weights
            .transpose()
            .map_err(|label| TrainError::UnknownLabel { label })?,
    })
}
