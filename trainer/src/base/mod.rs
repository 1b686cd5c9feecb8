//! What a training starts from.

mod hub;

use std::path::{Path, PathBuf};

use nerve_export::{Family, ModelConfig};
use thiserror::Error;

use crate::model::{CheckpointError, ModelDir};
use crate::train::{Scratch, Start};

/// Why there is nothing to start from.
#[derive(Debug, Error)]
pub enum BaseError {
    /// The model directory is unusable.
    #[error(transparent)]
    Open(#[from] CheckpointError),
    /// More layers are to be kept than there are.
    #[error("`layers` is {kept}, but the base model has {own}")]
    Layers {
        /// The layers asked for.
        kept: usize,
        /// The base's layers.
        own: usize,
    },
    /// A hub model could not be fetched.
    #[error("{id} is no directory, and the hub does not give it: {file}: {reason}")]
    Hub {
        /// The hub id.
        id: String,
        /// The file that failed.
        file: String,
        /// What went wrong.
        reason: String,
    },
}

/// The model a training starts from; a fresh one takes sequences of `max_length` at least.
pub(crate) fn open_base(start: &Start, max_length: usize) -> Result<ModelDir, BaseError> {
    match start {
        Start::Base { base, layers } => {
            let mut model = ModelDir::open(&base_dir(base)?)?;
            let own = model.config.num_hidden_layers;
            let kept = layers.unwrap_or(own);
            if kept > own {
                return Err(BaseError::Layers { kept, own });
            }
            model.config.num_hidden_layers = kept;
            Ok(model)
        }
        Start::Scratch(scratch) => {
            let shape = |vocab_size| fresh_shape(scratch, vocab_size, max_length);
            Ok(ModelDir::scratch(&scratch.vocab, shape)?)
        }
    }
}

fn base_dir(base: &str) -> Result<PathBuf, BaseError> {
    let path = Path::new(base);
    if path.is_dir() {
        return Ok(path.to_owned());
    }
    hub::fetch(base, hf_hub::api::sync::ApiBuilder::from_env())
}

/// BERT's shape of the sizes asked for, and otherwise as `bert-base-uncased` has it.
fn fresh_shape(scratch: &Scratch, vocab_size: usize, max_length: usize) -> ModelConfig {
    const POSITIONS: usize = 512;
    ModelConfig {
        family: Family::Bert,
        architectures: Vec::new(),
        vocab_size,
        hidden_size: scratch.hidden_size,
        num_hidden_layers: scratch.layers,
        num_attention_heads: scratch.heads,
        intermediate_size: scratch.intermediate_size,
        hidden_act: Default::default(),
        hidden_dropout_prob: 0.1,
        attention_probs_dropout_prob: 0.1,
        classifier_dropout: None,
        max_position_embeddings: POSITIONS.max(max_length),
        type_vocab_size: 2,
        initializer_range: 0.02,
        layer_norm_eps: 1e-12,
        pad_token_id: 0,
        id2label: Default::default(),
        label2id: Default::default(),
        other: Default::default(),
    }
}
