//! The training set: windows of the training sentences, as token ids with labels.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use nerve_corpus::Corpus;
use nerve_tagging::{LabelId, LabelSet};
use sha2::{Digest, Sha256};

use crate::evaluate::Tagger;
use crate::evaluate::checkpoint::CheckpointTagger;
use crate::train::config::TrainConfig;
use crate::train::error::TrainError;
use crate::train::example::{Example, examples};
use crate::train::hook::{ExampleContext, TrainingHook};
use crate::train::order;
use crate::train::schedule::Steps;

/// The windows that a network is trained on, and the resulting numbers of steps.
pub(super) struct TrainingSet {
    pub(super) examples: Vec<Example>,
    pub(super) steps: Steps,
    /// The number of training sentences.
    pub(super) sentences: usize,
    // The training split, for the line numbers in errors and records.
    corpus: Corpus,
}

impl TrainingSet {
    /// The windows of a corpus, or of the configured part of it. The hook may change them.
    pub(super) fn new(
        config: &TrainConfig,
        corpus: Corpus,
        tagger: &CheckpointTagger,
        hook: &mut dyn TrainingHook,
    ) -> Result<Self, TrainError> {
        let (labels, tokenizer) = (tagger.labels(), tagger.tokenizer());
        let labeled = config.label_subwords.into();
        let mut examples = examples(&corpus, tokenizer, labels, tagger.limits(), labeled)?;
        let context = ExampleContext {
            labels,
            specials: tokenizer.specials(),
            padding_id: tagger.network().config().pad_token_id,
        };
        hook.on_examples(&mut examples, &context)?;
        let mut sentences = corpus.sentences.len();
        if let Some(size) = config.subset {
            // The subset is drawn after the hooks, because they see the whole split.
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

    /// The entity types that occur in the training labels.
    pub(super) fn types(&self, labels: &LabelSet) -> BTreeSet<String> {
        let present: BTreeSet<u32> = self
            .examples
            .iter()
            .flat_map(|example| example.labeled.iter().map(|(_, label)| *label))
            .collect();
        let name = |label: u32| labels.type_name(labels.tag(LabelId(label as usize))?.entity_type()?);
        present.into_iter().filter_map(name).map(str::to_owned).collect()
    }

    /// A hash of all tokens and labels.
    pub(super) fn hash(&self) -> String {
        let mut hasher = Sha256::new();
        let mut add = |number: usize| hasher.update((number as u64).to_le_bytes());
        for example in &self.examples {
            add(example.ids.len());
            example.ids.iter().for_each(|&id| add(id as usize));
            add(example.labeled.len());
            for &(position, label) in &example.labeled {
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

    /// The line number, in its file, at which the sentence of each window begins.
    pub(super) fn lines(&self, batches: &[Vec<&Example>]) -> impl Iterator<Item = usize> {
        let windows = batches.iter().flatten();
        windows.map(|example| self.corpus.line(example.sentence, 0))
    }

    /// An error that names the lines of a step's sentences, unless the value is finite.
    pub(super) fn finite(
        &self,
        step: usize,
        batches: &[Vec<&Example>],
        what: &'static str,
        value: f64,
    ) -> Result<(), TrainError> {
        if value.is_finite() {
            return Ok(());
        }
        let mut lines: BTreeMap<&Path, BTreeSet<usize>> = BTreeMap::new();
        for example in batches.iter().flatten() {
            let file = lines.entry(self.corpus.file(example.sentence)).or_default();
            file.insert(self.corpus.line(example.sentence, 0));
        }
        let of_file = |(path, lines): (&Path, BTreeSet<usize>)| {
            let lines: Vec<String> = lines.iter().map(ToString::to_string).collect();
            format!("{}, lines {}", path.display(), lines.join(", "))
        };
        let files: Vec<String> = lines.into_iter().map(of_file).collect();
        Err(TrainError::NotFinite {
            step: step + 1,
            what,
            value,
            batch: files.join("; "),
        })
    }

    /// The path of the training file.
    pub(super) fn path(&self) -> &Path {
        &self.corpus.path
    }

    /// The training split.
    pub(super) fn corpus(&self) -> &Corpus {
        &self.corpus
    }

    /// The number of occurrences of each of the `labels` labels.
    pub(super) fn label_counts(&self, labels: usize) -> Vec<u64> {
        let mut counts = vec![0; labels];
        for (_, label) in self.examples.iter().flat_map(|example| &example.labeled) {
            if let Some(count) = counts.get_mut(*label as usize) {
                *count += 1;
            }
        }
        counts
    }
}
