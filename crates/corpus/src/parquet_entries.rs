//! The entries of a Parquet file, one a row, in the columns that Hugging Face `datasets` and JSON lines have.

use std::fs::File;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::vec::IntoIter;

use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{
    ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder,
};

use crate::class_labels::{METADATA_KEY, class_labels};
use crate::entry::{Content, Entry};
use crate::error::CorpusError;
use crate::parquet_columns::Columns;
use crate::read_options::TagNames;

/// Rows of a record batch.
const BATCH_ROWS: usize = 1024;

/// Reads the rows of a Parquet file, one row group after the other. Rows are counted as lines are.
pub(crate) struct ParquetEntries {
    path: PathBuf,
    file: File,
    metadata: ArrowReaderMetadata,
    columns: Columns,
    /// The names of numbered tags.
    names: Option<TagNames>,
    next_group: usize,
    batches: Option<ParquetRecordBatchReader>,
    rows: IntoIter<Result<Content, String>>,
    rows_read: usize,
}

impl ParquetEntries {
    /// The rows of a file. `labels` names the tags of a file whose tags are numbers without names.
    pub(crate) fn open(path: &Path, file: File, labels: Option<&TagNames>) -> Result<Self, CorpusError> {
        // Without the types of Arrow, strings of every kind and dictionaries of them are strings.
        let options = || ArrowReaderOptions::new().with_skip_arrow_metadata(true);
        let metadata = guarded(path, || {
            ArrowReaderMetadata::load(&file, options()).map_err(|error| error.to_string())
        })?;
        let unusable = |problem: String| CorpusError::Parquet {
            path: path.to_owned(),
            problem,
        };
        let columns = Columns::find(metadata.schema()).map_err(unusable)?;
        let own = match columns.tags {
            Some(tags) => own_names(&metadata, tags).map_err(unusable)?,
            None => None,
        };
        let names = match (own, labels) {
            (Some(own), Some(given)) if !own.names_as(given) => {
                return Err(unusable(
                    "--labels gives other names than the file itself has for its tags; leave out --labels"
                        .to_owned(),
                ));
            }
            (own, given) => own.or_else(|| given.cloned()),
        };
        Ok(Self {
            path: path.to_owned(),
            file,
            metadata,
            columns,
            names,
            next_group: 0,
            batches: None,
            rows: Vec::new().into_iter(),
            rows_read: 0,
        })
    }

    fn next_entry(&mut self) -> Result<Option<Entry>, CorpusError> {
        loop {
            if let Some(content) = self.rows.next() {
                self.rows_read += 1;
                let line = self.rows_read;
                return match content {
                    Ok(content) => Ok(Some(Entry { line, content })),
                    Err(problem) => Err(CorpusError::Line {
                        path: self.path.clone(),
                        line,
                        problem,
                    }),
                };
            }
            let path = self.path.clone();
            if let Some(batches) = &mut self.batches {
                let batch = guarded(&path, || {
                    batches.next().transpose().map_err(|error| error.to_string())
                })?;
                match batch {
                    Some(batch) => self.rows = self.columns.rows(&batch, self.names.as_ref()).into_iter(),
                    None => self.batches = None,
                }
                continue;
            }
            if self.next_group == self.metadata.metadata().num_row_groups() {
                return Ok(None);
            }
            self.batches = Some(guarded(&path, || self.open_group(self.next_group))?);
            self.next_group += 1;
        }
    }

    fn open_group(&self, group: usize) -> Result<ParquetRecordBatchReader, String> {
        let fields = self.metadata.schema().fields().iter().enumerate();
        let read = fields.filter(|(_, field)| self.columns.has(field.name()));
        let mask = ProjectionMask::roots(self.metadata.parquet_schema(), read.map(|(index, _)| index));
        let file = self.file.try_clone().map_err(|error| error.to_string())?;
        ParquetRecordBatchReaderBuilder::new_with_metadata(file, self.metadata.clone())
            .with_row_groups(vec![group])
            .with_projection(mask)
            .with_batch_size(BATCH_ROWS)
            .build()
            .map_err(|error| error.to_string())
    }
}

impl Iterator for ParquetEntries {
    type Item = Result<Entry, CorpusError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.next_entry().transpose()
    }
}

