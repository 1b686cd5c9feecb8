//! Why teachers cannot teach.

use std::path::PathBuf;

use nerve_corpus::CorpusError;
use nerve_export::PrepareError;
use nerve_inference::{ModelError, RuntimeError, SessionError, TagError};
use nerve_repository::CheckpointError;
use thiserror::Error;

use crate::evaluate::error::TaggerError;

/// Why the words of a corpus have no teachers' probabilities.
#[derive(Debug, Error)]
pub enum TeacherError {
    /// There is no such model.
    #[error("the teacher {teacher}: {source}")]
    Find {
        /// The teacher, as it was named.
        teacher: String,
        /// The cause.
        source: Box<PrepareError>,
    },
    /// A checkpoint cannot be read.
    #[error("the teacher {teacher}: {source}")]
    Checkpoint {
        /// The teacher.
        teacher: String,
        /// The cause.
        source: Box<CheckpointError>,
    },
    /// A bundle or export is unusable.
    #[error("the teacher {teacher}: {source}")]
    Model {
        /// The teacher.
        teacher: String,
        /// The cause.
        source: Box<ModelError>,
    },
    /// A checkpoint cannot be opened.
    #[error("the teacher {teacher}: {source}")]
    Tagger {
        /// The teacher.
        teacher: String,
        /// The cause.
        source: Box<TaggerError>,
    },
    /// ONNX Runtime cannot be loaded.
    #[error("ONNX Runtime for a teacher: {0}")]
    Runtime(Box<RuntimeError>),
    /// ONNX Runtime cannot open a graph.
    #[error("the teacher {teacher}: {source}")]
    Session {
        /// The teacher.
        teacher: String,
        /// The cause.
        source: Box<SessionError>,
    },
    /// A teacher cannot label the sentences.
    #[error("the teacher {teacher}: {source}")]
    Tag {
        /// The teacher.
        teacher: String,
        /// The cause.
        source: Box<TagError>,
    },
    /// A teacher gives no logits.
    #[error("the teacher {teacher} gives no logits")]
    NoLogits {
        /// The teacher.
        teacher: String,
    },
    /// The labels of a teacher are not those of the corpus.
    #[error(
        "the teacher {teacher} has other labels than the model that is trained: it lacks {}; only it has {}; \
         train the teacher on a corpus with the same entity types, in IOB2",
        list(missing),
        list(extra)
    )]
    Labels {
        /// The teacher.
        teacher: String,
        /// Labels of the student alone.
        missing: Vec<String>,
        /// Labels of the teacher alone.
        extra: Vec<String>,
    },
    /// The text without labels is unusable.
    #[error("`unlabelled`: {0}")]
    Unlabeled(Box<CorpusError>),
    /// The run was begun with other teachers or sentences.
    #[error(
        "{} holds the probabilities of other teachers, sentences or labels: the teachers' files, the training sentences or the \
         text of `unlabelled` have changed since the run began",
        path.display()
    )]
    OtherTargets {
        /// The file of the teachers' probabilities.
        path: PathBuf,
    },
    /// The user stopped the program before the first step.
    #[error(
        "stopped while the teachers labeled sentences; no step was made: start the run again without --resume"
    )]
    Stopped,
}

fn list(labels: &[String]) -> String {
    match labels {
        [] => "none".to_owned(),
        labels => labels.join(", "),
    }
}
