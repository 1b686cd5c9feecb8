//! Why a table is not tagged.

use std::path::PathBuf;

use arrow_schema::{ArrowError, DataType};
use parquet::errors::ParquetError;
use thiserror::Error;

/// Why a table is not tagged.
#[derive(Debug, Error)]
pub enum TableError {
    /// The input is not an Arrow IPC stream, or damaged.
    #[error("cannot read {} as an Arrow IPC stream: {source}", path.display())]
    Arrow {
        /// The input as given.
        path: PathBuf,
        /// The cause.
        source: ArrowError,
    },
    /// The input is an Arrow IPC file.
    #[error(
        "{} is an Arrow IPC file; give an Arrow IPC stream, as pyarrow.ipc.new_stream writes it",
        path.display()
    )]
    ArrowFile {
        /// The input as given.
        path: PathBuf,
    },
    /// The input is not a Parquet file, damaged, or encrypted.
    #[error("cannot read {} as a Parquet file: {source}", path.display())]
    Parquet {
        /// The input as given.
        path: PathBuf,
        /// The cause.
        source: ParquetError,
    },
    /// The input cannot be read from its end.
    #[error(
        "{} is not a regular file; a Parquet file is read from its end, so that no pipe can give it. Give a file, or an Arrow IPC stream with --input arrow",
        path.display()
    )]
    ParquetPipe {
        /// The input as given.
        path: PathBuf,
    },
    /// The library that reads the input does not understand it.
    #[error("cannot read {}: the file is damaged", path.display())]
    Damaged {
        /// The input as given.
        path: PathBuf,
    },
    /// The input lacks the column to tag.
    #[error(
        "{} has no column `{column}`; its columns are {}. Name the column of texts with --text-column, or that of words with --words-column",
        path.display(),
        columns.join(", ")
    )]
    NoColumn {
        /// The input as given.
        path: PathBuf,
        /// The column to tag.
        column: String,
        /// The input's columns.
        columns: Vec<String>,
    },
    /// The column to tag has a type that cannot hold texts or words.
    #[error("column `{column}` of {} is of type {found}; --{option} needs {expected}", path.display())]
    ColumnType {
        /// The input as given.
        path: PathBuf,
        /// The column to tag.
        column: String,
        /// The column's type.
        found: DataType,
        /// The option that names the column.
        option: &'static str,
        /// The types that the option takes.
        expected: &'static str,
    },
    /// Two columns have the same name.
    #[error("{} has two columns `{column}`; rename one", path.display())]
    AmbiguousColumn {
        /// The input as given.
        path: PathBuf,
        /// The name.
        column: String,
    },
    /// The input has a column of a name that the output adds.
    #[error("{} has a column `{column}`, which is the name of a column of the results; rename or drop it", path.display())]
    NameTaken {
        /// The input as given.
        path: PathBuf,
        /// The name.
        column: &'static str,
    },
    /// The entities of a record batch are too many or too long for a column.
    #[error("the entities of one record batch have more than 2 GiB of text; give smaller record batches")]
    BatchTooLarge,
    /// The results do not fit the record batch.
    #[error("cannot add the results to a record batch: {0}")]
    Results(ArrowError),
    /// The table cannot be written as an Arrow IPC stream.
    #[error("cannot write an Arrow IPC stream: {source}")]
    WriteArrow {
        /// The cause.
        source: ArrowError,
    },
    /// The table cannot be written as a Parquet file.
    #[error("cannot write a Parquet file: {source}. --output arrow holds columns of any type")]
    WriteParquet {
        /// The cause.
        source: ParquetError,
    },
    /// The library that writes the output failed.
    #[error("cannot write the table as {format}; leave out columns of unusual types")]
    Writer {
        /// The output's format.
        format: &'static str,
    },
}
