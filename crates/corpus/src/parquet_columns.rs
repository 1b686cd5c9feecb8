//! The columns of a Parquet file that hold sentences, and their rows.

use arrow_array::cast::AsArray;
use arrow_array::types::{
    ArrowPrimitiveType, Int8Type, Int16Type, Int32Type, Int64Type, UInt8Type, UInt16Type, UInt32Type,
    UInt64Type,
};
use arrow_array::{Array, ArrayRef, RecordBatch};
use arrow_schema::{DataType, Field, Schema};

use crate::entry::Content;
use crate::read_options::TagNames;

/// Columns of words, in the order of preference.
const WORDS: [&str; 2] = ["words", "tokens"];
/// Columns of tags, in the order of preference.
const TAGS: [&str; 2] = ["tags", "ner_tags"];
/// The column of running text.
const TEXT: &str = "text";

/// The columns that are read, by name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Columns {
    /// Lists of words, or running text.
    sentence: &'static str,
    /// Lists of tags.
    pub(crate) tags: Option<&'static str>,
}

impl Columns {
    /// The columns that a file has; an error says which it lacks or of which type it has them.
    pub(crate) fn find(schema: &Schema) -> Result<Self, String> {
        let type_of = |name: &str| schema.field_with_name(name).ok().map(Field::data_type);
        let first =
            |names: [&'static str; 2]| names.into_iter().find_map(|name| Some((name, type_of(name)?)));
        let wrong = |name: &str, found: &DataType, expected: &str| {
            Err(format!(
                "column `{name}` is of type {found}; it must be {expected}"
            ))
        };
        let Some((words, found)) = first(WORDS) else {
            return match type_of(TEXT) {
                Some(DataType::Utf8) => Ok(Self {
                    sentence: TEXT,
                    tags: None,
                }),
                Some(found) => wrong(TEXT, found, "strings"),
                None => {
                    let names: Vec<&str> = schema
                        .fields()
                        .iter()
                        .map(|field| field.name().as_str())
                        .collect();
                    Err(format!(
                        "there is no column `tokens` or `words` (with `ner_tags` or `tags`), nor `text`; its columns are {}",
                        names.join(", ")
                    ))
                }
            };
        };
        if !matches!(found, DataType::List(item) if *item.data_type() == DataType::Utf8) {
            return wrong(words, found, "lists of strings");
        }
        let tags = first(TAGS);
        if let Some((tags, found)) = tags
            && !matches!(found, DataType::List(item) if *item.data_type() == DataType::Utf8 || item.data_type().is_integer())
        {
            return wrong(tags, found, "lists of integers or strings");
        }
        Ok(Self {
            sentence: words,
            tags: tags.map(|(name, _)| name),
        })
    }

    /// Whether a column is read.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.sentence == name || self.tags == Some(name)
    }

    /// What each row holds, or what is wrong with it. `names` are those of numbered tags.
    pub(crate) fn rows(&self, batch: &RecordBatch, names: Option<&TagNames>) -> Vec<Result<Content, String>> {
        let column = |name: &str| batch.column_by_name(name);
        let sentences = column(self.sentence).map(|column| Cells::of(column, self.sentence));
        let tags = self
            .tags
            .and_then(|name| column(name).map(|column| Cells::of(column, name)));
        let row = |row: usize| -> Result<Content, String> {
            let sentences = sentences.as_ref().ok_or("the column of sentences is missing")?;
            if self.sentence == TEXT {
                let mut text = sentences.texts(row..row + 1)?;
                return Ok(Content::Text {
                    text: text.pop().unwrap_or_default(),
                    entities: None,
                });
            }
            let words = sentences.texts(sentences.range(row)?)?;
            let tags = match &tags {
                Some(tags) => tags
                    .tags(tags.range(row)?, names)?
                    .into_iter()
                    .map(Some)
                    .collect(),
                None => vec![None; words.len()],
            };
            match words.len() == tags.len() {
                true => Ok(Content::Words { words, tags }),
                false => Err(format!("{} words but {} tags", words.len(), tags.len())),
            }
        };
        (0..batch.num_rows()).map(row).collect()
    }
}

/// The values of a column, those of lists one after the other.
struct Cells<'c> {
    name: &'c str,
    column: &'c ArrayRef,
    values: &'c ArrayRef,
}

impl<'c> Cells<'c> {
    fn of(column: &'c ArrayRef, name: &'c str) -> Self {
        let values = column.as_list_opt::<i32>().map_or(column, |lists| lists.values());
        Self { name, column, values }
    }

    /// The places of the values of a row.
    fn range(&self, row: usize) -> Result<std::ops::Range<usize>, String> {
        let lists = self.column.as_list_opt::<i32>();
        let lists = lists.ok_or_else(|| format!("`{}` is no list", self.name))?;
        if lists.is_null(row) {
            return Err(format!("`{}` is null", self.name));
        }
        let offsets = lists.value_offsets();
        Ok(offsets[row] as usize..offsets[row + 1] as usize)
    }

    /// The strings at places.
    fn texts(&self, range: std::ops::Range<usize>) -> Result<Vec<String>, String> {
        let strings = self.values.as_string_opt::<i32>();
        let strings = strings.ok_or_else(|| format!("`{}` has no strings", self.name))?;
        let first = range.start;
        range
            .map(|at| match strings.is_valid(at) {
                true => Ok(strings.value(at).to_owned()),
                false => Err(self.null(at - first)),
            })
            .collect()
    }

    /// The names of the tags at places. Without `names`, that of a number is the number.
    fn tags(&self, range: std::ops::Range<usize>, names: Option<&TagNames>) -> Result<Vec<String>, String> {
        if *self.values.data_type() == DataType::Utf8 {
            return self.texts(range);
        }
        let first = range.start;
        range
            .map(|at| {
                let number = self.number(at).ok_or_else(|| self.null(at - first))?;
                match names {
                    Some(names) => names.resolve(number),
                    None => Ok(number.to_string()),
                }
            })
            .collect()
    }

    /// The integer at a place; `None` if it is null.
    fn number(&self, at: usize) -> Option<i64> {
        fn get<T: ArrowPrimitiveType>(values: &ArrayRef, at: usize) -> Option<T::Native> {
            let numbers = values.as_primitive_opt::<T>()?;
            numbers.is_valid(at).then(|| numbers.value(at))
        }
        let values = self.values;
        match values.data_type() {
            DataType::Int8 => get::<Int8Type>(values, at).map(i64::from),
            DataType::Int16 => get::<Int16Type>(values, at).map(i64::from),
            DataType::Int32 => get::<Int32Type>(values, at).map(i64::from),
            DataType::Int64 => get::<Int64Type>(values, at),
            DataType::UInt8 => get::<UInt8Type>(values, at).map(i64::from),
            DataType::UInt16 => get::<UInt16Type>(values, at).map(i64::from),
            DataType::UInt32 => get::<UInt32Type>(values, at).map(i64::from),
            DataType::UInt64 => {
                get::<UInt64Type>(values, at).map(|number| i64::try_from(number).unwrap_or(i64::MAX))
            }
            _ => None,
        }
    }

    fn null(&self, at: usize) -> String {
        match self.name {
            TEXT => format!("`{TEXT}` is null"),
            name => format!("value {} of `{name}` is null", at + 1),
        }
    }
}
