//! The training set: windows of the training sentences, as token ids with labels.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use nerve_corpus::Corpus;
use nerve_repository::hex;
use nerve_tagging::{LabelId, LabelSet, SubwordLabels};
use sha2::{Digest, Sha256};

use crate::evaluate::Tagger;
use crate::evaluate::checkpoint::CheckpointTagger;
use crate::ops::precision::Precision;
use crate::train::augment::augmenter::{Augmenter, SentenceToAugment};
use crate::train::augment::targets::changed_targets;
use crate::train::augmented_epoch::AugmentedEpoch;
use crate::train::config::TrainConfig;
use crate::train::error::TrainError;
use crate::train::example::{Example, ExampleError, ExampleMaker, SentenceTargets, examples, word_labels};
use crate::train::hook::{ExampleContext, TrainingHook};
use crate::train::notice::Notice;
use crate::train::order;
use crate::train::schedule::Steps;
use crate::train::teacher::distill::TeacherTargets;

/// The windows that a network is trained on, and the resulting numbers of steps.
pub(super) struct TrainingSet {
    /// The windows of the unchanged sentences; those of text without labels come last.
    pub(super) examples: Vec<Example>,
    pub(super) steps: Steps,
    /// The number of sentences, those without labels included.
    pub(super) sentences: usize,
    // The training split, for the line numbers in errors and records.
    corpus: Corpus,
    distilled: Option<TeacherTargets>,
    augmenter: Option<Augmenter>,
    labeled_subwords: SubwordLabels,
}

/// The sentences of a corpus that are trained on, ascending: all, or as many as are configured.
pub(super) fn trained_sentences(config: &TrainConfig, corpus: &Corpus) -> Vec<usize> {
    let count = corpus.sentences.len();
    match config.subset {
        Some(size) => order::subset(count, size, config.seed),
        None => (0..count).collect(),
    }
}

impl TrainingSet {
    /// The windows of the sentences of a corpus that are trained on, with what teachers say of them. The hook may change them.
    pub(super) fn new(
        config: &TrainConfig,
        corpus: Corpus,
        trained: &[usize],
        distilled: Option<TeacherTargets>,
        tagger: &CheckpointTagger,
        hook: &mut dyn TrainingHook,
    ) -> Result<Self, TrainError> {
        let (labels, tokenizer) = (tagger.labels(), tagger.tokenizer());
        let labeled_subwords = config.label_subwords.into();
        let mut examples = examples(&corpus, tokenizer, labels, tagger.limits(), labeled_subwords)?;
        let context = ExampleContext {
            labels,
            specials: tokenizer.specials(),
            padding_id: tagger.network().config().pad_token_id,
        };
        let augmenter = Augmenter::new(config, &corpus, trained, tokenizer)?;
        let made = (distilled.is_some() || augmenter.is_some()).then(|| examples.clone());
        hook.on_examples(&mut examples, &context)?;
        if made.is_some_and(|made| made != examples) {
            return Err(TrainError::ChangedExamples);
        }
        // The sentences are chosen after the hooks, because they see the whole split.
        examples.retain(|example| trained.binary_search(&example.sentence).is_ok());
        if examples.is_empty() {
            return Err(TrainError::NoExamples {
                path: corpus.path.clone(),
            });
        }
        let unlabeled = distilled
            .as_ref()
            .map_or(0, |distilled| distilled.unlabeled.len());
        let mut set = Self {
            steps: Steps {
                total: 0,
                per_epoch: 0,
            },
            sentences: trained.len() + unlabeled,
            examples,
            corpus,
            distilled,
            augmenter,
            labeled_subwords,
        };
        if set.distilled.is_some() {
            set.examples = set.taught(trained, tagger)?;
        }
        let batches = set.examples.len().div_ceil(config.batch_size);
        let per_epoch = batches.div_ceil(config.accumulate);
        set.steps = Steps {
            total: per_epoch.saturating_mul(config.epochs),
            per_epoch,
        };
        Ok(set)
    }

    /// The examples of the sentences with the probabilities of teachers, then those of the sentences without labels.
    fn taught(&self, trained: &[usize], tagger: &CheckpointTagger) -> Result<Vec<Example>, ExampleError> {
        let (maker, labels) = (self.maker(tagger), tagger.labels());
        let unlabeled = self.corpus.sentences.len()..self.corpus.sentences.len() + self.unlabeled().len();
        let mut examples = Vec::new();
        for index in trained.iter().copied().chain(unlabeled) {
            let sentence = self.targets(index, labels)?;
            examples.extend(maker.examples(index, &sentence)?);
        }
        Ok(examples)
    }

