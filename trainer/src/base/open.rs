//! Opens the model that a training starts from.

use std::path::PathBuf;

use nerve_inference::TextTokenizer;
use nerve_repository::hub::{Files, HubClient, HubError};
use nerve_repository::{Family, HubModel, ModelAddress, ModelConfig};

use crate::base::error::BaseError;
use crate::model::checkpoint::{CheckpointError, ModelDir};
use crate::train::config::start::{InitialModel, Scratch, TokenizerSource};

/// The model a training starts from; a fresh one takes sequences of `max_length` at least.
pub(crate) fn open_base(start: &InitialModel, max_length: usize) -> Result<ModelDir, BaseError> {
    open_from(start, max_length, HubClient::from_env)
}

fn open_from(
    start: &InitialModel,
    max_length: usize,
    hub: impl FnOnce() -> Result<HubClient, HubError>,
) -> Result<ModelDir, BaseError> {
    match start {
        InitialModel::Base { base, layers } => {
            let dir = dir_of(base, Files::Checkpoint, hub)?;
            let mut model = ModelDir::open(&dir)?;
            if let Some(kept) = *layers {
                let whole = model.config.clone();
                let own = whole.num_hidden_layers;
                if kept > own {
                    return Err(BaseError::Layers { kept, own });
                }
                model.config = model.config.with_layers(kept);
                let path = dir.join("config.json");
                model.config.validate(&path).map_err(CheckpointError::from)?;
                let is_other = |index| model.config.layer_name(index) != whole.layer_name(index);
                if (0..model.config.layer_count()).any(is_other) {
                    return Err(BaseError::LayerGroups { kept, own });
                }
            }
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
    dir_of(base, Files::Checkpoint, HubClient::from_env)
}

/// The tokenizer of a model that a directory or a hub id names.
pub fn base_tokenizer(base: &str) -> Result<TextTokenizer, BaseError> {
    let dir = dir_of(base, Files::Tokenizer, HubClient::from_env)?;
    Ok(TextTokenizer::open_dir(&dir).map_err(CheckpointError::from)?)
}

/// The model of the hub that a base is; none if it is a directory.
pub fn hub_model(base: &str) -> Option<HubModel> {
    match base.parse() {
        Ok(ModelAddress::Hub(model)) => Some(model),
        _ => None,
    }
}

fn dir_of(
    base: &str,
    files: Files<'_>,
    hub: impl FnOnce() -> Result<HubClient, HubError>,
) -> Result<PathBuf, BaseError> {
    match base.parse()? {
        ModelAddress::Local(dir) => Ok(dir),
        ModelAddress::Hub(model) => {
            let hub = hub()?;
            let snapshot = hub.fetch(&model, files)?;
            hub.verify(&model, &snapshot)?;
            Ok(snapshot.dir)
        }
        ModelAddress::ObjectStore(url) => Err(BaseError::ObjectStore { url: url.into() }),
    }
}

/// BERT's shape of the sizes asked for, and otherwise as `bert-base-uncased` has it.
fn fresh_shape(scratch: &Scratch, vocab_size: usize, max_length: usize) -> ModelConfig {
    const POSITIONS: usize = 512;
    ModelConfig {
        family: Family::Bert,
        architectures: Vec::new(),
        vocab_size,
        embedding_size: scratch.hidden_size,
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
    use nerve_repository::hub::HubSettings;

    use super::*;
    use crate::testing::hub::Hub;

    #[test]
    fn a_fresh_model_takes_the_tokenizer_of_a_revision_of_a_hub_model() {
        let (hub, cache) = (Hub::start(), tempfile::tempdir().unwrap());
        let vocabulary = b"[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\nann\n";
        hub.commit(
            "some/model",
            "v1",
            &[("config.json", b"{}"), ("vocab.txt", vocabulary)],
        );
        let start = InitialModel::Scratch(Scratch {
            tokenizer: TokenizerSource::Base("some/model@v1".to_owned()),
            hidden_size: 8,
            layers: 1,
            heads: 2,
            intermediate_size: 16,
        });
        let client = || {
            Ok(HubClient::new(HubSettings {
                endpoint: hub.url.parse().unwrap(),
                cache: cache.path().to_owned(),
                token: None,
                offline: false,
            }))
        };
        let model = open_from(&start, 16, client).unwrap();
        assert_eq!((model.tokenizer.vocab_size(), model.config.hidden_size), (6, 8));
    }

    #[test]
    fn a_base_on_object_storage_is_refused() {
        let error = base_dir("s3://bucket/model").unwrap_err().to_string();
        assert!(
            error.contains("s3://bucket/model: a base model is a directory"),
            "{error}"
        );
        assert_eq!(hub_model("./some/model"), None);
        assert_eq!(hub_model("some/model@v1").unwrap().id, "some/model");
    }
}
