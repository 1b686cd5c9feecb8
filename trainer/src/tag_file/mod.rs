//! The sentences of a file with their labels, tagged and written a few hundred at a time.

mod error;
mod output;
mod sentence;

use std::io::{BufRead, Write};

use clap::ValueEnum;
use nerve_corpus::conll::ConllWriteError;
use nerve_corpus::{Content, Entries, Format};
use nerve_inference::Tagger;

pub use error::TagFileError;

use crate::tag_file::sentence::SentenceToTag;

/// Sentences that are tagged together.
const SENTENCES: usize = 256;

/// What a file to tag holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum InputFormat {
    /// A running text a line.
    Text,
    /// A word a line, in its first column; blank lines between sentences.
    Conll,
    /// A JSON object a line, with `words` or `text`.
    Jsonl,
}

impl From<InputFormat> for Format {
    fn from(format: InputFormat) -> Self {
        match format {
            InputFormat::Text => Self::Text,
            InputFormat::Conll => Self::Conll,
            InputFormat::Jsonl => Self::JsonLines,
        }
    }
}

/// What is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum OutputFormat {
    /// A word and its label a line, a tab between them; the blank lines of CoNLL input, else one after each sentence.
    #[default]
    Conll,
    /// A JSON object a sentence: its entities and words.
    Ndjson,
}

/// A part of the input, in the order of the file.
enum Part {
    Sentence(SentenceToTag),
    /// A line between the sentences of CoNLL.
    Separator(String),
}

/// Tags the sentences of a file and writes them with their labels.
///
/// As many sentences are in memory as are tagged together, so that a file of any length can be tagged.
pub fn tag_file<R: BufRead>(
    tagger: &mut dyn Tagger,
    mut input: Entries<R>,
    out: &mut dyn Write,
    output: OutputFormat,
) -> Result<(), TagFileError> {
    loop {
        let parts = next_parts(tagger, &mut input)?;
        if parts.is_empty() {
            return Ok(out.flush()?);
        }
        let sentences = parts.iter().filter_map(|part| match part {
            Part::Sentence(sentence) => Some(sentence.words.clone()),
            Part::Separator(_) => None,
        });
        let mut labels = tagger.tag(&sentences.collect::<Vec<_>>())?.labels.into_iter();
        for part in &parts {
            match (part, output) {
                (Part::Sentence(sentence), OutputFormat::Ndjson) => {
                    let found = labels.next().unwrap_or_default();
                    output::ndjson(tagger.labels(), sentence, &found, out)?;
                }
                (Part::Sentence(sentence), OutputFormat::Conll) => {
                    let found = labels.next().unwrap_or_default();
                    output::conll(tagger.labels(), sentence, &found, out).map_err(|error| match error {
                        ConllWriteError::Io(source) => TagFileError::Write(source),
                        ConllWriteError::Word { .. } => TagFileError::Unwritable {
                            path: input.path().to_owned(),
                            line: sentence.line,
                            problem: error.to_string(),
                        },
                    })?;
                    if input.format() != Format::Conll {
                        writeln!(out)?;
                    }
                }
                (Part::Separator(line), OutputFormat::Conll) => writeln!(out, "{line}")?,
                (Part::Separator(_), OutputFormat::Ndjson) => {}
            }
        }
    }
}

/// The next [`SENTENCES`] sentences and what is between them; nothing at the end of the file.
fn next_parts<R: BufRead>(tagger: &dyn Tagger, input: &mut Entries<R>) -> Result<Vec<Part>, TagFileError> {
    let mut parts = Vec::new();
    let mut sentences = 0;
    while sentences < SENTENCES
        && let Some(entry) = input.next().transpose()?
    {
        let sentence = match entry.content {
            Content::Words { words, .. } => SentenceToTag {
                line: entry.line,
                words,
                text: None,
            },
            Content::Text { text, .. } => {
                let spans = tagger.split(&text)?;
                SentenceToTag::of_text(entry.line, text, spans)
            }
            Content::Separator(line) => {
                parts.push(Part::Separator(line));
                continue;
            }
        };
        if !sentence.words.is_empty() {
            parts.push(Part::Sentence(sentence));
            sentences += 1;
        }
    }
    Ok(parts)
}

#[cfg(test)]
mod tests;
