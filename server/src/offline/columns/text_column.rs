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

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use arrow_array::builder::{LargeListBuilder, ListBuilder, StringBuilder, StringViewBuilder};
    use arrow_array::types::Int8Type;
    use arrow_array::{DictionaryArray, Int64Array, LargeStringArray, StringArray, StringViewArray};
    use arrow_schema::Field;

    fn batch(column: ArrayRef) -> RecordBatch {
        RecordBatch::try_from_iter_with_nullable([("x", column, true)]).unwrap()
    }

    fn inputs(column: ArrayRef) -> Vec<Option<Result<TagInput, String>>> {
        let batch = batch(column);
        let column = TextColumn::of(&batch, 0).unwrap();
        let rows = 0..batch.num_rows();
        rows.map(|row| Some(column.get(row, 6)?.map_err(|error| error.to_string())))
            .collect()
    }

    #[test]
    fn strings_of_every_type_are_texts() {
        let rows = [Some("é"), None, Some(""), Some("1234567"), Some("é")];
        let columns: [ArrayRef; 5] = [
            Arc::new(StringArray::from_iter(rows)),
            Arc::new(LargeStringArray::from_iter(rows)),
            Arc::new(StringViewArray::from_iter(rows)),
            Arc::new(DictionaryArray::<Int8Type>::from_iter(rows)),
            Arc::new(StringArray::from_iter([Some("0")].into_iter().chain(rows)).slice(1, 5)),
        ];
        for column in columns {
            let shown = format!("{:?}", column.data_type());
            let text = |text: &str| Some(Ok(TagInput::Text(text.to_owned())));
            let too_long = "the line has more than 6 bytes (--max-line-bytes)".to_owned();
            let expected = [text("é"), None, text(""), Some(Err(too_long)), text("é")];
            assert_eq!(inputs(column), expected, "{shown}");
        }
        let nulls = DictionaryArray::<Int8Type>::from_iter([None::<&str>, None]);
        assert_eq!(inputs(Arc::new(nulls)), [None, None]);
    }

    #[test]
    fn a_list_of_words_is_words() {
        let mut small = ListBuilder::new(StringBuilder::new());
        let mut large = LargeListBuilder::new(StringViewBuilder::new());
        let lists: [&[Option<&str>]; 4] = [
            &[Some("a"), Some("b")],
            &[],
            &[Some("a"), None],
            &[Some("1234567")],
        ];
        for list in lists {
            small.append_value(list.iter().copied());
            large.append_value(list.iter().copied());
        }
        small.append_null();
        large.append_null();
        let columns: [ArrayRef; 2] = [Arc::new(small.finish()), Arc::new(large.finish())];
        for column in columns {
            let words = |words: &[&str]| {
                Some(Ok(TagInput::Words(
                    words.iter().map(ToString::to_string).collect(),
                )))
            };
            let found = inputs(column);
            assert_eq!(found[..2], [words(&["a", "b"]), words(&[])]);
            assert_eq!(found[2], Some(Err("word 2 is null".to_owned())));
            assert!(matches!(&found[3], Some(Err(error)) if error.contains("6 bytes")));
            assert_eq!(found[4], None);
        }
    }

    #[test]
    fn a_column_that_cannot_be_tagged_is_refused_with_the_remedy() {
        let numbers = batch(Arc::new(Int64Array::from(vec![1])));
        let field = Field::new("x", DataType::Utf8, true);
        let twice = Schema::new(vec![field.clone(), field]);
        let path = Path::new("a.parquet");
        let text = |name: &str| TextColumnName::Text(name.to_owned());
        let refused = [
            (
                text("text").find(&numbers.schema(), path),
                "a.parquet has no column `text`; its columns are x. Name the column of texts with --text-column",
            ),
            (
                text("x").find(&numbers.schema(), path),
                "column `x` of a.parquet is of type Int64; --text-column needs Utf8",
            ),
            (
                TextColumnName::Words("x".to_owned()).find(&twice, path),
                "a.parquet has two columns `x`; rename one",
            ),
        ];
        for (found, problem) in refused {
            let error = found.unwrap_err().to_string();
            assert!(error.starts_with(problem), "{error}");
        }
    }
}
