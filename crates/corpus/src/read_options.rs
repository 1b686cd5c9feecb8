//! How a file of labeled sentences is read.

use std::num::NonZeroUsize;
use std::path::Path;

use crate::error::CorpusError;
use crate::label_map::LabelMap;

/// What a file does not say of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ReadOptions {
    /// The column of CoNLL that holds the word, counted from 1; the first where absent.
    pub word_column: Option<NonZeroUsize>,
    /// The column of CoNLL that holds the tag, counted from 1; the last where absent.
    pub tag_column: Option<NonZeroUsize>,
    /// The names of the numbers that JSON lines and Parquet files have as tags; absent where tags are names.
    pub labels: Option<TagNames>,
    /// The entity types that are merged, renamed or dropped.
    pub label_map: Option<LabelMap>,
}

/// The number of a column, which counts from 1.
pub fn parse_column(given: &str) -> Result<NonZeroUsize, &'static str> {
    let column: usize = given.parse().map_err(|_| "expected the number of a column")?;
    NonZeroUsize::new(column).ok_or("columns count from 1")
}

/// The names of tags that a file gives as numbers, by number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TagNames {
    names: Vec<String>,
    /// Who gives the names, for errors.
    giver: &'static str,
}

impl TagNames {
    /// The names in the metadata of a file; `None` if there is none, or an empty one.
    pub(crate) fn new(names: Vec<String>) -> Option<Self> {
        let is_usable = !names.is_empty() && names.iter().all(|name| !name.is_empty());
        is_usable.then_some(Self {
            names,
            giver: "the file",
        })
    }

    /// The names in a file, one a line or as a JSON array, or in a list separated by commas: `O,B-PER,I-PER`.
    pub fn of_file_or_list(value: &str) -> Result<Self, CorpusError> {
        let path = Path::new(value);
        let is_path = value.contains('/') || path.extension().is_some();
        if is_path && !value.contains(',') && !value.starts_with('[') && !path.is_file() {
            return Err(CorpusError::TagNames {
                given: value.to_owned(),
                problem: "there is no such file, and a list has names separated by commas".to_owned(),
            });
        }
        let text = match path.is_file() {
            true => std::fs::read_to_string(path).map_err(|source| CorpusError::Read {
                path: path.to_owned(),
                source,
            })?,
            false => value.replace(',', "\n"),
        };
        let text = text.strip_prefix('\u{feff}').unwrap_or(&text);
        let names: Vec<String> = match text.trim_start().starts_with('[') {
            true => serde_json::from_str(text).map_err(|error| CorpusError::TagNames {
                given: value.to_owned(),
                problem: format!("not a JSON array of names: {error}"),
            })?,
            false => text.lines().map(|name| name.trim().to_owned()).collect(),
        };
        match names.iter().position(String::is_empty) {
            None if !names.is_empty() => Ok(Self {
                names,
                giver: "--labels",
            }),
            at => Err(CorpusError::TagNames {
                given: value.to_owned(),
                problem: match at {
                    Some(at) => format!("name {} is empty", at + 1),
                    None => "there is no name".to_owned(),
                },
            }),
        }
    }

    /// The name of a number; an error says which numbers have one.
    pub(crate) fn resolve(&self, number: i64) -> Result<String, String> {
        let name = usize::try_from(number)
            .ok()
            .and_then(|number| self.names.get(number));
        name.cloned().ok_or_else(|| {
            let named = match self.names.len() {
                1 => "1 name, for 0".to_owned(),
                2 => "2 names, for 0 and 1".to_owned(),
                count => format!("{count} names, for 0 to {}", count.saturating_sub(1)),
            };
            format!("tag {number} has no name: {} has {named}", self.giver)
        })
    }

    /// Whether both give the same names.
    pub(crate) fn names_as(&self, other: &Self) -> bool {
        self.names == other.names
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_come_from_a_list_a_file_of_lines_or_a_json_array() {
        let dir = tempfile::tempdir().unwrap();
        let file = |text: &str| {
            let path = dir.path().join("labels");
            std::fs::write(&path, text).unwrap();
            path.to_str().unwrap().to_owned()
        };
        for given in [
            "O,B-PER, I-PER".to_owned(),
            file("\u{feff}O\nB-PER\r\nI-PER\n"),
            file("[\"O\", \"B-PER\", \"I-PER\"]"),
        ] {
            let names = TagNames::of_file_or_list(&given).unwrap();
            assert_eq!(
                (names.resolve(2), names.resolve(3).is_err()),
                (Ok("I-PER".to_owned()), true)
            );
        }
        for (given, problem) in [
            ("O,,B", "name 2 is empty"),
            ("", "no name"),
            ("nofile.txt", "labels `nofile.txt`: there is no such file"),
            ("data/nofile", "there is no such file"),
            ("[1]", "not a JSON array"),
        ] {
            let error = TagNames::of_file_or_list(given).unwrap_err().to_string();
            assert!(error.contains(problem), "{error}");
        }
        assert_eq!(TagNames::of_file_or_list("O").unwrap().names.len(), 1);
    }

    #[test]
    fn columns_count_from_1() {
        assert_eq!(parse_column("2").map(NonZeroUsize::get), Ok(2));
        assert_eq!(parse_column("0"), Err("columns count from 1"));
        assert!(parse_column("-1").is_err() && parse_column("x").is_err());
    }
}
