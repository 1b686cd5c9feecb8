//! The model a training run starts from, as a configuration.

use std::path::PathBuf;

use crate::train::config::checks::{check_absent, check_count};
use crate::train::config::error::OptionError;
use crate::train::options::{Init, TrainOptions};

/// The largest size of a model that starts from random weights.
const MOST_SIZE: usize = 1 << 16;

/// Source of the tokenizer of a model that starts from random weights.
#[derive(Clone, Debug, PartialEq)]
pub enum TokenizerSource {
    /// A directory, which needs no other file.
    Vocab(PathBuf),
    /// A model: a local directory or a hub id.
    Base(String),
}

/// Sizes and tokenizer of a model that starts from random weights.
#[derive(Clone, Debug, PartialEq)]
pub struct Scratch {
    /// Source of the tokenizer.
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

/// The model a training run starts from.
#[derive(Clone, Debug, PartialEq)]
pub enum InitialModel {
    /// A model with weights.
    Base {
        /// A local directory or a hub id.
        base: String,
        /// Number of its layers to keep, counted from the first; all if absent.
        layers: Option<usize>,
    },
    /// Random weights.
    Scratch(Scratch),
}

impl InitialModel {
    pub(super) fn resolve(options: &mut TrainOptions) -> Result<Self, OptionError> {
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
                base: base.ok_or(OptionError::Missing("base"))?,
                layers: options.layers,
            });
        }
        let tokenizer = match (options.vocab.clone(), base) {
            (Some(_), Some(_)) => {
                return Err(OptionError::NoEffect {
                    option: "base",
                    when: "`vocab` is absent, from which the tokenizer is read",
                });
            }
            (Some(vocab), None) => TokenizerSource::Vocab(vocab),
            (None, Some(base)) => TokenizerSource::Base(base),
            (None, None) => return Err(OptionError::Missing("vocab")),
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
