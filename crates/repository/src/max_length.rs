//! The longest window of a checkpoint.

use std::fmt;
use std::path::Path;

use crate::config::ModelConfig;
use crate::config_error::ConfigError;
use crate::tokenizer_config::TokenizerConfig;

/// The longest window where `tokenizer_config.json` states none: that of BERT, whose positions most models have.
const USUAL_TOKENS: usize = 512;

/// The longest window of a checkpoint: `model_max_length` of its `tokenizer_config.json`, which the trainer sets to the length it
/// trained with, and at most the positions of the model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MaxLength {
    stated: Option<usize>,
    positions: usize,
}

impl MaxLength {
    /// The longest window of the checkpoint in a directory.
    pub fn of_checkpoint(dir: &Path) -> Result<Self, ConfigError> {
        Ok(Self {
            stated: TokenizerConfig::read(dir)?.model_max_length,
            positions: ModelConfig::read(&dir.join("config.json"))?.max_length(),
        })
    }

    /// Its length in tokens, special tokens included.
    pub fn tokens(self) -> usize {
        self.stated.unwrap_or(USUAL_TOKENS).min(self.positions)
    }
}

/// The length and what decided it.
impl fmt::Display for MaxLength {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { stated, positions } = self;
        write!(f, "{} tokens: ", self.tokens())?;
        match stated {
            Some(stated) if stated > positions => write!(
                f,
                "the model has {positions} positions, fewer than model_max_length of tokenizer_config.json, {stated}"
            ),
            Some(_) => f.write_str("model_max_length of tokenizer_config.json"),
            None => write!(
                f,
                "tokenizer_config.json has no model_max_length; the model has {positions} positions"
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_length_is_the_tokenizers_within_the_models_positions() {
        let dir = tempfile::tempdir().unwrap();
        let of = |positions: usize, tokenizer_config: &str| {
            let config = format!(
                r#"{{"vocab_size": 10, "hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2,
                    "intermediate_size": 16, "max_position_embeddings": {positions}}}"#
            );
            std::fs::write(dir.path().join("config.json"), config).unwrap();
            std::fs::write(dir.path().join("tokenizer_config.json"), tokenizer_config).unwrap();
            let found = MaxLength::of_checkpoint(dir.path()).unwrap();
            (found.tokens(), found.to_string())
        };
        let (tokens, why) = of(512, r#"{"model_max_length": 128}"#);
        assert_eq!(tokens, 128);
        assert_eq!(why, "128 tokens: model_max_length of tokenizer_config.json");
        let (tokens, why) = of(64, r#"{"model_max_length": 128}"#);
        assert_eq!(tokens, 64);
        assert!(why.contains("64 positions") && why.contains("128"), "{why}");
        let (tokens, why) = of(4096, "{}");
        assert_eq!(tokens, 512);
        assert!(why.contains("has no model_max_length"), "{why}");
        assert_eq!(
            of(40, r#"{"model_max_length": 1000000000000000019884624838656}"#).0,
            40
        );
    }
}
