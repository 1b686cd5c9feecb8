//! A corpus in its splits.

use std::path::{Path, PathBuf};

use crate::corpus::Corpus;
use crate::error::CorpusError;
use crate::read_options::ReadOptions;
use crate::wnut17::fetch_wnut17;

/// The name that stands for the WNUT-17 corpus where a directory is expected.
pub const WNUT17: &str = "wnut17";

/// Whether `data` names the corpus rather than a directory.
pub fn is_wnut17(data: &str) -> bool {
    data == WNUT17 && !Path::new(data).is_dir()
}

/// Where the splits of a corpus are; the files are read when they are asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Splits {
    /// What the model is fitted to.
    pub train: PathBuf,
    /// What the best checkpoint is chosen on.
    pub dev: PathBuf,
    /// What the chosen checkpoint is reported on; nothing else reads it.
    pub test: Option<PathBuf>,
    /// How the files are read.
    pub options: ReadOptions,
}

impl Splits {
    /// The splits of `data`: a directory, or `wnut17`, which is downloaded from `wnut17_url` once.
    pub fn find(data: &str, wnut17_url: &str) -> Result<Self, CorpusError> {
        if is_wnut17(data) {
            return Self::of_dir(&fetch_wnut17(wnut17_url)?);
        }
        Self::of_dir(Path::new(data))
    }

    fn of_dir(dir: &Path) -> Result<Self, CorpusError> {
        Ok(Self {
            train: find(dir, "train", &["train"])?,
            dev: find(dir, "dev", &["dev", "valid", "validation"])?,
            test: find(dir, "test", &["test"]).ok(),
            options: ReadOptions::default(),
        })
    }

    /// The same files, read with these options.
    pub fn with_options(self, options: ReadOptions) -> Self {
        Self { options, ..self }
    }

    /// The sentences trained on; an error if they have no entity.
    pub fn read_train(&self) -> Result<Corpus, CorpusError> {
        let corpus = self.read(&self.train)?;
        match corpus.has_entities() {
            true => Ok(corpus),
            false => Err(CorpusError::NoEntities { path: corpus.path }),
        }
    }

    /// The sentences the best checkpoint is chosen on.
    pub fn read_dev(&self) -> Result<Corpus, CorpusError> {
        self.read(&self.dev)
    }

    /// The sentences of one of the files.
    pub fn read(&self, split: &Path) -> Result<Corpus, CorpusError> {
        Corpus::read_with(split, &self.options)
    }
}

fn find(dir: &Path, split: &'static str, stems: &[&str]) -> Result<PathBuf, CorpusError> {
    let names: Vec<String> = stems
        .iter()
        .flat_map(|stem| ["conll", "txt", "jsonl"].map(|extension| format!("{stem}.{extension}")))
        .collect();
    names
        .iter()
        .map(|name| dir.join(name))
        .find(|path| path.is_file())
        .ok_or_else(|| CorpusError::NoSplit {
            dir: dir.to_owned(),
            split,
            tried: names.join(", "),
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn splits_are_found_by_name() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("train.jsonl"), "").unwrap();
        let error = Splits::of_dir(dir.path()).unwrap_err().to_string();
        assert!(
            error.contains("no dev split") && error.contains("validation.txt"),
            "{error}"
        );
        std::fs::write(dir.path().join("valid.txt"), "").unwrap();
        let splits = Splits::of_dir(dir.path()).unwrap();
        assert!(splits.train.ends_with("train.jsonl") && splits.dev.ends_with("valid.txt"));
        assert_eq!(splits.test, None);
    }
}
