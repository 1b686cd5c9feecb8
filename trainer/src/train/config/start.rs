//! What a training starts from, as a configuration.

use std::path::PathBuf;

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

use super::error::{ConfigError, check_absent, check_count};
use crate::train::TrainOptions;

/// The greatest width or depth of a fresh model.
const MOST_SIZE: usize = 1 << 16;

/// Where the weights come from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Init {
    /// From the base model.
    #[default]
    Base,
    /// Freshly drawn.
    Scratch,
}

/// Where a fresh encoder's tokenizer is from.
#[derive(Clone, Debug, PartialEq)]
pub enum TokenizerSource {
    /// A directory that need hold nothing else.
    Vocab(PathBuf),
    /// A model: a local directory or a hub id.
    Base(String),
}

/// A fresh encoder's sizes and tokenizer.
#[derive(Clone, Debug, PartialEq)]
pub struct Scratch {
    /// Where the tokenizer is from.
    pub tokenizer: TokenizerSource,
    /// Width of the hidden states.
    pub hidden_size: usize,
    /// Encoder layers.
    pub layers: usize,
    /// Attention heads.
    pub heads: usize,
    /// Width of the feed-forward layers.
    pub intermediate_size: usize,
}

/// What a training starts from.
#[derive(Clone, Debug, PartialEq)]
pub enum Start {
    /// A model with weights.
    Base {
        /// A local directory or a hub id.
        base: String,
        /// How many of its layers are kept, from the first; all where absent.
        layers: Option<usize>,
    },
    /// Fresh weights.
    Scratch(Scratch),
}

impl Start {
    pub(super) fn of(options: &TrainOptions) -> Result<Self, ConfigError> {
        let base = options.base.clone();
        if let Some(layers) = options.layers {
            check_count("layers", layers, MOST_SIZE)?;
        }
        if options.init.unwrap_or_default() == Init::Base {
            let given = [
                ("vocab", options.vocab.is_some()),
                ("hidden_size", options.hidden_size.is_some()),
                ("heads", options.heads.is_some()),
                ("intermediate_size", options.intermediate_size.is_some()),
            ];
            check_absent(&given, "`init` is scratch")?;
            return Ok(Self::Base {
                base: base.ok_or(ConfigError::Missing("base"))?,
                layers: options.layers,
            });
        }
        let hidden_size = options.hidden_size.unwrap_or(128);
        let tokenizer = match (options.vocab.clone(), base) {
            (Some(_), Some(_)) => {
                return Err(ConfigError::NoEffect {
                    option: "base",
                    when: "`vocab` is absent, which a fresh model's tokenizer is read from",
                });
            }
            (Some(vocab), None) => TokenizerSource::Vocab(vocab),
            (None, Some(base)) => TokenizerSource::Base(base),
            (None, None) => return Err(ConfigError::Missing("vocab")),
        };
        let sizes = [
            ("hidden_size", options.hidden_size),
            ("heads", options.heads),
            ("intermediate_size", options.intermediate_size),
        ];
        for (option, size) in sizes {
            check_count(option, size.unwrap_or(1), MOST_SIZE)?;
        }
        Ok(Self::Scratch(Scratch {
            tokenizer,
            hidden_size,
            layers: options.layers.unwrap_or(2),
            heads: options.heads.unwrap_or(2),
            intermediate_size: options.intermediate_size.unwrap_or(4 * hidden_size),
        }))
    }

    pub(super) fn put(&self, options: &mut TrainOptions) {
        match self {
            Self::Base { base, layers } => {
                options.init = Some(Init::Base);
                options.base = Some(base.clone());
                options.layers = *layers;
            }
            Self::Scratch(scratch) => {
                options.init = Some(Init::Scratch);
                match &scratch.tokenizer {
                    TokenizerSource::Vocab(vocab) => options.vocab = Some(vocab.clone()),
                    TokenizerSource::Base(base) => options.base = Some(base.clone()),
                }
                options.hidden_size = Some(scratch.hidden_size);
                options.layers = Some(scratch.layers);
                options.heads = Some(scratch.heads);
                options.intermediate_size = Some(scratch.intermediate_size);
            }
        }
    }
}
