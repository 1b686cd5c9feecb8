//! A Hugging Face ONNX export without a manifest: version, labels, maximum length and padding token from its files.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use nerve_tagging::{LabelSet, Splitter};

use crate::config_error::ConfigError;
use crate::file_info::FileInfo;
use crate::json_file::JsonFile;
use crate::label_map::id2label;
use crate::locate::LocateError;
use crate::onnx::Outline;
use crate::tokenizer_config::TokenizerConfig;
use crate::version::VersionHasher;

/// The files besides the graph that change an answer.
const FILES: [&str; 5] = [
    "bpe.codes",
    "config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "vocab.txt",
];
/// Families whose positions start after the padding token's id, as those of RoBERTa.
const POSITIONS_AFTER_PAD: [&str; 8] = [
    "roberta",
    "xlm-roberta",
    "xlm-roberta-xl",
    "camembert",
    "roberta-prelayernorm",
    "longformer",
    "ibert",
    "data2vec-text",
];

/// The version of an export whose running text is split by `splitter`: a hash of everything that changes an answer, which is
/// its graph, weights, configuration, tokenizer, and a splitter other than the tokenizer's own pre-tokens.
pub fn plain_version(
    dir: &Path,
    graph: &Path,
    outline: &Outline,
    splitter: Splitter,
) -> Result<String, LocateError> {
    let beside = graph.parent().unwrap_or(dir);
    let mut paths: BTreeMap<String, PathBuf> = BTreeMap::new();
    paths.insert("graph".to_owned(), graph.to_owned());
    paths.extend(
        outline
            .external_files()
            .into_iter()
            .map(|file| (format!("weights {file}"), beside.join(file))),
    );
    let present = FILES.iter().map(|file| (file.to_string(), dir.join(file)));
    paths.extend(present.filter(|(_, path)| path.is_file()));
    let mut files = BTreeMap::new();
    for (name, path) in paths {
        let info = FileInfo::of(&path).map_err(|source| LocateError::Open { path, source })?;
        files.insert(name, info);
    }
    let mut hasher = VersionHasher::default();
    hasher.add_files(&files);
    if splitter != Splitter::Bert {
        hasher.add_line("splitter", splitter.name());
    }
    Ok(hasher.finish())
}

/// The contents of an export's configuration files.
#[derive(Debug)]
pub struct PlainConfig {
    /// The labels, in any scheme.
    pub labels: LabelSet,
    /// Longest sequence, special tokens included.
    pub max_length: usize,
    /// Rows of the word embedding table, if `config.json` states them.
    pub vocab_size: Option<usize>,
    pad_id: Option<u32>,
    pad_token: Option<String>,
    path: PathBuf,
}

impl PlainConfig {
    /// The configuration in a directory: its `config.json`, and `tokenizer_config.json` if there is one.
    pub fn read(dir: &Path) -> Result<Self, ConfigError> {
        let file = JsonFile::read(&dir.join("config.json"))?;
        let tokenizer = TokenizerConfig::read(dir)?;
        let pad_id = file.field("pad_token_id")?;
        Ok(Self {
            labels: labels(&file)?,
            max_length: max_length(&file, &tokenizer, pad_id)?,
            vocab_size: file.field("vocab_size")?,
            pad_id,
            pad_token: tokenizer.pad_token,
            path: file.path().to_owned(),
        })
    }

    /// The id of the padding token: the configuration's, else that of the tokenizer's padding token.
    pub fn pad(&self, token_to_id: impl Fn(&str) -> Option<u32>) -> Result<u32, ConfigError> {
        let tokens = self.pad_token.as_deref().into_iter().chain(["[PAD]", "<pad>"]);
        let of_tokenizer = || tokens.into_iter().find_map(token_to_id);
        self.pad_id
            .or_else(of_tokenizer)
            .ok_or_else(|| ConfigError::Value {
                path: self.path.clone(),
                field: "pad_token_id",
                problem: "is missing, and the tokenizer has no padding token".to_owned(),
            })
    }
}

fn labels(file: &JsonFile) -> Result<LabelSet, ConfigError> {
    let id2label = id2label(file)?;
    if id2label.is_empty() {
        return Err(file.wrong(
            "id2label",
            "is missing, and so is label2id: the labels have no names",
        ));
    }
    let stated: Option<usize> = file.field("num_labels")?;
    if let Some(stated) = stated.filter(|stated| *stated != id2label.len()) {
        let named = id2label.len();
        return Err(file.wrong("num_labels", format!("is {stated}, but {named} labels are named")));
    }
    LabelSet::learn_id2label(&id2label).map_err(|source| ConfigError::Labels {
        path: file.path().to_owned(),
        source,
    })
}

fn max_length(
    file: &JsonFile,
    tokenizer: &TokenizerConfig,
    pad_id: Option<u32>,
) -> Result<usize, ConfigError> {
    const FIELD: &str = "max_position_embeddings";
    let family: Option<String> = file.field("model_type")?;
    let table: Option<usize> = file.field(FIELD)?;
    let unused = match family.as_deref() {
        // MPNet's positions start after the id 1, whatever its padding id.
        Some("mpnet") => 2,
        Some(family) if POSITIONS_AFTER_PAD.contains(&family) => pad_id.unwrap_or(1) as usize + 1,
        _ => 0,
    };
    let positions = match table {
        None => None,
        Some(rows) => Some(rows.checked_sub(unused).filter(|left| *left > 0).ok_or_else(|| {
            file.wrong(
                FIELD,
                format!("is {rows}, which leaves no position after the {unused} unused ones"),
            )
        })?),
    };
    let limits = positions.into_iter().chain(tokenizer.model_max_length);
    limits.min().ok_or_else(|| {
        file.wrong(
            FIELD,
            "is missing, and tokenizer_config.json has no model_max_length",
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_of_mpnet_start_after_the_padding_id() {
        let dir = tempfile::tempdir().unwrap();
        let max_length = |fields: &str| {
            let config = format!(
                r#"{{"id2label": {{"0": "O", "1": "PER"}}, "max_position_embeddings": 514{fields}}}"#
            );
            std::fs::write(dir.path().join("config.json"), config).unwrap();
            PlainConfig::read(dir.path()).unwrap().max_length
        };
        assert_eq!(max_length(r#", "model_type": "bert", "pad_token_id": 0"#), 514);
        for fields in [r#", "pad_token_id": 1"#, "", r#", "pad_token_id": 0"#] {
            assert_eq!(max_length(&format!(r#", "model_type": "mpnet"{fields}"#)), 512);
        }
        assert_eq!(max_length(r#", "model_type": "roberta", "pad_token_id": 3"#), 510);
    }
}
