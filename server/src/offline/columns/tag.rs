//! Tags the rows of a table.

use std::path::Path;
use std::pin::pin;
use std::sync::Arc;

use futures_util::stream::{self, StreamExt, TryStreamExt};
use nerve_engine::{BulkError, LineError, TagError, TaggedLine, tag_texts};

use crate::offline::bulk::Bulk;
use crate::offline::columns::error::TableError;
use crate::offline::columns::results::TableResults;
use crate::offline::columns::rows::{Row, RowGroups};
use crate::offline::columns::source::TableSource;
use crate::offline::columns::text_column::{TextColumn, TextColumnName};
use crate::offline::line_results::LineResults;
use crate::offline::output::Output;
use crate::offline::progress::Bar;
use crate::offline::tally::{Tally, TextUnit};
use crate::offline::work::{RowFormat, TagFileError};

/// Tags every row of a table and writes the results in order; as columns, those of a record batch as soon as its last row is
/// tagged.
pub(crate) async fn tag_every_row(
    bulk: Bulk,
    path: &Path,
    mut source: TableSource,
    column: &TextColumnName,
    format: RowFormat,
    output: Output,
) -> Result<Tally, TagFileError> {
    let Bulk {
        tagger,
        limits,
        reading,
        view,
    } = bulk;
    let table = source.head().await?;
    let index = column.find(&table.schema, path)?;
    let bar = Bar::of_rows(table.rows);
    let mut results = match format {
        RowFormat::Table(format) => {
            let results = TableResults::begin(format, view, &tagger, output, &table, path)?;
            Results::Table(Box::new(results))
        }
        RowFormat::Text(format) => {
            let results = LineResults::begin(format, view, &tagger, output, TextUnit::Row)?;
            Results::Lines(Box::new(results))
        }
    };
    let groups = source.batches().map(|batch| {
        let batch = batch?;
        let column = TextColumn::of(&batch, index).ok_or_else(|| TableError::Damaged {
            path: path.to_owned(),
        })?;
        Ok::<_, TableError>(stream::iter(RowGroups::new(batch, column, limits).map(Ok)))
    });
    let groups = groups.try_flatten();
    let mut tagged = pin!(tag_texts(Arc::clone(&tagger), groups, reading, limits));
    let mut number = 0;
    while let Some(group) = tagged.next().await {
        let (outcomes, group) = group.map_err(|cut| match cut {
            BulkError::Input(error) => TagFileError::Table(error),
            BulkError::Stopping => TagFileError::Stopped,
        })?;
        let mut outcomes = outcomes.into_iter();
        for row in group.rows {
            number += 1;
            let outcome = match row {
                Row::Null => None,
                Row::Invalid(error) => Some(Err(error)),
                Row::Text => {
                    let outcome = outcomes.next().unwrap_or(Err(TagError::InferenceFailed));
                    Some(outcome.map_err(LineError::Tag))
                }
            };
            match (&mut results, outcome) {
                (Results::Table(results), outcome) => results.add(outcome)?,
                (Results::Lines(_), None) => {}
                (Results::Lines(results), Some(outcome)) => {
                    let id = None;
                    results.add(&TaggedLine { number, id, outcome }, &bar)?;
                }
            }
        }
        match &mut results {
            Results::Table(results) => {
                if let Some(batch) = &group.batch {
                    results.write(batch)?;
                }
                bar.tagged(results.tally());
            }
            Results::Lines(results) => results.flush(&bar)?,
        }
        bar.rows(number);
    }
    match results {
        Results::Table(results) => results.finish(),
        Results::Lines(results) => results.finish(),
    }
}

/// The results of the rows.
enum Results<'t> {
    Table(Box<TableResults<'t>>),
    Lines(Box<LineResults<'t>>),
}
