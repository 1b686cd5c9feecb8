//! The record batches of an input.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::thread::Builder;

use arrow_array::RecordBatch;
use futures_util::stream::{Stream, poll_fn};
use tokio::sync::mpsc;

use crate::offline::columns::arrow_input::read_arrow;
use crate::offline::columns::error::TableError;
use crate::offline::columns::message::{Message, TableHead, Take};
use crate::offline::columns::parquet_input::read_parquet;
use crate::offline::input::InputFile;
use crate::offline::work::TagFileError;

/// One record batch is read while another is tagged.
const BATCHES_AHEAD: usize = 1;

/// A table, read on a thread of its own, little ahead of its use.
pub(crate) struct TableSource {
    path: PathBuf,
    messages: mpsc::Receiver<Result<Message, TableError>>,
}

impl TableSource {
    /// Begins to read an Arrow IPC stream.
    pub(crate) fn arrow(path: &Path, input: InputFile) -> Result<Self, TagFileError> {
        let named = path.to_owned();
        Self::start(path, move |take| read_arrow(&named, input, take))
    }

    /// Begins to read a Parquet file.
    pub(crate) fn parquet(path: &Path, input: InputFile) -> Result<Self, TagFileError> {
        let named = path.to_owned();
        let InputFile::File { file, size: Some(_) } = input else {
            return Err(TableError::ParquetPipe { path: named }.into());
        };
        Self::start(path, move |take| read_parquet(&named, &file, take))
    }

    fn start(
        path: &Path,
        read: impl FnOnce(Take) -> Result<(), TableError> + Send + 'static,
    ) -> Result<Self, TagFileError> {
        let (sender, messages) = mpsc::channel(BATCHES_AHEAD);
        let named = path.to_owned();
        // Not joined: a thread that waits for a terminal or a pipe ends with the process.
        let thread = Builder::new().name("nerve-input".to_owned());
        let spawned = thread.spawn(move || {
            let mut take = |message| sender.blocking_send(Ok(message)).is_ok();
            // The libraries that read tables panic on some damaged ones.
            let read = catch_unwind(AssertUnwindSafe(|| read(&mut take)));
            let path = named;
            let read = read.unwrap_or(Err(TableError::Damaged { path }));
            if let Err(error) = read {
                let _ = sender.blocking_send(Err(error));
            }
        });
        spawned.map_err(|source| TagFileError::Read {
            path: path.to_owned(),
            source,
        })?;
        let path = path.to_owned();
        Ok(Self { path, messages })
    }

    /// The head, once it has arrived.
    pub(crate) async fn head(&mut self) -> Result<TableHead, TableError> {
        match self.messages.recv().await.transpose()? {
            Some(Message::Head(head)) => Ok(head),
            Some(Message::Batch(_)) | None => Err(TableError::Damaged {
                path: self.path.clone(),
            }),
        }
    }

