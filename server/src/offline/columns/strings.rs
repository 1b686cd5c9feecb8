//! Columns of strings, of any of Arrow's types for them.

use arrow_array::cast::AsArray;
use arrow_array::{Array, ArrayRef, LargeStringArray, StringArray, StringViewArray};
use arrow_schema::DataType;

/// A column of strings.
pub(crate) enum Strings {
    Utf8(StringArray),
    LargeUtf8(LargeStringArray),
    Utf8View(StringViewArray),
    Dictionary {
        /// The index of each row's value; of a null row, any index.
        keys: Vec<usize>,
        rows: ArrayRef,
        values: Box<Strings>,
    },
}

impl Strings {
    /// Whether columns of the type are strings.
    pub(crate) fn are(data_type: &DataType) -> bool {
        match data_type {
            DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => true,
            DataType::Dictionary(_, values) => {
                matches!(
                    **values,
                    DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View
                )
            }
            _ => false,
        }
    }

    /// The strings of a column; `None` for a column of another type.
    pub(crate) fn of(column: &ArrayRef) -> Option<Self> {
        match column.data_type() {
            DataType::Utf8 => column.as_string_opt().cloned().map(Self::Utf8),
            DataType::LargeUtf8 => column.as_string_opt().cloned().map(Self::LargeUtf8),
            DataType::Utf8View => column.as_string_view_opt().cloned().map(Self::Utf8View),
            DataType::Dictionary(_, _) => {
                let dictionary = column.as_any_dictionary_opt()?;
                let values = dictionary.values();
                let keys = match values.is_empty() {
                    // Every row is null.
                    true => Vec::new(),
                    false => dictionary.normalized_keys(),
                };
                Some(Self::Dictionary {
                    keys,
                    rows: ArrayRef::clone(column),
                    values: Box::new(Self::of(values)?),
                })
            }
            _ => None,
        }
    }

    /// The string of a row, which is one of the column; `None` if it is null.
    pub(crate) fn get(&self, row: usize) -> Option<&str> {
        match self {
            Self::Utf8(strings) => strings.is_valid(row).then(|| strings.value(row)),
            Self::LargeUtf8(strings) => strings.is_valid(row).then(|| strings.value(row)),
            Self::Utf8View(strings) => strings.is_valid(row).then(|| strings.value(row)),
            Self::Dictionary { keys, rows, values } => match rows.is_valid(row) {
                true => values.get(*keys.get(row)?),
                false => None,
            },
        }
    }
}
