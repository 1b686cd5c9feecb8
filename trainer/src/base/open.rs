//! Opens the model that a training starts from.

use std::path::{Path, PathBuf};

use hf_hub::api::sync::ApiBuilder;
use nerve_repository::{Family, ModelConfig};

use crate::base::error::BaseError;
use crate::base::hub::{Files, fetch};
use crate::model::checkpoint::ModelDir;
use crate::train::config::start::{InitialModel, Scratch, TokenizerSource};

/// The model a training starts from; a fresh one takes sequences of `max_length` at least.
pub(crate) fn open_base(start: &InitialModel, max_length: usize) -> Result<ModelDir, BaseError> {
    open_from(start, max_length, ApiBuilder::from_env)
}

fn open_from(
    start: &InitialModel,
    max_length: usize,
    hub: impl FnOnce() -> ApiBuilder,
) -> Result<ModelDir, BaseError> {
    match start {
        InitialModel::Base { base, layers } => {
            let mut model = ModelDir::open(&dir_of(base, Files::Model, hub)?)?;
            let own = model.config.num_hidden_layers;
            let kept = layers.unwrap_or(own);
            if kept > own {
                return Err(BaseError::Layers { kept, own });
            }
            model.config.num_hidden_layers = kept;
            Ok(model)
        }
        InitialModel::Scratch(scratch) => {
            let shape = |vocab_size| fresh_shape(scratch, vocab_size, max_length);
            let dir = match &scratch.tokenizer {
                TokenizerSource::Vocab(dir) => dir.clone(),
                TokenizerSource::Base(base) => dir_of(base, Files::Tokenizer, hub)?,
            };
            Ok(ModelDir::scratch(&dir, shape)?)
        }
    }
}

/// The directory of a model that a directory or a hub id names.
pub fn base_dir(base: &str) -> Result<PathBuf, BaseError> {
    dir_of(base, Files::Model, ApiBuilder::from_env)
}

/// Whether a base is a model of the hub, rather than a directory.
pub fn is_on_hub(base: &str) -> bool {
    !Path::new(base).is_dir()
}

fn dir_of(base: &str, files: Files, hub: impl FnOnce() -> ApiBuilder) -> Result<PathBuf, BaseError> {
    if is_on_hub(base) {
        return fetch(base, files, hub());
    }
    Ok(base.into())
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::serve;

    #[test]
    fn a_fresh_model_takes_the_tokenizer_of_a_hub_model() {
        let cache = tempfile::tempdir().unwrap();
        let (url, _requests) = serve(|path| {
            let vocabulary = "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\nann\n";
            path.ends_with("/vocab.txt")
                .then(|| vocabulary.into())
                .or(path.ends_with("/config.json").then(|| b"{}".to_vec()))
        });
        let start = InitialModel::Scratch(Scratch {
            tokenizer: TokenizerSource::Base("some/model".to_owned()),
            hidden_size: 8,
            layers: 1,
            heads: 2,
            intermediate_size: 16,
        });
        let builder = || {
            ApiBuilder::new()
                .with_endpoint(url)
                .with_cache_dir(cache.path().to_owned())
                .with_progress(false)
        };
        let model = open_from(&start, 16, builder).unwrap();
        assert_eq!((model.tokenizer.vocab_size(), model.config.hidden_size), (6, 8));
    }
}
