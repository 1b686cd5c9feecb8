//! `tokenizer_config.json`: the settings of a tokenizer in `transformers` beside `tokenizer.json`.

use std::path::Path;

use serde_json::{Map, Value};

use crate::config_error::ConfigError;
use crate::json_file::JsonFile;

/// The settings of a tokenizer; all absent if there is no such file.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TokenizerConfig {
    /// Whether text is lower-cased.
    pub do_lower_case: Option<bool>,
    /// Whether accents are removed; if absent, they are removed from lower-cased text.
    pub strip_accents: Option<bool>,
    /// Whether each ideograph is a word.
    pub tokenize_chinese_chars: Option<bool>,
    /// Whether byte-level BPE reads a text as if a space preceded it.
    pub add_prefix_space: Option<bool>,
    /// The longest sequence, special tokens included; also absent if the file states no limit.
    pub model_max_length: Option<usize>,
    /// Whether BERTweet's tokenizer normalizes tweets.
    pub normalization: Option<bool>,
    /// The class of the tokenizer in `transformers`.
    pub tokenizer_class: Option<String>,
    /// The padding token.
    pub pad_token: Option<String>,
    /// All fields of the file, including those above.
    pub fields: Map<String, Value>,
}

impl TokenizerConfig {
    /// The settings in a model directory.
    pub fn read(dir: &Path) -> Result<Self, ConfigError> {
        let path = dir.join("tokenizer_config.json");
        if !path.is_file() {
            return Ok(Self::default());
        }
        let file = JsonFile::read(&path)?;
        let longest: Option<f64> = file.field("model_max_length")?;
        if longest.is_some_and(|longest| longest < 1.0) {
            return Err(file.wrong("model_max_length", "is less than 1"));
        }
        // A token is a string, or an object whose `content` is the string.
        let pad: Option<Value> = file.field("pad_token")?;
        let pad = pad.as_ref().map(|pad| pad.get("content").unwrap_or(pad));
        Ok(Self {
            do_lower_case: file.field("do_lower_case")?,
            strip_accents: file.field("strip_accents")?,
            tokenize_chinese_chars: file.field("tokenize_chinese_chars")?,
            add_prefix_space: file.field("add_prefix_space")?,
            // `transformers` writes 1e30 for no limit.
            model_max_length: longest
                .filter(|longest| *longest < 1e9)
                .map(|longest| longest as usize),
            normalization: file.field("normalization")?,
            tokenizer_class: file.field("tokenizer_class")?,
            pad_token: pad.and_then(Value::as_str).map(str::to_owned),
            fields: file.into_fields(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<TokenizerConfig, ConfigError> {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("tokenizer_config.json"), text).unwrap();
        TokenizerConfig::read(dir.path())
    }

    #[test]
    fn the_fields_are_read_in_either_form() {
        let found = read(
            r#"{"do_lower_case": false, "strip_accents": null, "pad_token": {"content": "<pad>", "lstrip": false},
                "model_max_length": 1000000000000000019884624838656}"#,
        )
        .unwrap();
        assert_eq!(found.fields.len(), 4);
        let expected = TokenizerConfig {
            do_lower_case: Some(false),
            pad_token: Some("<pad>".to_owned()),
            fields: found.fields.clone(),
            ..TokenizerConfig::default()
        };
        assert_eq!(found, expected);
        let found = read(r#"{"pad_token": "[PAD]", "model_max_length": 512}"#).unwrap();
        assert_eq!(
            (found.pad_token.as_deref(), found.model_max_length),
            (Some("[PAD]"), Some(512))
        );
    }

    #[test]
    fn what_cannot_be_read_names_its_field() {
        let error = |text: &str| read(text).unwrap_err().to_string();
        assert!(error(r#"{"do_lower_case": "yes"}"#).contains("do_lower_case"));
        assert!(error(r#"{"model_max_length": 0}"#).contains("model_max_length"));
        assert!(error("[]").contains("tokenizer_config.json"));
    }
}
