//! Writes record batches.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use arrow_array::RecordBatch;
use arrow_ipc::writer::StreamWriter;
use arrow_schema::{ArrowError, SchemaRef};
use parquet::arrow::ArrowWriter;
use parquet::basic::Compression;
use parquet::errors::ParquetError;
use parquet::file::metadata::KeyValue;
use parquet::file::properties::WriterProperties;

use crate::offline::columns::error::TableError;
use crate::offline::output::Output;
use crate::offline::work::TagFileError;

/// The size in bytes from which a row group is written. The writer holds one.
const ROW_GROUP_BYTES: usize = 64 << 20;

/// A writer of record batches.
pub(crate) enum TableWriter {
    Arrow(Box<StreamWriter<Output>>),
    Parquet(Box<ArrowWriter<Output>>),
}

impl TableWriter {
    /// The writer of an Arrow IPC stream, which has written the schema.
    pub(crate) fn arrow(output: Output, schema: &SchemaRef) -> Result<Self, TagFileError> {
        caught(|| {
            let mut writer = StreamWriter::try_new(output, schema)?;
            writer.flush()?;
            Ok(Self::Arrow(Box::new(writer)))
        })
        .map_err(not_arrow)
    }

    /// The writer of a Parquet file.
    pub(crate) fn parquet(
        output: Output,
        schema: &SchemaRef,
        compression: Compression,
    ) -> Result<Self, TagFileError> {
        let metadata = schema.metadata().iter();
        let mut metadata: Vec<KeyValue> = metadata
            .map(|(key, value)| KeyValue::new(key.clone(), value.clone()))
            .collect();
        metadata.sort_unstable_by(|a, b| a.key.cmp(&b.key));
        let properties = WriterProperties::builder()
            .set_compression(compression)
            .set_max_row_group_bytes(Some(ROW_GROUP_BYTES))
            .set_key_value_metadata(Some(metadata))
            .build();
        caught(|| ArrowWriter::try_new(output, Arc::clone(schema), Some(properties)))
            .map(|writer| Self::Parquet(Box::new(writer)))
            .map_err(not_parquet)
    }

    /// Writes a record batch. Those of a stream are passed on before this returns.
    pub(crate) fn write(&mut self, batch: &RecordBatch) -> Result<(), TagFileError> {
        match self {
            Self::Arrow(writer) => caught(|| {
                writer.write(batch)?;
                writer.flush()
            })
            .map_err(not_arrow),
            Self::Parquet(writer) => caught(|| writer.write(batch)).map_err(not_parquet),
        }
    }

    /// Writes the end, and moves a file to its path.
    pub(crate) fn finish(self) -> Result<(), TagFileError> {
        let output = match self {
            Self::Arrow(writer) => caught(|| writer.into_inner()).map_err(not_arrow)?,
            Self::Parquet(writer) => caught(|| writer.into_inner()).map_err(not_parquet)?,
        };
        output.finish().map_err(|source| TagFileError::Write { source })
    }
}

/// Why a library does not write.
enum NotWritten<E> {
    Error(E),
    /// A panic, as of types that the library does not know.
    Panic,
}

/// The result of a library that may panic. What it was writing is not used after that.
fn caught<T, E>(write: impl FnOnce() -> Result<T, E>) -> Result<T, NotWritten<E>> {
    match catch_unwind(AssertUnwindSafe(write)) {
        Ok(written) => written.map_err(NotWritten::Error),
        Err(_) => Err(NotWritten::Panic),
    }
}

fn not_arrow(problem: NotWritten<ArrowError>) -> TagFileError {
    match problem {
        NotWritten::Error(ArrowError::IoError(_, source)) => TagFileError::Write { source },
        NotWritten::Error(source) => TagFileError::Table(TableError::WriteArrow { source }),
        NotWritten::Panic => TagFileError::Table(TableError::Writer { format: "Arrow" }),
    }
}

fn not_parquet(problem: NotWritten<ParquetError>) -> TagFileError {
    match problem {
        NotWritten::Error(ParquetError::External(source)) if source.is::<std::io::Error>() => {
            let source = std::io::Error::other(source);
            TagFileError::Write { source }
        }
        NotWritten::Error(source) => TagFileError::Table(TableError::WriteParquet { source }),
        NotWritten::Panic => TagFileError::Table(TableError::Writer { format: "Parquet" }),
    }
}
