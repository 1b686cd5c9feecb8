//! Results as columns of the table.

use std::path::Path;
use std::sync::Arc;

use arrow_array::RecordBatch;
use arrow_schema::SchemaRef;
use nerve_engine::{AnswerOptions, LineError, TaggedText, Tagger};

use crate::offline::columns::error::TableError;
use crate::offline::columns::message::TableHead;
use crate::offline::columns::result_columns::{ResultColumns, schema_with_results};
use crate::offline::columns::writer::TableWriter;
use crate::offline::output::Output;
use crate::offline::tally::{Tally, TextUnit};
use crate::offline::work::{TableFormat, TagFileError};

/// Results as columns of the table, and where they are written.
pub(crate) struct TableResults<'t> {
    tagger: &'t Tagger,
    view: AnswerOptions,
    schema: SchemaRef,
    writer: TableWriter,
    /// The results of the current record batch.
    columns: ResultColumns,
    tally: Tally,
}

impl<'t> TableResults<'t> {
    /// No results yet. The schema of a stream has been written.
    pub(crate) fn begin(
        format: TableFormat,
        view: AnswerOptions,
        tagger: &'t Tagger,
        output: Output,
        table: &TableHead,
        path: &Path,
    ) -> Result<Self, TagFileError> {
        let schema = schema_with_results(&table.schema, path)?;
        let writer = match format {
            TableFormat::Arrow => TableWriter::arrow(output, &schema)?,
            TableFormat::Parquet => TableWriter::parquet(output, &schema, table.compression)?,
        };
        Ok(Self {
            tagger,
            view,
            schema,
            writer,
            columns: ResultColumns::new(),
            tally: Tally::of(TextUnit::Row),
        })
    }

    /// The numbers of rows so far.
    pub(crate) fn tally(&self) -> Tally {
        self.tally
    }

    /// Adds the result of a row; `None` for one without a text.
    pub(crate) fn add(&mut self, outcome: Option<Result<TaggedText, LineError>>) -> Result<(), TagFileError> {
        let Some(outcome) = outcome else {
            return Ok(self.columns.add_null()?);
        };
        self.tally.texts += 1;
        match outcome {
            Ok(tagged) => {
                let answer = self.tagger.answer(&tagged, &self.view);
                self.columns.add_entities(&answer.entities)?;
            }
            Err(error) => {
                self.tally.failed += 1;
                self.columns.add_error(&error.to_string())?;
            }
        }
        Ok(())
    }

    /// Writes the record batch whose last row has been added.
    pub(crate) fn write(&mut self, batch: &RecordBatch) -> Result<(), TagFileError> {
        let columns = std::mem::replace(&mut self.columns, ResultColumns::new());
        let batch = columns.with_results(batch, Arc::clone(&self.schema));
        self.writer.write(&batch.map_err(TableError::Results)?)
    }

    /// Writes the end, and moves a file to its path.
    pub(crate) fn finish(self) -> Result<Tally, TagFileError> {
        self.writer.finish()?;
        Ok(self.tally)
    }
}