    fn maker<'t>(&self, tagger: &'t CheckpointTagger) -> ExampleMaker<'t> {
        ExampleMaker {
            tokenizer: tagger.tokenizer(),
            limits: tagger.limits(),
            labeled: self.labeled_subwords,
        }
    }

    fn unlabeled(&self) -> &[Vec<String>] {
        self.distilled
            .as_ref()
            .map_or(&[], |distilled| &distilled.unlabeled)
    }

    /// The words of an unchanged sentence with their targets.
    fn targets(&self, index: usize, labels: &LabelSet) -> Result<SentenceTargets, ExampleError> {
        let soft = self
            .distilled
            .as_ref()
            .map_or(&[][..], |distilled| distilled.rows(index));
        if let Some(sentence) = self.corpus.sentences.get(index) {
            return Ok(SentenceTargets {
                words: sentence.words.clone(),
                labels: word_labels(&self.corpus, index, labels)?,
                soft: soft.to_vec(),
                ..SentenceTargets::default()
            });
        }
        let words = self.unlabeled().get(index - self.corpus.sentences.len());
        let found = self.distilled.as_ref().map(|distilled| distilled.labels(index));
        Ok(SentenceTargets {
            words: words.cloned().unwrap_or_default(),
            labels: found.unwrap_or_default(),
            soft: soft.to_vec(),
            unlabeled: true,
            ..SentenceTargets::default()
        })
    }

    /// The examples that an epoch, counted from 0, has in place of some of [`Self::examples`].
    pub(super) fn augmented(
        &self,
        epoch: usize,
        tagger: &CheckpointTagger,
    ) -> Result<AugmentedEpoch, ExampleError> {
        let mut found = AugmentedEpoch::default();
        let Some(augmenter) = &self.augmenter else {
            return Ok(found);
        };
        let (maker, labels) = (self.maker(tagger), tagger.labels());
        for unchanged in self.examples.chunk_by(|one, next| one.sentence == next.sentence) {
            let Some(index) = unchanged.first().map(|example| example.sentence) else {
                continue;
            };
            let original = self.targets(index, labels)?;
            let name = |label: &Option<LabelId>| {
                let name = label.and_then(|label| labels.name(label));
                name.unwrap_or("O").to_owned()
            };
            let tags: Vec<String> = original.labels.iter().map(name).collect();
            let changed = augmenter.augment(
                epoch,
                SentenceToAugment {
                    index,
                    words: &original.words,
                    tags: &tags,
                    is_gold: !original.unlabeled,
                },
            );
            if let Some(changed) = changed {
                let changed = changed_targets(&original, changed, labels);
                found.add(unchanged, maker.examples(index, &changed)?);
            }
        }
        Ok(found)
    }

    /// Keeps the teachers' probabilities in the run.
    pub(super) fn keep_targets(&self) -> Result<(), TrainError> {
        self.distilled.as_ref().map_or(Ok(()), TeacherTargets::keep)
    }

    /// What the user is told of the teachers, if there are any.
    pub(super) fn teachers(&self, labels: &LabelSet) -> Option<Notice> {
        self.distilled.as_ref().map(|distilled| distilled.notice(labels))
    }

    /// The examples with gold labels.
    fn gold(&self) -> impl Iterator<Item = &Example> {
        self.examples.iter().filter(|example| !example.unlabeled)
    }

    /// The entity types that occur in the training labels.
    pub(super) fn types(&self, labels: &LabelSet) -> BTreeSet<String> {
        let present: BTreeSet<u32> = self
            .gold()
            .flat_map(|example| example.labeled.iter().map(|(_, label)| *label))
            .collect();
        let name = |label: u32| labels.type_name(labels.tag(LabelId(label as usize))?.entity_type()?);
        present.into_iter().filter_map(name).map(str::to_owned).collect()
    }

    /// A hash of all tokens and labels, and of what teachers and augmentation add to them.
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
            example.soft.iter().for_each(|&p| add(p.to_bits() as usize));
        }
        if self.augmenter.is_some() {
            // What a changed word becomes depends on its letters.
            let words = self.corpus.sentences.iter().map(|sentence| &sentence.words);
            for words in words.chain(self.unlabeled()) {
                hasher.update((words.len() as u64).to_le_bytes());
                for word in words {
                    hasher.update((word.len() as u64).to_le_bytes());
                    hasher.update(word);
                }
            }
        }
        hex(&hasher.finalize())
    }

    /// The line number, in its file, at which the sentence of each window with gold labels begins.
    pub(super) fn lines(&self, batches: &[Vec<&Example>]) -> impl Iterator<Item = usize> {
        let windows = batches.iter().flatten().filter(|example| !example.unlabeled);
        windows.map(|example| self.corpus.line(example.sentence, 0))
    }

    /// An error that names the lines of a step's sentences, unless the value is finite.
    pub(super) fn finite(
        &self,
        step: usize,
        batches: &[Vec<&Example>],
        (what, value): (&'static str, f64),
        precision: Precision,
    ) -> Result<(), TrainError> {
        if value.is_finite() {
            return Ok(());
        }
        let mut lines: BTreeMap<&Path, BTreeSet<usize>> = BTreeMap::new();
        for example in batches.iter().flatten().filter(|example| !example.unlabeled) {
            let file = lines.entry(self.corpus.file(example.sentence)).or_default();
            file.insert(self.corpus.line(example.sentence, 0));
        }
        let of_file = |(path, lines): (&Path, BTreeSet<usize>)| {
            let lines: Vec<String> = lines.iter().map(ToString::to_string).collect();
            format!("{}, lines {}", path.display(), lines.join(", "))
        };
        let files: Vec<String> = lines.into_iter().map(of_file).collect();
        let unlabeled = batches
            .iter()
            .flatten()
            .filter(|example| example.unlabeled)
            .count();
        let unlabeled = match unlabeled {
            0 => String::new(),
            count => format!(", and {count} windows of text without labels"),
        };
        Err(TrainError::NotFinite {
            step: step + 1,
            what,
            value,
            batch: format!("{}{unlabeled}", files.join("; ")),
            remedy: match precision {
                Precision::Fp16 => "a lower learning rate, or a new run in bf16 or f32,",
                Precision::F32 | Precision::Bf16 => "a lower learning rate",
            },
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

    /// The number of gold occurrences of each of the `labels` labels.
    pub(super) fn label_counts(&self, labels: usize) -> Vec<u64> {
        let mut counts = vec![0; labels];
        for (_, label) in self.gold().flat_map(|example| &example.labeled) {
            if let Some(count) = counts.get_mut(*label as usize) {
                *count += 1;
            }
        }
        counts
    }
}
