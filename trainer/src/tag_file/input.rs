//! Lines to sentences and what stands between them.

use std::io::{BufRead, ErrorKind};
use std::path::Path;

use nerve_tagging::ByteSpan;

use super::InputFormat;
use super::error::TagFileError;
use crate::evaluate::Tagger;

/// A sentence to tag.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Sentence {
    /// The line it begins on, counted from 1.
    pub(super) line: usize,
    pub(super) words: Vec<String>,
    /// The line it was split from, and where its words stand; absent where the words came as words.
    pub(super) text: Option<(String, Vec<ByteSpan>)>,
}

/// A part of the input.
pub(super) enum Item {
    Sentence(Sentence),
    /// A line of CoNLL input that is no word: blank, or a document's start.
    Between(String),
}

impl Item {
    pub(super) fn sentence(&self) -> Option<&Sentence> {
        match self {
            Self::Sentence(sentence) => Some(sentence),
            Self::Between(_) => None,
        }
    }
}

/// Reads items off lines.
pub(super) struct Items<'i> {
    input: &'i mut dyn BufRead,
    path: &'i Path,
    format: InputFormat,
    /// Lines read.
    count: usize,
    /// What ended the sentence before.
    between: Option<String>,
}

impl<'i> Items<'i> {
    pub(super) fn new(input: &'i mut dyn BufRead, path: &'i Path, format: InputFormat) -> Self {
        Self {
            input,
            path,
            format,
            count: 0,
            between: None,
        }
    }

    /// The next item; `None` after the last. `tagger` splits running text.
    pub(super) fn next_item(&mut self, tagger: &dyn Tagger) -> Result<Option<Item>, TagFileError> {
        match self.format {
            InputFormat::Text => self.next_line(tagger),
            InputFormat::Conll => self.next_columns(),
        }
    }

    fn next_line(&mut self, tagger: &dyn Tagger) -> Result<Option<Item>, TagFileError> {
        while let Some(line) = self.line()? {
            let spans = tagger.split(&line)?;
            let words: Vec<String> = spans
                .iter()
                .map(|span| span.slice(&line).unwrap_or_default().to_owned())
                .collect();
            if !words.is_empty() {
                return Ok(Some(Item::Sentence(Sentence {
                    line: self.count,
                    words,
                    text: Some((line, spans)),
                })));
            }
        }
        Ok(None)
    }

    fn next_columns(&mut self) -> Result<Option<Item>, TagFileError> {
        if let Some(line) = self.between.take() {
            return Ok(Some(Item::Between(line)));
        }
        let mut sentence = Sentence::default();
        while let Some(line) = self.line()? {
            if line.trim().is_empty() || line.starts_with("-DOCSTART-") {
                if sentence.words.is_empty() {
                    return Ok(Some(Item::Between(line)));
                }
                self.between = Some(line);
                return Ok(Some(Item::Sentence(sentence)));
            }
            if sentence.words.is_empty() {
                sentence.line = self.count;
            }
            sentence.words.push(self.word(&line)?);
        }
        Ok((!sentence.words.is_empty()).then_some(Item::Sentence(sentence)))
    }

    /// The first column: up to a tab where the line has one, else up to white space.
    fn word(&self, line: &str) -> Result<String, TagFileError> {
        let word = match line.split_once('\t') {
            Some((word, _)) => word,
            None => line.split_whitespace().next().unwrap_or_default(),
        };
        match word.trim().is_empty() {
            false => Ok(word.to_owned()),
            true => Err(self.wrong("there is no word before the tab")),
        }
    }

    fn line(&mut self) -> Result<Option<String>, TagFileError> {
        let mut line = String::new();
        self.count += 1;
        match self.input.read_line(&mut line) {
            Ok(0) => return Ok(None),
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::InvalidData => return Err(self.wrong("not UTF-8")),
            Err(source) => {
                return Err(TagFileError::Read {
                    path: self.path.to_owned(),
                    source,
                });
            }
        }
        let ended = line.strip_suffix('\n').unwrap_or(&line);
        let ended = ended.strip_suffix('\r').unwrap_or(ended);
        let marked = if self.count == 1 {
            ended.strip_prefix('\u{feff}')
        } else {
            None
        };
        Ok(Some(marked.unwrap_or(ended).to_owned()))
    }

    fn wrong(&self, problem: &str) -> TagFileError {
        TagFileError::Line {
            path: self.path.to_owned(),
            line: self.count,
            problem: problem.to_owned(),
        }
    }
}
