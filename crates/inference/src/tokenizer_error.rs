//! Why a tokenizer cannot be opened, used or written.

use std::path::{Path, PathBuf};

use nerve_repository::ConfigError;
use nerve_tagging::AlignError;
use thiserror::Error;

/// Why a tokenizer cannot be opened, used or written.
#[derive(Debug, Error)]
pub enum TokenizerError {
    /// The directory has no tokenizer that is read.
    #[error(
        "{} has neither tokenizer.json nor vocab.txt (of BERTweet: vocab.txt with bpe.codes)",
        dir.display()
    )]
    Missing {
        /// The directory.
        dir: PathBuf,
    },
    /// The directory has no `tokenizer.json`, which this family needs.
    #[error(
        "{} has no tokenizer.json, which a `{model_type}` model needs, nor bpe.codes and vocab.txt of BERTweet: another vocab.txt, \
         merges.txt or a SentencePiece model are not read; `transformers` writes a tokenizer.json: python -c \"import transformers as t; \
         t.AutoTokenizer.from_pretrained('{}').save_pretrained('{}')\"",
        dir.display(), dir.display(), dir.display()
    )]
    NoJson {
        /// The directory.
        dir: PathBuf,
        /// The family in its `config.json`.
        model_type: &'static str,
    },
    /// One of BERTweet's two files is missing.
    #[error(
        "{} has neither tokenizer.json nor {missing}: BERTweet's tokenizer is read from bpe.codes and vocab.txt",
        dir.display()
    )]
    Bertweet {
        /// The directory.
        dir: PathBuf,
        /// The file that is missing.
        missing: &'static str,
    },
    /// A line of a tokenizer's file is unusable.
    #[error("{}, line {line}: {problem}", path.display())]
    Line {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// What is wrong.
        problem: String,
    },
    /// The file is not a usable tokenizer.
    #[error("{}: not a usable tokenizer: {reason}", path.display())]
    Open {
        /// The file.
        path: PathBuf,
        /// The error of the tokenizer library.
        reason: String,
    },
    /// `tokenizer_config.json` is unusable.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The tokenizer cannot encode a text.
    #[error("the tokenizer failed: {0}")]
    Encode(tokenizers::Error),
    /// The tokenizer cannot decode tokens to text.
    #[error("the tokenizer failed to decode: {0}")]
    Decode(tokenizers::Error),
    /// The tokenizer's word ids contradict the words.
    #[error("the tokenizer's word ids are inconsistent: {0}")]
    Align(#[from] AlignError),
    /// A file cannot be written.
    #[error("cannot write {}: {reason}", path.display())]
    Save {
        /// The file.
        path: PathBuf,
        /// The cause.
        reason: String,
    },
}

/// The error of a file that cannot be written.
pub(crate) fn save_error(path: &Path, error: &impl ToString) -> TokenizerError {
    TokenizerError::Save {
        path: path.to_owned(),
        reason: error.to_string(),
    }
}

/// The error of a file that is not a usable tokenizer.
pub(crate) fn open_error(path: &Path, reason: impl Into<tokenizers::Error>) -> TokenizerError {
    TokenizerError::Open {
        path: path.to_owned(),
        reason: reason.into().to_string(),
    }
}

/// The error of a line that is unusable.
pub(crate) fn line_error(path: &Path, line: usize, problem: String) -> TokenizerError {
    TokenizerError::Line {
        path: path.to_owned(),
        line,
        problem,
    }
}
