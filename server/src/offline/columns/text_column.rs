//! The column that is tagged.

use std::path::Path;

use arrow_array::cast::AsArray;
use arrow_array::{Array, ArrayRef, LargeListArray, ListArray, RecordBatch};
use arrow_schema::{DataType, Schema};
use nerve_engine::{LineError, RequestError, TagInput};

use crate::offline::columns::error::TableError;
use crate::offline::columns::strings::Strings;

/// The name of the column that is tagged, and what its rows hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum TextColumnName {
    /// Running text.
    Text(String),
    /// Lists of words.
    Words(String),
}

impl TextColumnName {
    fn name(&self) -> &str {
        match self {
            Self::Text(name) | Self::Words(name) => name,
        }
    }

    /// The index of the column in a table.
    pub(crate) fn find(&self, schema: &Schema, path: &Path) -> Result<usize, TableError> {
        let (path, column) = (path.to_owned(), self.name().to_owned());
        let mut found = (0..schema.fields().len()).filter(|&at| schema.field(at).name() == self.name());
        let Some(index) = found.next() else {
            let columns = schema.fields().iter().map(|field| field.name().clone());
            return Err(TableError::NoColumn {
                path,
                column,
                columns: columns.collect(),
            });
        };
        if found.next().is_some() {
            return Err(TableError::AmbiguousColumn { path, column });
        }
        let data_type = schema.field(index).data_type();
        let (fits, option, expected) = match self {
            Self::Text(_) => (
                Strings::are(data_type),
                "text-column",
                "Utf8, LargeUtf8 or Utf8View, or a dictionary of one of these",
            ),
            Self::Words(_) => (
                matches!(data_type, DataType::List(words) | DataType::LargeList(words) if Strings::are(words.data_type())),
                "words-column",
                "List or LargeList of Utf8, LargeUtf8 or Utf8View",
            ),
        };
        match fits {
            true => Ok(index),
            false => Err(TableError::ColumnType {
                path,
                column,
                found: data_type.clone(),
                option,
                expected,
            }),
        }
    }
}

/// The column of a record batch that is tagged.
pub(crate) enum TextColumn {
    Text(Strings),
    Words { lists: Lists, words: Strings },
}

/// The lists of a column.
pub(crate) enum Lists {
    Small(ListArray),
    Large(LargeListArray),
}

impl TextColumn {
    /// The column at an index that [`TextColumnName::find`] gave; `None` for a column of another type.
    pub(crate) fn of(batch: &RecordBatch, index: usize) -> Option<Self> {
        let column: &ArrayRef = batch.columns().get(index)?;
        match column.data_type() {
            DataType::List(_) => {
                let lists = column.as_list_opt::<i32>()?.clone();
                let words = Strings::of(lists.values())?;
                let lists = Lists::Small(lists);
                Some(Self::Words { lists, words })
            }
            DataType::LargeList(_) => {
                let lists = column.as_list_opt::<i64>()?.clone();
                let words = Strings::of(lists.values())?;
                let lists = Lists::Large(lists);
                Some(Self::Words { lists, words })
            }
            _ => Strings::of(column).map(Self::Text),
        }
    }

    /// What a row has to tag, if it is at most `limit` bytes long; `None` if it is null.
    pub(crate) fn get(&self, row: usize, limit: usize) -> Option<Result<TagInput, LineError>> {
        match self {
            Self::Text(texts) => {
                let text = texts.get(row)?;
                Some(match text.len() <= limit {
                    true => Ok(TagInput::Text(text.to_owned())),
                    false => Err(LineError::TooLong { limit }),
                })
            }
            Self::Words { lists, words } => {
                let range = lists.range(row)?;
                let list = || range.clone().map(|at| words.get(at));
                let bytes: usize = list().flatten().map(str::len).sum();
                if bytes > limit {
                    return Some(Err(LineError::TooLong { limit }));
                }
                let word = |(at, word): (usize, Option<&str>)| {
                    let missing = || RequestError::Shape {
                        problem: format!("word {} is null", at + 1),
                    };
                    word.map(str::to_owned).ok_or_else(missing)
                };
                let words: Result<Vec<String>, RequestError> = list().enumerate().map(word).collect();
                Some(words.map(TagInput::Words).map_err(LineError::Request))
            }
        }
    }
}

impl Lists {
    /// The places of a row's values; `None` if the row is null.
    fn range(&self, row: usize) -> Option<std::ops::Range<usize>> {
        match self {
            Self::Small(lists) if lists.is_valid(row) => {
                let offsets = lists.value_offsets();
                Some(offsets[row] as usize..offsets[row + 1] as usize)
            }
            Self::Large(lists) if lists.is_valid(row) => {
                let offsets = lists.value_offsets();
                Some(offsets[row] as usize..offsets[row + 1] as usize)
            }
            Self::Small(_) | Self::Large(_) => None,
        }
    }
}
