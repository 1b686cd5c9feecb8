//! The file to tag, and the formats of its input and output.

use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use nerve_corpus::Format;
use nerve_engine::{EngineError, LineFormat, OptionError, RequestError, TagOptions};
use thiserror::Error;

use crate::offline::columns::error::TableError;
use crate::offline::columns::text_column::TextColumnName;

/// The column that is tagged where no option names one.
const TEXT_COLUMN: &str = "text";

/// The format of the input.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum InputFormat {
    /// One running text per line.
    Lines,
    /// One JSON object per line, with `text` or `words`, and optionally an `id`.
    Ndjson,
    /// An Arrow IPC stream.
    Arrow,
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
    /// The input as an Arrow IPC stream, with the columns `entities` and `error`. Only for --input arrow.
    Arrow,
}

/// The format of an output of lines or of text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TextFormat {
    Ndjson,
    Conll,
    Html,
}

/// The format of a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TableFormat {
    /// An Arrow IPC stream.
    Arrow,
}

/// What is tagged, and how results are written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Work {
    /// Every line.
    Lines { input: LineFormat, output: TextFormat },
    /// Every row.
    Rows {
        input: TableFormat,
        column: TextColumnName,
        output: TableFormat,
    },
}

/// The columns that the command line names.
#[derive(Args, Clone, Debug, Default)]
pub struct ColumnOptions {
    /// Column with the texts, of an Arrow stream [default: text].
    #[arg(long, value_name = "NAME")]
    pub text_column: Option<String>,
    /// Column with lists of words, each labeled as given and never split again, instead of texts.
    #[arg(long, value_name = "NAME", conflicts_with = "text_column")]
    pub words_column: Option<String>,
}

/// A file to tag, and how.
#[derive(Debug)]
pub struct TagFile {
    /// The file, or `-` for standard input.
    pub(crate) file: PathBuf,
    pub(crate) work: Work,
    /// The output file; standard output if absent.
    pub(crate) out: Option<PathBuf>,
    pub(crate) options: TagOptions,
}

/// Why a file is not tagged.
#[derive(Debug, Error)]
pub enum TagFileError {
    /// The format of the input is unknown.
    #[error("the extension of {} does not show its format: give --input lines, ndjson or arrow", path.display())]
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
    /// An option has no effect on this input.
    #[error("--{option} has no effect with --input {input}")]
    UselessForInput {
        /// The option's name on the command line.
        option: &'static str,
        /// The input's name on the command line.
        input: &'static str,
    },
    /// The output cannot be made of this input.
    #[error("--output {output} needs --input {needed}")]
    Formats {
        /// The output's name on the command line.
        output: &'static str,
        /// The inputs of which it can be made.
        needed: &'static str,
    },
    /// The table cannot be read or written.
    #[error(transparent)]
    Table(#[from] TableError),
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
        columns: ColumnOptions,
        options: TagOptions,
    ) -> Result<Self, TagFileError> {
        let unknown = || TagFileError::UnknownInput {
            path: file.to_owned(),
        };
        let input = input.or_else(|| by_extension(file)).ok_or_else(unknown)?;
        let work = Work::of(input, output, columns)?;
        let useless: &[(&'static str, bool)] = &[
            ("no-words", options.include_words == Some(false)),
            ("offsets", options.offsets.is_some()),
            ("threshold", options.threshold.is_some()),
            ("labels", options.labels.is_some()),
        ];
        let (output_name, useless) = match output {
            OutputFormat::Ndjson => ("ndjson", &useless[..0]),
            OutputFormat::Arrow => ("arrow", &useless[..1]),
            OutputFormat::Html => ("html", &useless[..2]),
            OutputFormat::Conll => ("conll", useless),
        };
        if let Some(&(option, _)) = useless.iter().find(|(_, given)| *given) {
            let output = output_name;
            return Err(TagFileError::UselessOption { option, output });
        }
        Ok(Self {
            file: file.to_owned(),
            work,
            out,
            options,
        })
    }
}

impl Work {
    fn of(input: InputFormat, output: OutputFormat, columns: ColumnOptions) -> Result<Self, TagFileError> {
        let text_format = match output {
            OutputFormat::Ndjson => Some(TextFormat::Ndjson),
            OutputFormat::Conll => Some(TextFormat::Conll),
            OutputFormat::Html => Some(TextFormat::Html),
            OutputFormat::Arrow => None,
        };
        let (input, line_format) = match input {
            InputFormat::Arrow => {
                if text_format.is_some() {
                    let (output, needed) = ("of lines", "lines or ndjson");
                    return Err(TagFileError::Formats { output, needed });
                }
                return Ok(Self::Rows {
                    input: TableFormat::Arrow,
                    column: columns.column(),
                    output: TableFormat::Arrow,
                });
            }
            InputFormat::Lines => ("lines", LineFormat::Text),
            InputFormat::Ndjson => ("ndjson", LineFormat::Ndjson),
        };
        if let Some(option) = columns.given() {
            return Err(TagFileError::UselessForInput { option, input });
        }
        match text_format {
            Some(output) => Ok(Self::Lines {
                input: line_format,
                output,
            }),
            None => Err(TagFileError::Formats {
                output: "arrow",
                needed: "arrow",
            }),
        }
    }
}

impl ColumnOptions {
    /// The name of an option that is given.
    fn given(&self) -> Option<&'static str> {
        match (&self.text_column, &self.words_column) {
            (Some(_), _) => Some("text-column"),
            (None, Some(_)) => Some("words-column"),
            (None, None) => None,
        }
    }

    /// The column that is tagged.
    fn column(self) -> TextColumnName {
        match self.words_column {
            Some(name) => TextColumnName::Words(name),
            None => TextColumnName::Text(self.text_column.unwrap_or_else(|| TEXT_COLUMN.to_owned())),
        }
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
            ColumnOptions::default(),
            TagOptions::default(),
        )
    }

    fn lines(input: LineFormat) -> Work {
        let output = TextFormat::Ndjson;
        Work::Lines { input, output }
    }

    #[test]
    fn the_extension_tells_what_a_line_is_or_it_is_asked_for() {
        for (file, format) in [
            ("a.jsonl", LineFormat::Ndjson),
            ("a.b.NDJSON", LineFormat::Ndjson),
            ("a.json", LineFormat::Ndjson),
            ("a.txt", LineFormat::Text),
        ] {
            assert_eq!(work(file, None).unwrap().work, lines(format), "{file}");
        }
        for file in ["-", "a", "a.conll"] {
            assert!(
                matches!(work(file, None), Err(TagFileError::UnknownInput { .. })),
                "{file}"
            );
            assert_eq!(
                work(file, Some(InputFormat::Lines)).unwrap().work,
                lines(LineFormat::Text)
            );
        }
    }

    #[test]
    fn an_option_without_a_meaning_is_refused() {
        let with = |output, options| {
            let columns = ColumnOptions::default();
            TagFile::new(Path::new("a.txt"), None, output, None, columns, options).map(drop)
        };
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
