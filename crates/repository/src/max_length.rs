//! The longest window of a checkpoint.

use std::fmt;
use std::path::Path;

use crate::config::ModelConfig;
use crate::config_error::ConfigError;
use crate::tokenizer_config::TokenizerConfig;

/// The longest window where `tokenizer_config.json` states none: that of BERT, whose positions most models have.
const USUAL_TOKENS: usize = 512;

/// The longest window of a model without a position table where `tokenizer_config.json` states all positions: the scores of a layer
/// that attends to the whole sequence take memory by the square of the length, several gigabytes for the 8,192 positions of ModernBERT.
const LONG_TOKENS: usize = 1024;

/// The longest window of a checkpoint: `model_max_length` of its `tokenizer_config.json`, which the trainer sets to the length it
/// trained with, and at most the positions of the model. A model without a position table, whose positions cost nothing, has 1,024
/// tokens if the file states all of its positions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MaxLength {
    stated: Option<usize>,
    positions: usize,
    has_position_table: bool,
}

impl MaxLength {
    /// The longest window of the checkpoint in a directory.
    pub fn of_checkpoint(dir: &Path) -> Result<Self, ConfigError> {
        let config = ModelConfig::read(&dir.join("config.json"))?;
        Ok(Self {
            stated: TokenizerConfig::read(dir)?.model_max_length,
            positions: config.max_length(),
            has_position_table: config.family.has_position_table(),
        })
    }

    /// Its length in tokens, special tokens included.
    pub fn tokens(self) -> usize {
        let longest = self.stated.unwrap_or(USUAL_TOKENS).min(self.positions);
        match self.states_capacity() {
            true => longest.min(LONG_TOKENS),
            false => longest,
        }
    }

    /// Whether the file states what the model can take, not what it was trained with.
    fn states_capacity(self) -> bool {
        !self.has_position_table && self.stated.is_some_and(|stated| stated >= self.positions)
    }
}

/// The length and what decided it.
impl fmt::Display for MaxLength {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            stated, positions, ..
        } = self;
        write!(f, "{} tokens: ", self.tokens())?;
        match stated {
            Some(_) if self.states_capacity() && *positions > LONG_TOKENS => write!(
                f,
                "model_max_length of tokenizer_config.json is all {positions} positions of the model, for which attention takes much \
                 memory; --max-length sets another length"
            ),
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

    #[test]
    fn a_length_that_is_no_more_than_the_capacity_of_modernbert_is_shortened() {
        let dir = tempfile::tempdir().unwrap();
        let config = r#"{"model_type": "modernbert", "vocab_size": 10, "pad_token_id": 0, "hidden_size": 8, "num_hidden_layers": 1,
            "num_attention_heads": 2, "intermediate_size": 16, "max_position_embeddings": 8192}"#;
        std::fs::write(dir.path().join("config.json"), config).unwrap();
        for (stated, expected) in [(8192, 1024), (10_000, 1024), (8191, 8191), (128, 128)] {
            let tokenizer_config = format!(r#"{{"model_max_length": {stated}}}"#);
            std::fs::write(dir.path().join("tokenizer_config.json"), tokenizer_config).unwrap();
            let found = MaxLength::of_checkpoint(dir.path()).unwrap();
            assert_eq!(found.tokens(), expected, "{found}");
            assert_eq!(
                found.to_string().contains("much memory"),
                expected == 1024,
                "{found}"
            );
        }
    }
}
