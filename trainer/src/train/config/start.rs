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
    pub(super) fn resolve(options: &mut TrainOptions) -> Result<Self, ConfigError> {
        let base = options.base.clone();
        if let Some(layers) = options.layers {
            check_count("layers", layers, MOST_SIZE)?;
        }
        if *options.init.get_or_insert_default() == Init::Base {
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
        let hidden_size = *options.hidden_size.get_or_insert(128);
        Ok(Self::Scratch(Scratch {
            tokenizer,
            hidden_size,
            layers: *options.layers.get_or_insert(2),
            heads: *options.heads.get_or_insert(2),
            intermediate_size: *options.intermediate_size.get_or_insert(4 * hidden_size),
        }))
    }
}
