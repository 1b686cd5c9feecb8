//! A file's text with its labels: lines or columns in, columns or JSON lines out, a part at a time.

mod error;
mod input;
mod output;

use std::io::{BufRead, Write};
use std::path::Path;

use clap::ValueEnum;
use nerve_tagging::WordLabel;

pub use error::TagFileError;

use self::input::{Item, Items, Sentence};
use crate::evaluate::Tagger;

/// Sentences that are tagged together.
const SENTENCES: usize = 256;

/// What a file to tag holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum InputFormat {
    /// A sentence a line, split into words here.
    #[default]
    Text,
    /// A word a line, in its first column; blank lines between sentences.
    Conll,
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

/// Tags a file and writes it with its labels; `path` names the input in errors.
///
/// What is read is bounded by a number of sentences at a time, so that a file of any length can be tagged.
pub fn tag_file(
    tagger: &mut dyn Tagger,
    (input, path): (&mut dyn BufRead, &Path),
    out: &mut dyn Write,
    formats: (InputFormat, OutputFormat),
) -> Result<(), TagFileError> {
    let mut items = Items::new(input, path, formats.0);
    loop {
        let mut part = Vec::new();
        let mut sentences = 0;
        while sentences < SENTENCES
            && let Some(item) = items.next_item(tagger)?
        {
            sentences += usize::from(matches!(item, Item::Sentence(_)));
            part.push(item);
        }
        if part.is_empty() {
            return out.flush().map_err(TagFileError::Write);
        }
        let words: Vec<Vec<String>> = part
            .iter()
            .filter_map(|item| Some(item.sentence()?.words.clone()))
            .collect();
        let mut labels = tagger.tag(&words)?.into_iter();
        for item in &part {
            let written = match item {
                Item::Sentence(sentence) => {
                    let labels: Vec<WordLabel> = labels.next().unwrap_or_default();
                    write(tagger, sentence, &labels, out, formats)
                }
                Item::Between(line) if formats.1 == OutputFormat::Conll => writeln!(out, "{line}"),
                Item::Between(_) => Ok(()),
            };
            written.map_err(TagFileError::Write)?;
        }
    }
}

fn write(
    tagger: &dyn Tagger,
    sentence: &Sentence,
    labels: &[WordLabel],
    out: &mut dyn Write,
    (input, output): (InputFormat, OutputFormat),
) -> std::io::Result<()> {
    match output {
        OutputFormat::Conll => {
            output::conll(tagger.labels(), sentence, labels, out)?;
            match input {
                InputFormat::Text => writeln!(out),
                InputFormat::Conll => Ok(()),
            }
        }
        OutputFormat::Ndjson => output::ndjson(tagger.labels(), sentence, labels, out),
    }
}

#[cfg(test)]
mod tests;
