//! How a file of labeled sentences is read.

use std::num::NonZeroUsize;
use std::path::Path;

use crate::error::CorpusError;

/// What a file does not say of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ReadOptions {
    /// The column of CoNLL that holds the word, counted from 1; the first where absent.
    pub word_column: Option<NonZeroUsize>,
    /// The column of CoNLL that holds the tag, counted from 1; the last where absent.
    pub tag_column: Option<NonZeroUsize>,
    /// The names of the numbers that JSON lines have as tags; absent where tags are names.
    pub labels: Option<TagNames>,
}

/// The number of a column, which counts from 1.
pub fn parse_column(given: &str) -> Result<NonZeroUsize, &'static str> {
    let column: usize = given.parse().map_err(|_| "expected the number of a column")?;
    NonZeroUsize::new(column).ok_or("columns count from 1")
}

/// The names of tags that a file gives as numbers, by number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TagNames(Vec<String>);

impl TagNames {
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
            None if !names.is_empty() => Ok(Self(names)),
            at => Err(CorpusError::TagNames {
                given: value.to_owned(),
                problem: match at {
                    Some(at) => format!("name {} is empty", at + 1),
                    None => "there is no name".to_owned(),
                },
            }),
        }
    }

    /// The name of a number.
    pub(crate) fn name(&self, number: u64) -> Option<&str> {
        let number = usize::try_from(number).ok()?;
        self.0.get(number).map(String::as_str)
    }

    /// The number of names.
    pub(crate) fn len(&self) -> usize {
        self.0.len()
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
            assert_eq!((names.name(2), names.name(3)), (Some("I-PER"), None));
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
        assert_eq!(TagNames::of_file_or_list("O").unwrap().len(), 1);
    }

    #[test]
    fn columns_count_from_1() {
        assert_eq!(parse_column("2").map(NonZeroUsize::get), Ok(2));
        assert_eq!(parse_column("0"), Err("columns count from 1"));
        assert!(parse_column("-1").is_err() && parse_column("x").is_err());
    }
}
