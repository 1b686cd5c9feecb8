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

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use arrow_array::{ArrayRef, StringArray};
    use nerve_engine::EngineConfig;

    fn groups(rows: Vec<Option<&str>>) -> Vec<(usize, usize, bool)> {
        let column: ArrayRef = Arc::new(StringArray::from(rows));
        let batch = RecordBatch::try_from_iter_with_nullable([("text", column, true)]).unwrap();
        let column = TextColumn::of(&batch, 0).unwrap();
        let limits = BulkLimits::of(&EngineConfig::default());
        RowGroups::new(batch, column, limits)
            .map(|group| {
                let RowGroup { rows, batch } = group.context;
                (rows.len(), group.texts.len(), batch.is_some())
            })
            .collect()
    }

    #[test]
    fn the_last_group_of_a_batch_brings_the_batch() {
        assert_eq!(groups(vec![]), [(0, 0, true)]);
        assert_eq!(groups(vec![None; 3]), [(3, 0, true)]);
        assert_eq!(groups(vec![Some("a"); 16]), [(16, 16, true)]);
        assert_eq!(groups(vec![Some("a"); 17]), [(16, 16, false), (1, 1, true)]);
        let long = "x".repeat(100_000);
        assert_eq!(
            groups(vec![Some(&long), Some("a"), None]),
            [(1, 1, false), (2, 1, true)]
        );
    }
}
