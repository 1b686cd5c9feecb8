//! A record batch to the groups of texts that the tagger is given.

use arrow_array::RecordBatch;
use nerve_engine::{BulkLimits, LineError, TagInput, TextGroup};

use crate::offline::columns::text_column::TextColumn;

/// What a row of a table has to tag.
#[derive(Debug)]
pub(crate) enum Row {
    /// A null, which has no entities.
    Null,
    /// A text, which is in the row's group.
    Text,
    /// Something that cannot be tagged.
    Invalid(LineError),
}

/// Consecutive rows, and the record batch that ends with them.
#[derive(Debug)]
pub(crate) struct RowGroup {
    pub(crate) rows: Vec<Row>,
    /// The whole record batch, with its last rows.
    pub(crate) batch: Option<RecordBatch>,
}

/// The groups of a record batch, whose texts are copied one group at a time. An empty batch has one group.
pub(crate) struct RowGroups {
    /// The batch, until its last rows have been taken.
    batch: Option<RecordBatch>,
    column: TextColumn,
    row: usize,
    limits: BulkLimits,
}

impl RowGroups {
    /// The groups of a batch whose `column` is tagged.
    pub(crate) fn new(batch: RecordBatch, column: TextColumn, limits: BulkLimits) -> Self {
        Self {
            batch: Some(batch),
            column,
            row: 0,
            limits,
        }
    }
}

impl Iterator for RowGroups {
    type Item = TextGroup<RowGroup>;

    fn next(&mut self) -> Option<Self::Item> {
        let rows_of_batch = self.batch.as_ref()?.num_rows();
        let (mut rows, mut texts, mut bytes) = (Vec::new(), Vec::new(), 0);
        while self.row < rows_of_batch && self.limits.group_takes_more(rows.len(), bytes) {
            let row = match self.column.get(self.row, self.limits.line_bytes()) {
                None => Row::Null,
                Some(Err(error)) => Row::Invalid(error),
                Some(Ok(text)) => {
                    bytes += match &text {
                        TagInput::Text(text) => text.len(),
                        TagInput::Words(words) => words.iter().map(String::len).sum(),
                    };
                    texts.push(text);
                    Row::Text
                }
            };
            rows.push(row);
            self.row += 1;
        }
        let batch = self.batch.take_if(|_| self.row >= rows_of_batch);
        let context = RowGroup { rows, batch };
        Some(TextGroup { texts, context })
    }
}
