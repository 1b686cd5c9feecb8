//! The file to tag, and the formats of its input and output.

use std::path::{Path, PathBuf};

use clap::ValueEnum;
use nerve_corpus::Format;
use nerve_engine::{EngineError, LineFormat, OptionError, RequestError, TagOptions};
use thiserror::Error;

/// The format of the lines of the input.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum InputFormat {
    /// Running text.
    Lines,
    /// A JSON object with `text` or `words`, and optionally an `id`.
    Ndjson,
}

/// The format of the output.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum OutputFormat {
    /// One JSON object per line, as `POST /ner/stream` answers.
    Ndjson,
    /// One word and its label per line, and a blank line after each text.
    Conll,
    /// A page with the entities highlighted.
    Html,
}

/// A file to tag, and how.
#[derive(Debug)]
pub struct TagFile {
    /// The file, or `-` for standard input.
    pub(crate) file: PathBuf,
    pub(crate) input: LineFormat,
    pub(crate) output: OutputFormat,
    /// The output file; standard output if absent.
    pub(crate) out: Option<PathBuf>,
    pub(crate) options: TagOptions,
}

/// Why a file is not tagged.
#[derive(Debug, Error)]
pub enum TagFileError {
    /// The format of the lines is unknown.
    #[error("the extension of {} does not show its format: give --input lines or --input ndjson", path.display())]
    UnknownInput {
        /// The input as given.
        path: PathBuf,
    },
    /// An option has no effect on this output.
    #[error("--{option} has no effect with --output {output}")]
    UselessOption {
        /// The option's name on the command line.
        option: &'static str,
        /// The output's name on the command line.
        output: &'static str,
    },
    /// An option's value does not fit the model.
    #[error(transparent)]
    Option(#[from] RequestError),
    /// An option's value is invalid.
    #[error(transparent)]
    Config(#[from] OptionError),
    /// The model cannot be opened or run.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// The input cannot be read.
    #[error("cannot read {}: {source}", path.display())]
    Read {
        /// The input as given.
        path: PathBuf,
        /// The cause.
        source: std::io::Error,
    },
    /// The output cannot be written.
    #[error("cannot write the output: {source}")]
    Write {
        /// The cause.
        source: std::io::Error,
    },
    /// The user interrupted the program.
    #[error("interrupted")]
    Interrupted,
    /// The workers ended before the input did.
    #[error("the workers stopped before the end of the input")]
    Stopped,
}

impl TagFile {
    /// The file to tag, with its options checked.
    pub(crate) fn new(
        file: &Path,
        input: Option<InputFormat>,
        output: OutputFormat,
        out: Option<PathBuf>,
        options: TagOptions,
    ) -> Result<Self, TagFileError> {
        let input = match input.or_else(|| by_extension(file)) {
            Some(InputFormat::Lines) => LineFormat::Text,
            Some(InputFormat::Ndjson) => LineFormat::Ndjson,
            None => {
                return Err(TagFileError::UnknownInput {
                    path: file.to_owned(),
                });
            }
        };
        let useless: &[(&'static str, bool)] = &[
            ("offsets", options.offsets.is_some()),
            ("no-words", options.include_words == Some(false)),
            ("threshold", options.threshold.is_some()),
            ("labels", options.labels.is_some()),
        ];
        let (output_name, useless) = match output {
            OutputFormat::Ndjson => ("ndjson", &useless[..0]),
            OutputFormat::Html => ("html", &useless[..2]),
            OutputFormat::Conll => ("conll", useless),
        };
        if let Some(&(option, _)) = useless.iter().find(|(_, given)| *given) {
            let output = output_name;
            return Err(TagFileError::UselessOption { option, output });
        }
        Ok(Self {
            file: file.to_owned(),
            input,
            output,
            out,
            options,
        })
    }
}

fn by_extension(file: &Path) -> Option<InputFormat> {
    match Format::of_path(file)? {
        Format::JsonLines => Some(InputFormat::Ndjson),
        Format::Text => Some(InputFormat::Lines),
        Format::Conll => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn work(file: &str, input: Option<InputFormat>) -> Result<TagFile, TagFileError> {
        TagFile::new(
            Path::new(file),
            input,
            OutputFormat::Ndjson,
            None,
            TagOptions::default(),
        )
    }

    #[test]
    fn the_extension_tells_what_a_line_is_or_it_is_asked_for() {
        for (file, format) in [
            ("a.jsonl", LineFormat::Ndjson),
            ("a.b.NDJSON", LineFormat::Ndjson),
            ("a.json", LineFormat::Ndjson),
            ("a.txt", LineFormat::Text),
        ] {
            assert_eq!(work(file, None).unwrap().input, format, "{file}");
        }
        for file in ["-", "a", "a.conll"] {
            assert!(
                matches!(work(file, None), Err(TagFileError::UnknownInput { .. })),
                "{file}"
            );
            assert_eq!(
                work(file, Some(InputFormat::Lines)).unwrap().input,
                LineFormat::Text
            );
        }
    }

    #[test]
    fn an_option_without_a_meaning_is_refused() {
        let with = |output, options| TagFile::new(Path::new("a.txt"), None, output, None, options).map(drop);
        let words = || TagOptions {
            include_words: Some(false),
            ..TagOptions::default()
        };
        let threshold = || TagOptions {
            threshold: Some(0.5),
            ..TagOptions::default()
        };
        assert!(with(OutputFormat::Ndjson, words()).is_ok());
        assert!(with(OutputFormat::Html, threshold()).is_ok());
        let refused = with(OutputFormat::Html, words()).unwrap_err().to_string();
        assert_eq!(refused, "--no-words has no effect with --output html");
        assert!(with(OutputFormat::Conll, threshold()).is_err());
    }
}
