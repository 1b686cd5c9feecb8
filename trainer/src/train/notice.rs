//! What a training tells its user beside its figures.

use std::collections::BTreeSet;
use std::fmt;
use std::path::{Path, PathBuf};

use nerve_corpus::Corpus;
use nerve_tagging::LabelSet;
use serde::{Deserialize, Serialize};

use crate::evaluate::calibration::TemperatureAtBound;
use crate::summary::corpus::CorpusSummary;
use crate::train::schedule::ScheduleKind;
use crate::train::time_limit::TimeLimit;

/// A decision that was taken for the user, or a fault of the data that training goes on in spite of.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "notice")]
pub enum Notice {
    /// The learning rate follows from the size of the model.
    DefaultLearningRate {
        /// The rate.
        learning_rate: f64,
        /// The hidden size that it follows from.
        hidden_size: usize,
    },
    /// The labels are not those of the base model's classification head, which is replaced.
    NewHead {
        /// Types of the corpus that the base model does not have; their rows are drawn.
        new: Vec<String>,
        /// Types of both, whose rows are kept.
        kept: Vec<String>,
        /// Types of the base model that the corpus does not have; the trained model does not tag them.
        dropped: Vec<String>,
    },
    /// A split has no entity.
    NoEntities {
        /// Its file.
        path: PathBuf,
    },
    /// Entity types of the dev split that no training sentence has.
    UntrainedTypes {
        /// The dev file.
        path: PathBuf,
        /// The types.
        types: Vec<String>,
    },
    /// Entities of running text do not meet the edges of words.
    SpanChanges {
        /// The file.
        path: PathBuf,
        /// How many are widened and dropped.
        changes: String,
    },
    /// The counts of the corpus.
    Corpus(CorpusSummary),
    /// The dev split is drawn from the training sentences.
    DrawnDev {
        /// Its sentences.
        dev: usize,
        /// The sentences that are left to train on.
        train: usize,
        /// The seed that drew them.
        seed: u64,
        /// Where they are written.
        path: PathBuf,
    },
    /// Entity types differ only in case.
    LabelsDifferInCase {
        /// The types, those together that are one word.
        types: Vec<Vec<String>>,
    },
    /// Entity types have few training examples.
    RareTypes {
        /// The types, with their numbers of examples.
        types: Vec<(String, usize)>,
    },
    /// Entity types do not occur in a split that is evaluated.
    MissingTypes {
        /// The split.
        split: String,
        /// The types.
        types: Vec<String>,
    },
    /// Sentences are longer than a window.
    LongSentences {
        /// The split.
        split: String,
        /// Their number.
        sentences: usize,
        /// The longest window in tokens.
        max_length: usize,
    },
    /// Sentences are in two splits.
    RepeatedSentences {
        /// The splits.
        splits: (String, String),
        /// The number of sentences of the second that the first has too.
        sentences: usize,
        /// File and line of the first of them, in both splits.
        example: (String, String),
    },
    /// The run that is resumed has ended by its patience, so that no step is made.
    OutOfPatience {
        /// The patience.
        patience: usize,
        /// The measure that did not improve.
        measure: String,
    },
    /// The run that is resumed has taken the time it may take, so that no step is made.
    OutOfTime {
        /// The limit.
        max_time: TimeLimit,
    },
    /// A run that has made steps continues to another end than it was to have.
    NewEnd {
        /// The schedule of the learning rate.
        schedule: ScheduleKind,
        /// The epochs before and now.
        epochs: [usize; 2],
        /// The steps of all epochs before and now.
        steps: [usize; 2],
        /// The steps made.
        done: usize,
    },
    /// Teachers have labeled the training sentences and text without labels.
    Teachers {
        /// The teachers, as they were named.
        teachers: Vec<String>,
        /// The training sentences.
        sentences: usize,
        /// Those in which the teachers find an entity.
        with_entities: usize,
        /// The sentences without labels.
        unlabeled: usize,
        /// Those in which the teachers find an entity.
        unlabeled_with_entities: usize,
    },
    /// A step was skipped, because its gradient in fp16 is not finite at the scale of the loss.
    SkippedStep {
        /// The step, counted from 1.
        step: usize,
        /// The scale of the next step.
        scale: f64,
    },
    /// A temperature was fitted, but not written.
    NoTemperature(TemperatureAtBound),
}

impl Notice {
    /// What training with `labels` makes of a head with others; nothing where they are the same.
    pub(super) fn of_heads(head: &LabelSet, labels: &LabelSet) -> Option<Self> {
        let (before, after): (BTreeSet<&String>, BTreeSet<&String>) =
            (head.types().iter().collect(), labels.types().iter().collect());
        let names = |types: Vec<&&String>| types.into_iter().map(|name| (*name).clone()).collect();
        (head.names() != labels.names()).then(|| Self::NewHead {
            new: names(after.difference(&before).collect()),
            kept: names(after.intersection(&before).collect()),
            dropped: names(before.difference(&after).collect()),
        })
    }

    /// What is wrong with the entity types of a training and a dev file.
    pub(crate) fn of_types(
        (train, trained): (&Path, &BTreeSet<String>),
        (dev, evaluated): (&Path, &BTreeSet<String>),
    ) -> Vec<Self> {
        let empty = |path: &Path, types: &BTreeSet<String>| {
            types.is_empty().then(|| Self::NoEntities {
                path: path.to_owned(),
            })
        };
        let untrained: Vec<String> = evaluated.difference(trained).cloned().collect();
        let untrained = (!untrained.is_empty()).then(|| Self::UntrainedTypes {
            path: dev.to_owned(),
            types: untrained,
        });
        let empty = [empty(train, trained), empty(dev, evaluated)];
        empty.into_iter().flatten().chain(untrained).collect()
    }

