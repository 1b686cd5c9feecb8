//! Tags the rows of a table.

use std::path::Path;
use std::pin::pin;
use std::sync::Arc;

use arrow_array::RecordBatch;
use arrow_schema::SchemaRef;
use futures_util::stream::{self, StreamExt, TryStreamExt};
use nerve_engine::{AnswerOptions, BulkError, TagError, TaggedText, Tagger, tag_texts};

use crate::offline::bulk::Bulk;
use crate::offline::columns::error::TableError;
use crate::offline::columns::results::{Results, schema_with_results};
use crate::offline::columns::rows::{Row, RowGroup, RowGroups};
use crate::offline::columns::source::TableSource;
use crate::offline::columns::text_column::{TextColumn, TextColumnName};
use crate::offline::columns::writer::TableWriter;
use crate::offline::output::Output;
use crate::offline::progress::Bar;
use crate::offline::tally::Tally;
use crate::offline::work::TagFileError;

/// Tags every row of a table and writes its record batches with their results, each as soon as its last row is tagged.
pub(crate) async fn tag_every_row(
    bulk: Bulk,
    path: &Path,
    mut source: TableSource,
    column: &TextColumnName,
    output: Output,
) -> Result<Tally, TagFileError> {
    let Bulk {
        tagger,
        limits,
        reading,
        view,
    } = bulk;
    let schema = source.schema().await?;
    let index = column.find(&schema, path)?;
    let schema = schema_with_results(&schema, path)?;
    let writer = TableWriter::arrow(output, &schema)?;
    let groups = source.batches().map(|batch| {
        let batch = batch?;
        let column = TextColumn::of(&batch, index).ok_or_else(|| TableError::Reader {
            path: path.to_owned(),
            format: "Arrow",
        })?;
        Ok::<_, TableError>(stream::iter(RowGroups::new(batch, column, limits).map(Ok)))
    });
    let mut tagged = pin!(tag_texts(
        Arc::clone(&tagger),
        groups.try_flatten(),
        reading,
        limits
    ));
    let bar = Bar::new(None);
    let mut results = TableResults {
        tagger: &tagger,
        view,
        schema,
        writer,
        results: Results::new(),
        tally: Tally::of("rows"),
    };
    while let Some(group) = tagged.next().await {
        let (outcomes, group) = group.map_err(|cut| match cut {
            BulkError::Input(error) => TagFileError::Table(error),
            BulkError::Stopping => TagFileError::Stopped,
        })?;
        results.add(group, outcomes)?;
        bar.tagged(results.tally.texts);
    }
    results.writer.finish()?;
    Ok(results.tally)
}

/// The results of a table, and where they are written.
struct TableResults<'t> {
    tagger: &'t Tagger,
    view: AnswerOptions,
    schema: SchemaRef,
    writer: TableWriter,
    /// Those of the current record batch.
    results: Results,
    tally: Tally,
}

impl TableResults<'_> {
    /// Adds the results of consecutive rows, and writes the record batch that ends with them.
    fn add(
        &mut self,
        group: RowGroup,
        outcomes: Vec<Result<TaggedText, TagError>>,
    ) -> Result<(), TagFileError> {
        let mut outcomes = outcomes.into_iter();
        for row in group.rows {
            let error = match row {
                Row::Null => {
                    self.results.add_null()?;
                    continue;
                }
                Row::Invalid(error) => error.to_string(),
                Row::Text => match outcomes.next().unwrap_or(Err(TagError::InferenceFailed)) {
                    Ok(tagged) => {
                        self.tally.texts += 1;
                        let answer = self.tagger.answer(&tagged, &self.view);
                        self.results.add_entities(&answer.entities)?;
                        continue;
                    }
                    Err(error) => error.to_string(),
                },
            };
            self.tally.texts += 1;
            self.tally.failed += 1;
            self.results.add_error(&error)?;
        }
        match group.batch {
            Some(batch) => self.write(&batch),
            None => Ok(()),
        }
    }

    fn write(&mut self, batch: &RecordBatch) -> Result<(), TagFileError> {
        let results = std::mem::replace(&mut self.results, Results::new());
        let batch = results.with_results(batch, Arc::clone(&self.schema));
        let batch = batch.map_err(|source| TableError::Write {
            format: "a record batch",
            source,
        })?;
        self.writer.write(&batch)
    }
}
