//! One file of labelled sentences.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use nerve_tagging::conll::Sentence;
use nerve_tagging::to_iob2;

use super::{CorpusError, conll, jsonl};

/// Labelled sentences and where each stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Corpus {
    /// The file.
    pub path: PathBuf,
    /// The sentences, in order.
    pub sentences: Vec<Sentence>,
    // Invariant: one a sentence.
    pub(super) first_lines: Vec<usize>,
    pub(super) layout: Layout,
}

/// How sentences spread over lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Layout {
    /// A word a line.
    WordPerLine,
    /// A sentence a line.
    SentencePerLine,
}

impl Corpus {
    /// The sentences of a file with IOB2 tags: JSON lines where its extension is `jsonl` or `json`, else CoNLL.
    ///
    /// IOB1 and IOBES are recognised and converted.
    pub fn read(path: &Path) -> Result<Self, CorpusError> {
        let mut corpus = read_verbatim(path)?;
        if corpus.sentences.is_empty() {
            return Err(CorpusError::Empty {
                path: path.to_owned(),
            });
        }
        to_iob2(&mut corpus.sentences).map_err(|error| {
            let line = corpus.line(error.sentence, error.word);
            let tag = &error.tag;
            corpus.fault(
                line,
                format!("tag `{tag}` is not `O` or a prefix of BIESLU, a hyphen and a type"),
            )
        })?;
        Ok(corpus)
    }

    /// The line (from 1) on which a word of a sentence stands.
    pub fn line(&self, sentence: usize, word: usize) -> usize {
        let first = self.first_lines.get(sentence).copied().unwrap_or_default();
        match self.layout {
            Layout::WordPerLine => first + word,
            Layout::SentencePerLine => first,
        }
    }

    /// The words of every sentence.
    pub fn words(&self) -> Vec<Vec<String>> {
        self.sentences.iter().map(|s| s.words.clone()).collect()
    }

    /// An error about a line of this file.
    pub(crate) fn fault(&self, line: usize, problem: String) -> CorpusError {
        CorpusError::Line {
            path: self.path.clone(),
            line,
            problem,
        }
    }
}

/// The sentences of a file with their tags as they stand.
pub fn read_verbatim(path: &Path) -> Result<Corpus, CorpusError> {
    let text = std::fs::read_to_string(path).map_err(|source| CorpusError::Read {
        path: path.to_owned(),
        source,
    })?;
    match path.extension().and_then(|e| e.to_str()) {
        Some("jsonl" | "json") => jsonl::parse(&text, path),
        _ => conll::parse(&text, path),
    }
}

/// The entity types the corpora's tags name, sorted.
pub fn entity_types<'c>(corpora: impl IntoIterator<Item = &'c Corpus>) -> BTreeSet<String> {
    corpora
        .into_iter()
        .flat_map(|corpus| &corpus.sentences)
        .flat_map(|sentence| &sentence.tags)
        .filter_map(|tag| tag.split_once('-').map(|(_, name)| name.to_owned()))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(name: &str, text: &str) -> Result<Corpus, CorpusError> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(name);
        std::fs::write(&path, text).unwrap();
        Corpus::read(&path)
    }

    #[test]
    fn schemes_are_converted() {
        let corpus = read("a.conll", "EU\tI-org\nsays\tO\n\nBob\tI-per\n").unwrap();
        assert_eq!(corpus.sentences[0].tags, ["B-org", "O"]);
        assert_eq!(corpus.line(1, 0), 4);
        let types: Vec<String> = entity_types([&corpus]).into_iter().collect();
        assert_eq!(types, ["org", "per"]);
    }

    #[test]
    fn a_tag_of_no_scheme_names_file_and_line() {
        let error = read("a.conll", "a\tO\n\nb\tO\nc\tX-y\n").unwrap_err().to_string();
        assert!(error.contains("a.conll:4: tag `X-y`"), "{error}");
        let error = read("b.conll", "a\tO\nb\n").unwrap_err().to_string();
        assert!(error.contains("b.conll:2:"), "{error}");
    }

    #[test]
    fn a_file_without_sentences_is_an_error() {
        assert!(matches!(read("a.txt", "\n\n"), Err(CorpusError::Empty { .. })));
    }
}