    /// The record batches, after the head.
    pub(crate) fn batches(mut self) -> impl Stream<Item = Result<RecordBatch, TableError>> + Unpin {
        poll_fn(move |context| {
            let message = self.messages.poll_recv(context);
            message.map(|message| match message? {
                Ok(Message::Batch(batch)) => Some(Ok(batch)),
                Ok(Message::Head(_)) => None,
                Err(error) => Some(Err(error)),
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Seek, SeekFrom, Write};
    use std::sync::Arc;

    use super::*;
    use arrow_array::builder::{ListBuilder, StringBuilder};
    use arrow_array::types::Int8Type;
    use arrow_array::{ArrayRef, DictionaryArray, Float64Array, StringArray, StringViewArray};
    use arrow_ipc::CompressionType;
    use arrow_ipc::writer::{IpcWriteOptions, StreamWriter};
    use futures_util::StreamExt;
    use parquet::arrow::ArrowWriter;
    use parquet::basic::Compression;
    use parquet::file::properties::WriterProperties;

    fn batch() -> RecordBatch {
        let mut lists = ListBuilder::new(StringBuilder::new());
        lists.append_value([Some("a"), None]);
        lists.append_null();
        lists.append_value([Some("b")]);
        let rows = [Some("Ann went to Oslo"), None, Some("Bob")];
        let columns: [(&str, ArrayRef); 5] = [
            ("text", Arc::new(StringArray::from_iter(rows))),
            ("view", Arc::new(StringViewArray::from_iter(rows))),
            ("kind", Arc::new(DictionaryArray::<Int8Type>::from_iter(rows))),
            ("list", Arc::new(lists.finish())),
            (
                "score",
                Arc::new(Float64Array::from(vec![Some(0.5), None, Some(1.0)])),
            ),
        ];
        RecordBatch::try_from_iter_with_nullable(columns.map(|(name, column)| (name, column, true))).unwrap()
    }

    fn stream(compression: Option<CompressionType>) -> Vec<u8> {
        let batch = batch();
        let options = IpcWriteOptions::default()
            .try_with_compression(compression)
            .unwrap();
        let mut writer = StreamWriter::try_new_with_options(Vec::new(), &batch.schema(), options).unwrap();
        writer.write(&batch).unwrap();
        writer.write(&batch.slice(1, 2)).unwrap();
        writer.into_inner().unwrap()
    }

    fn parquet(compression: Compression) -> Vec<u8> {
        let batch = batch();
        let properties = WriterProperties::builder().set_compression(compression).build();
        let mut writer = ArrowWriter::try_new(Vec::new(), batch.schema(), Some(properties)).unwrap();
        writer.write(&batch).unwrap();
        writer.flush().unwrap();
        writer.write(&batch).unwrap();
        writer.into_inner().unwrap()
    }

    /// The rows of a table, or the message of its error.
    async fn rows(bytes: &[u8], is_parquet: bool) -> Result<usize, String> {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(bytes).unwrap();
        file.seek(SeekFrom::Start(0)).unwrap();
        let size = Some(bytes.len() as u64);
        let input = InputFile::File { file, size };
        let mut source = match is_parquet {
            true => TableSource::parquet(Path::new("a.parquet"), input),
            false => TableSource::arrow(Path::new("a.arrows"), input),
        }
        .unwrap();
        source.head().await.map_err(|error| error.to_string())?;
        let mut rows = 0;
        let mut batches = source.batches();
        while let Some(batch) = batches.next().await {
            rows += batch.map_err(|error| error.to_string())?.num_rows();
        }
        Ok(rows)
    }

    #[tokio::test]
    async fn a_damaged_table_is_an_error_that_names_the_file() {
        let zstd = Compression::ZSTD(Default::default());
        let tables = [
            (stream(None), false, 5),
            (stream(Some(CompressionType::ZSTD)), false, 5),
            (stream(Some(CompressionType::LZ4_FRAME)), false, 5),
            (parquet(Compression::UNCOMPRESSED), true, 6),
            (parquet(zstd), true, 6),
        ];
        let mut random = 1_u64;
        let mut next = |below: usize| {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (random >> 33) as usize % below
        };
        for (table, is_parquet, expected) in tables {
            assert_eq!(rows(&table, is_parquet).await, Ok(expected));
            let mut refused = 0;
            for round in 0..400 {
                let mut damaged = table.clone();
                let at = next(damaged.len());
                match round % 4 {
                    0 => damaged.truncate(at),
                    1 => damaged[at] ^= 1 << next(8),
                    2 => damaged[at] = [0, 0x7f, 0x80, 0xff][next(4)],
                    _ => {
                        damaged.remove(at);
                    }
                }
                if let Err(error) = rows(&damaged, is_parquet).await {
                    let name = if is_parquet { "a.parquet" } else { "a.arrows" };
                    assert!(error.contains(name), "{error}");
                    refused += 1;
                }
            }
            assert!(refused > 100, "{refused}");
        }
    }

    #[tokio::test]
    async fn a_length_beyond_the_memory_is_an_error() {
        for compression in [CompressionType::ZSTD, CompressionType::LZ4_FRAME] {
            let whole = stream(Some(compression));
            let mut refused = 0;
            for at in (0..whole.len() - 8).step_by(8) {
                let mut damaged = whole.clone();
                damaged[at..at + 8].copy_from_slice(&(i64::MAX >> 16).to_le_bytes());
                let found = rows(&damaged, false).await;
                refused +=
                    usize::from(found.is_err_and(|error| error.contains("a compressed buffer has a length")));
            }
            assert!(refused > 5, "{refused}");
        }
    }

    #[tokio::test]
    async fn a_file_of_another_kind_is_refused() {
        let cases: [(&[u8], bool, &str); 7] = [
            (b"", false, "empty stream"),
            (
                b"\xff\xff\xff",
                false,
                "cannot read a.arrows as an Arrow IPC stream",
            ),
            (b"", true, "cannot read a.parquet as a Parquet file"),
            (
                b"{\"text\": \"Ann\"}\n",
                false,
                "cannot read a.arrows as an Arrow IPC stream",
            ),
            (b"{\"text\": \"Ann\"}\n", true, "Invalid Parquet file"),
            (
                b"ARROW1\0\0",
                false,
                "an Arrow IPC file; give an Arrow IPC stream",
            ),
            (b"PAR1\x15\x04\x15\0\x08\0\0\0PARE", true, "encrypt"),
        ];
        for (bytes, is_parquet, problem) in cases {
            let error = rows(bytes, is_parquet).await.unwrap_err();
            assert!(error.contains(problem), "{error}");
        }
        let pipe = InputFile::File {
            file: tempfile::tempfile().unwrap(),
            size: None,
        };
        let refused = TableSource::parquet(Path::new("-"), pipe)
            .err()
            .unwrap()
            .to_string();
        assert!(refused.starts_with("- is not a regular file"), "{refused}");
    }
}