    /// The files with entities that are not labeled as the file gives them.
    pub(crate) fn of_spans(corpus: &Corpus) -> impl Iterator<Item = Self> {
        corpus.span_changes().map(|(path, changes)| Self::SpanChanges {
            path: path.to_owned(),
            changes: changes.to_string(),
        })
    }

    /// Whether the user should change something.
    pub fn is_warning(&self) -> bool {
        match self {
            Self::DefaultLearningRate { .. }
            | Self::NewHead { .. }
            | Self::OutOfPatience { .. }
            | Self::OutOfTime { .. }
            | Self::NewEnd { .. }
            | Self::Teachers { .. }
            | Self::SkippedStep { .. }
            | Self::Corpus(_)
            | Self::DrawnDev { .. }
            | Self::MissingTypes { .. } => false,
            Self::NoEntities { .. }
            | Self::LabelsDifferInCase { .. }
            | Self::RareTypes { .. }
            | Self::LongSentences { .. }
            | Self::RepeatedSentences { .. }
            | Self::UntrainedTypes { .. }
            | Self::SpanChanges { .. }
            | Self::NoTemperature(_) => true,
        }
    }
}

impl fmt::Display for Notice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::DefaultLearningRate {
                learning_rate,
                hidden_size,
            } => write!(
                f,
                "the learning rate is {learning_rate:e}, the default for a hidden size of {hidden_size}; --learning-rate sets another"
            ),
            Self::NewHead { new, kept, dropped } => write!(
                f,
                "the classification head of the base model is replaced, because its labels are not those of the corpus: \
                 new types: {}; kept types: {}; dropped types: {}",
                list(new),
                list(kept),
                list(dropped)
            ),
            Self::NoEntities { path } => write!(
                f,
                "every tag in {} is O: there is no entity to learn or to score; check the tag column",
                path.display()
            ),
            Self::UntrainedTypes { path, types } => write!(
                f,
                "{} has entities of types that no training sentence has ({}): the model cannot learn them, and they count as missed",
                path.display(),
                list(types)
            ),
            Self::SpanChanges { path, changes } => write!(f, "{}: {changes}", path.display()),
            Self::Corpus(summary) => summary.fmt(f),
            Self::DrawnDev {
                dev,
                train,
                seed,
                path,
            } => write!(
                f,
                "the corpus has no dev split: {dev} of its {} training sentences were drawn for one (seed {seed}) and saved to {}; --dev \
                 gives a dev split, --dev-fraction and --dev-seed draw another",
                dev + train,
                path.display()
            ),
            Self::LabelsDifferInCase { types } => write!(
                f,
                "entity types differ only in case: {}; they are learned as different types, and --map-labels merges them",
                types
                    .iter()
                    .map(|names| names.join(", "))
                    .collect::<Vec<_>>()
                    .join("; ")
            ),
            Self::RareTypes { types } => write!(
                f,
                "{} fewer than 10 training examples: {}; --map-labels merges or drops types",
                match types.len() {
                    1 => "a type has",
                    _ => "types have",
                },
                types
                    .iter()
                    .map(|(name, count)| format!("{name} ({count})"))
                    .collect::<Vec<_>>()
                    .join(", ")
            ),
            Self::MissingTypes { split, types } => write!(
                f,
                "{split} has no entity of {}: {}",
                match types.len() {
                    1 => "1 type".to_owned(),
                    count => format!("{count} types"),
                },
                list(types)
            ),
            Self::LongSentences {
                split,
                sentences,
                max_length,
            } => write!(
                f,
                "{} of {split} {} longer than {max_length} tokens and read in overlapping windows; --max-length sets another length",
                count_sentences(*sentences),
                if *sentences == 1 { "is" } else { "are" }
            ),
            Self::RepeatedSentences {
                splits: (first, second),
                sentences,
                example: (original, repeated),
            } => write!(
                f,
                "{} of {second} {} in {first} too, the first on {repeated} and {original}: scores on {second} are too high, because the model has seen these sentences",
                count_sentences(*sentences),
                if *sentences == 1 { "is" } else { "are" }
            ),
            Self::OutOfPatience { patience, measure } => write!(
                f,
                "no step is made: the last {patience} evaluations or more have no better {measure} than an earlier one, \
                 and --patience is {patience}; a higher --patience continues the run"
            ),
            Self::OutOfTime { max_time } => write!(
                f,
                "no step is made: the run has taken {max_time} or more, which is its --max-time; a longer --max-time continues \
                 the run"
            ),
            Self::NewEnd {
                schedule,
                epochs: [before, now],
                steps: [steps_before, steps],
                done,
            } => write!(
                f,
                "the run has {now} epochs instead of {before}: its schedule ({schedule}) now ends at step {steps}; the first {done} \
                 steps had the learning rates of an end at step {steps_before}"
            ),
            Self::Teachers {
                teachers,
                sentences,
                with_entities,
                unlabeled,
                unlabeled_with_entities,
            } => write!(
                f,
                "teachers: {}; they find entities in {with_entities} of {sentences} training sentences and in \
                 {unlabeled_with_entities} of {unlabeled} sentences without labels",
                list(teachers)
            ),
            Self::SkippedStep { step, scale } => write!(
                f,
                "step {step} is skipped: its gradient in fp16 is not finite; the scale of the loss is now {scale}"
            ),
            Self::NoTemperature(reason) => reason.fmt(f),
        }
    }
}

fn count_sentences(count: usize) -> String {
    match count {
        1 => "1 sentence".to_owned(),
        count => format!("{count} sentences"),
    }
}

fn list(types: &[String]) -> String {
    match types {
        [] => "none".to_owned(),
        types => types.join(", "),
    }
}