/// The names that the file has for the tags of a column.
fn own_names(metadata: &ArrowReaderMetadata, tags: &str) -> Result<Option<TagNames>, String> {
    let entries = metadata.metadata().file_metadata().key_value_metadata();
    let entry = entries.and_then(|entries| entries.iter().find(|entry| entry.key == METADATA_KEY));
    match entry.and_then(|entry| entry.value.as_deref()) {
        Some(features) => class_labels(features, tags),
        None => Ok(None),
    }
}

/// Calls the library that reads Parquet, which panics on some damaged files.
fn guarded<T>(path: &Path, read: impl FnOnce() -> Result<T, String>) -> Result<T, CorpusError> {
    let found = catch_unwind(AssertUnwindSafe(read));
    let found = found.unwrap_or_else(|_| Err("the file is damaged".to_owned()));
    found.map_err(|problem| CorpusError::Parquet {
        path: path.to_owned(),
        problem,
    })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow_array::builder::{Int32Builder, ListBuilder, StringBuilder};
    use arrow_array::{ArrayRef, Int64Array, RecordBatch, StringArray};
    use parquet::arrow::ArrowWriter;

    use super::*;
    use crate::corpus::Corpus;
    use crate::read_options::ReadOptions;
    use crate::words::read_words;

    fn fixture(name: &str) -> PathBuf {
        let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures");
        dir.join(format!("{name}.parquet"))
    }

    fn with_labels(labels: &str) -> ReadOptions {
        ReadOptions {
            labels: TagNames::of_file_or_list(labels).ok(),
            ..ReadOptions::default()
        }
    }

    const NAMES: &str = "O,B-PER,I-PER,B-LOC,I-LOC";

    #[test]
    fn every_type_that_datasets_and_pyarrow_write_is_read() {
        for (name, options) in [
            ("class_label", ReadOptions::default()),
            ("class_label", with_labels(NAMES)),
            ("large", ReadOptions::default()),
            ("views", ReadOptions::default()),
            ("dictionary", ReadOptions::default()),
            ("numbers", with_labels(NAMES)),
        ] {
            let corpus = Corpus::read_with(&fixture(name), &options).unwrap();
            let words: Vec<String> = corpus.words().iter().map(|words| words.join(" ")).collect();
            assert_eq!(words, ["Ann Lee sees Rome", "it rains", "New York !"], "{name}");
            let tags: Vec<String> = corpus.sentences.iter().map(|s| s.tags.join(" ")).collect();
            assert_eq!(tags, ["B-PER I-PER O B-LOC", "O O", "B-LOC I-LOC O"], "{name}");
            assert_eq!((corpus.line(0, 3), corpus.line(2, 1)), (1, 3), "{name}");
            assert_eq!(read_words(&fixture(name)).unwrap(), corpus.words(), "{name}");
        }
    }

    #[test]
    fn names_come_from_the_file_and_other_names_are_refused() {
        let error = |name, options: &ReadOptions| {
            Corpus::read_with(&fixture(name), options)
                .unwrap_err()
                .to_string()
        };
        let none = error("numbers", &ReadOptions::default());
        assert!(
            none.contains("numbers.parquet:1: tag 1 is a number; --labels"),
            "{none}"
        );
        let few = error("numbers", &with_labels("O,B-PER,I-PER"));
        assert!(
            few.contains("numbers.parquet:1: tag 3 has no name: --labels has 3 names"),
            "{few}"
        );
        let other = error("class_label", &with_labels("O,B-LOC,I-LOC,B-PER,I-PER"));
        assert!(
            other.contains("--labels gives other names than the file itself"),
            "{other}"
        );
    }

    /// The error of a file with these columns.
    fn refused(columns: Vec<(&str, ArrayRef)>) -> String {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.parquet");
        let batch = RecordBatch::try_from_iter_with_nullable(
            columns.into_iter().map(|(name, column)| (name, column, true)),
        )
        .unwrap();
        let file = File::create(&path).unwrap();
        let mut writer = ArrowWriter::try_new(file, batch.schema(), None).unwrap();
        writer.write(&batch).unwrap();
        writer.close().unwrap();
        Corpus::read(&path).unwrap_err().to_string()
    }

    fn words(rows: &[Option<&[Option<&str>]>]) -> ArrayRef {
        let mut lists = ListBuilder::new(StringBuilder::new());
        rows.iter()
            .for_each(|row| lists.append_option(row.map(|row| row.iter().copied())));
        Arc::new(lists.finish())
    }

    fn numbers(rows: &[&[Option<i32>]]) -> ArrayRef {
        let mut lists = ListBuilder::new(Int32Builder::new());
        rows.iter()
            .for_each(|row| lists.append_value(row.iter().copied()));
        Arc::new(lists.finish())
    }

    #[test]
    fn a_row_that_is_no_sentence_is_named() {
        let good = &[Some("a")][..];
        let of = |word: &[Option<&str>], tags: ArrayRef| {
            refused(vec![
                ("tokens", words(&[Some(good), Some(word)])),
                ("ner_tags", tags),
            ])
        };
        let tags = |tags: &[Option<&str>]| words(&[Some(&[Some("O")]), Some(tags)]);
        for (error, problem) in [
            (
                of(&[Some("b"), None], tags(&[Some("O"), Some("O")])),
                ":2: value 2 of `tokens` is null",
            ),
            (
                of(&[Some("b")], tags(&[None])),
                ":2: value 1 of `ner_tags` is null",
            ),
            (
                of(&[Some("b")], tags(&[Some("O"), Some("O")])),
                ":2: 1 words but 2 tags",
            ),
            (
                of(&[Some("b")], words(&[Some(good), None])),
                ":2: `ner_tags` is null",
            ),
            (of(&[Some("b")], tags(&[Some("X-y")])), ":2: tag `X-y` is not `O`"),
            (
                of(&[Some("b")], numbers(&[&[Some(0)], &[Some(-100)]])),
                ":1: tag 0 is a number; --labels",
            ),
            (
                refused(vec![("tokens", words(&[None, Some(good)]))]),
                ":1: `tokens` is null",
            ),
            (
                refused(vec![("words", words(&[Some(good)]))]),
                ":1: the words have no `tags`",
            ),
        ] {
            assert!(error.contains(&format!("a.parquet{problem}")), "{error}");
        }
    }

    #[test]
    fn a_file_without_columns_of_sentences_or_of_another_kind_is_refused() {
        let integers: ArrayRef = Arc::new(Int64Array::from(vec![1]));
        let strings: ArrayRef = Arc::new(StringArray::from(vec!["a"]));
        for (error, problem) in [
            (
                refused(vec![("id", integers.clone())]),
                "no column `tokens` or `words`",
            ),
            (
                refused(vec![("tokens", strings.clone())]),
                "column `tokens` is of type Utf8; it must be lists of strings",
            ),
            (
                refused(vec![("tokens", words(&[Some(&[Some("a")])])), ("tags", integers)]),
                "column `tags` is of type Int64; it must be lists of integers or strings",
            ),
            (refused(vec![("text", strings)]), "the text has no `entities`"),
        ] {
            assert!(error.contains(problem), "{error}");
        }
        let whole = std::fs::read(fixture("class_label")).unwrap();
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.parquet");
        let read = |bytes: &[u8]| {
            std::fs::write(&path, bytes).unwrap();
            Corpus::read(&path).unwrap_err().to_string()
        };
        for bytes in [
            &b""[..],
            b"Ann\tO\n",
            &whole[..whole.len() - 9],
            &whole[whole.len() / 2..],
        ] {
            let error = read(bytes);
            assert!(
                error.starts_with("cannot read ") && error.contains("a.parquet as a Parquet file"),
                "{error}"
            );
        }
        // Whatever byte is damaged, no panic escapes.
        for at in (0..whole.len()).step_by(37) {
            let mut bytes = whole.clone();
            bytes[at] ^= 0x55;
            std::fs::write(&path, bytes).unwrap();
            let _ = Corpus::read(&path);
        }
    }

    #[test]
    fn the_content_decides_where_the_extension_says_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("0000");
        std::fs::copy(fixture("class_label"), &path).unwrap();
        assert_eq!(Corpus::read(&path).unwrap().sentences.len(), 3);
    }
}
