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
    /// A table as an Arrow IPC stream.
    Arrow,
    /// A table as a Parquet file.
    Parquet,
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
    /// The columns of a table with `entities` and `error`, as an Arrow IPC stream.
    Arrow,
    /// The columns of a table with `entities` and `error`, as a Parquet file.
    Parquet,
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
    /// A Parquet file.
    Parquet,
}

/// How the results of a table are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RowFormat {
    /// As columns of the table.
    Table(TableFormat),
    /// As lines or text, without the table's other columns.
    Text(TextFormat),
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
        output: RowFormat,
    },
}

/// The columns that the command line names.
#[derive(Args, Clone, Debug, Default)]
pub struct ColumnOptions {
    /// Column with the texts, for --input arrow and parquet [default: text].
    #[arg(long, value_name = "NAME")]
    pub text_column: Option<String>,
    /// Column with lists of words, which are labeled as given and never split again, instead of --text-column.
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
    #[error("the extension of {} does not show its format: give --input lines, ndjson, arrow or parquet", path.display())]
    UnknownInput {
        /// The input as given.
        path: PathBuf,
    },
    /// The format of the output is unknown.
    #[error("the extension of {} does not show its format: give --output ndjson, conll, html, arrow or parquet", path.display())]
    UnknownOutput {
        /// The output as given.
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
    /// Lines have no columns.
    #[error("--output {output} needs a table: --input arrow or parquet, not {input}")]
    NoTable {
        /// The output's name on the command line.
        output: &'static str,
        /// The input's name on the command line.
        input: &'static str,
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
        output: Option<OutputFormat>,
        out: Option<PathBuf>,
        columns: ColumnOptions,
        options: TagOptions,
    ) -> Result<Self, TagFileError> {
        let unknown = || TagFileError::UnknownInput {
            path: file.to_owned(),
        };
        let input = input.or_else(|| by_extension(file)).ok_or_else(unknown)?;
        let output = match (output, out.as_deref()) {
            (Some(output), _) => output,
            (None, None) => OutputFormat::Ndjson,
            (None, Some(out)) => output_by_extension(out)
                .ok_or_else(|| TagFileError::UnknownOutput { path: out.to_owned() })?,
        };
        let work = Work::of(input, output, columns)?;
        let useless: &[(&'static str, bool)] = &[
            ("no-words", options.include_words == Some(false)),
            ("offsets", options.offsets.is_some()),
            ("threshold", options.threshold.is_some()),
            ("labels", options.labels.is_some()),
        ];
        let useless = match output {
            OutputFormat::Ndjson => &useless[..0],
            OutputFormat::Arrow | OutputFormat::Parquet => &useless[..1],
            OutputFormat::Html => &useless[..2],
            OutputFormat::Conll => useless,
        };
        if let Some(&(option, _)) = useless.iter().find(|(_, given)| *given) {
            let output = output.name();
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
        let output_name = output.name();
        let output = match output {
            OutputFormat::Ndjson => RowFormat::Text(TextFormat::Ndjson),
            OutputFormat::Conll => RowFormat::Text(TextFormat::Conll),
            OutputFormat::Html => RowFormat::Text(TextFormat::Html),
            OutputFormat::Arrow => RowFormat::Table(TableFormat::Arrow),
            OutputFormat::Parquet => RowFormat::Table(TableFormat::Parquet),
        };
        let of_table = |input, columns: ColumnOptions| Self::Rows {
            input,
            column: columns.column(),
            output,
        };
        let (input_name, input) = match input {
            InputFormat::Arrow => return Ok(of_table(TableFormat::Arrow, columns)),
            InputFormat::Parquet => return Ok(of_table(TableFormat::Parquet, columns)),
            InputFormat::Lines => ("lines", LineFormat::Text),
            InputFormat::Ndjson => ("ndjson", LineFormat::Ndjson),
        };
        match (output, columns.given()) {
            (RowFormat::Text(output), None) => Ok(Self::Lines { input, output }),
            (RowFormat::Text(_), Some(option)) => Err(TagFileError::UselessForInput {
                option,
                input: input_name,
            }),
            (RowFormat::Table(_), _) => Err(TagFileError::NoTable {
                output: output_name,
                input: input_name,
            }),
        }
    }
}

impl OutputFormat {
    /// The name on the command line.
    fn name(self) -> &'static str {
        match self {
            Self::Ndjson => "ndjson",
            Self::Conll => "conll",
            Self::Html => "html",
            Self::Arrow => "arrow",
            Self::Parquet => "parquet",
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
    match (table_by_extension(file), Format::of_path(file)) {
        (Some(TableFormat::Arrow), _) => Some(InputFormat::Arrow),
        (Some(TableFormat::Parquet), _) => Some(InputFormat::Parquet),
        (None, Some(Format::JsonLines)) => Some(InputFormat::Ndjson),
        (None, Some(Format::Text)) => Some(InputFormat::Lines),
        (None, Some(Format::Conll) | None) => None,
    }
}

/// The format that the name of an output shows. A name without extension, as devices have it, is one of JSON lines.
fn output_by_extension(out: &Path) -> Option<OutputFormat> {
    let Some(extension) = out.extension() else {
        return Some(OutputFormat::Ndjson);
    };
    match (table_by_extension(out), Format::of_path(out)) {
        (Some(TableFormat::Arrow), _) => Some(OutputFormat::Arrow),
        (Some(TableFormat::Parquet), _) => Some(OutputFormat::Parquet),
        (None, Some(Format::JsonLines)) => Some(OutputFormat::Ndjson),
        (None, Some(Format::Conll)) => Some(OutputFormat::Conll),
        (None, None) if extension.eq_ignore_ascii_case("html") => Some(OutputFormat::Html),
        (None, Some(Format::Text) | None) => None,
    }
}

/// The table that a file of this name holds. The extension `.arrow` is that of Arrow IPC files, which are no streams.
fn table_by_extension(file: &Path) -> Option<TableFormat> {
    let extension = file.extension()?.to_str()?.to_ascii_lowercase();
    match extension.as_str() {
        "parquet" => Some(TableFormat::Parquet),
        "arrows" => Some(TableFormat::Arrow),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn work(file: &str, input: Option<InputFormat>) -> Result<TagFile, TagFileError> {
        TagFile::new(
            Path::new(file),
            input,
            None,
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
    fn the_extension_of_an_output_tells_its_format_or_it_is_asked_for() {
        for (out, format) in [
            ("o.jsonl", OutputFormat::Ndjson),
            ("/dev/null", OutputFormat::Ndjson),
            ("o.conll", OutputFormat::Conll),
            ("o.HTML", OutputFormat::Html),
            ("o.parquet", OutputFormat::Parquet),
            ("o.arrows", OutputFormat::Arrow),
        ] {
            assert_eq!(output_by_extension(Path::new(out)), Some(format), "{out}");
        }
        for out in ["o.arrow", "o.feather", "o.csv", "o.txt"] {
            let to = |output| {
                let columns = ColumnOptions::default();
                let options = TagOptions::default();
                TagFile::new(
                    Path::new("a.txt"),
                    None,
                    output,
                    Some(out.into()),
                    columns,
                    options,
                )
                .map(drop)
            };
            let refused = to(None).unwrap_err().to_string();
            assert!(refused.contains(out) && refused.contains("--output"), "{refused}");
            assert!(to(Some(OutputFormat::Ndjson)).is_ok());
        }
    }

    #[test]
    fn an_option_without_a_meaning_is_refused() {
        let with = |output, options| {
            let columns = ColumnOptions::default();
            TagFile::new(Path::new("a.txt"), None, Some(output), None, columns, options).map(drop)
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
