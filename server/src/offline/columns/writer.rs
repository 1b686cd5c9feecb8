//! Writes record batches.

use arrow_array::RecordBatch;
use arrow_ipc::writer::StreamWriter;
use arrow_schema::{ArrowError, Schema};

use crate::offline::columns::error::TableError;
use crate::offline::output::Output;
use crate::offline::work::TagFileError;

/// A writer of record batches.
pub(crate) enum TableWriter {
    Arrow(StreamWriter<Output>),
}

impl TableWriter {
    /// The writer of an Arrow IPC stream, which has written the schema.
    pub(crate) fn arrow(output: Output, schema: &Schema) -> Result<Self, TagFileError> {
        let mut writer = StreamWriter::try_new(output, schema).map_err(not_arrow)?;
        writer.flush().map_err(not_arrow)?;
        Ok(Self::Arrow(writer))
    }

    /// Writes a record batch. Those of a stream are with the reader when this returns.
    pub(crate) fn write(&mut self, batch: &RecordBatch) -> Result<(), TagFileError> {
        match self {
            Self::Arrow(writer) => writer
                .write(batch)
                .and_then(|()| writer.flush())
                .map_err(not_arrow),
        }
    }

    /// Writes the end, and moves a file to its path.
    pub(crate) fn finish(self) -> Result<(), TagFileError> {
        let output = match self {
            Self::Arrow(writer) => writer.into_inner().map_err(not_arrow)?,
        };
        output.finish().map_err(|source| TagFileError::Write { source })
    }
}

fn not_arrow(error: ArrowError) -> TagFileError {
    match error {
        ArrowError::IoError(_, source) => TagFileError::Write { source },
        source => TagFileError::Table(TableError::Write {
            format: "an Arrow IPC stream",
            source,
        }),
    }
}
