//! The record batches of an input.

use std::io::{BufReader, Cursor, Read};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::thread::Builder;

use arrow_array::RecordBatch;
use arrow_ipc::reader::StreamReader;
use arrow_schema::{ArrowError, SchemaRef};
use futures_util::stream::{Stream, poll_fn};
use tokio::sync::mpsc;

use crate::offline::columns::error::TableError;
use crate::offline::work::TagFileError;

/// One record batch is read while another is tagged.
const BATCHES_AHEAD: usize = 1;

/// The first bytes of an Arrow IPC file, which no stream begins with.
const ARROW_FILE: &[u8] = b"ARRO";

/// A table, read on a thread of its own, little ahead of its use.
pub(crate) struct TableSource {
    path: PathBuf,
    messages: mpsc::Receiver<Result<Message, TableError>>,
}

/// What the thread of an input sends: its schema, then its record batches.
enum Message {
    Schema(SchemaRef),
    Batch(RecordBatch),
}

/// Takes what is read; `false` when nobody needs more.
type Take<'t> = &'t mut dyn FnMut(Message) -> bool;

impl TableSource {
    /// Begins to read an Arrow IPC stream.
    pub(crate) fn arrow(path: &Path, input: Box<dyn Read + Send>) -> Result<Self, TagFileError> {
        let named = path.to_owned();
        Self::start(path, "Arrow", move |take| read_arrow(&named, input, take))
    }

    fn start(
        path: &Path,
        format: &'static str,
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
            let read = read.unwrap_or(Err(TableError::Reader { path, format }));
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

    /// The schema, once it has arrived.
    pub(crate) async fn schema(&mut self) -> Result<SchemaRef, TableError> {
        match self.messages.recv().await.transpose()? {
            Some(Message::Schema(schema)) => Ok(schema),
            Some(Message::Batch(_)) | None => Err(TableError::Arrow {
                path: self.path.clone(),
                source: ArrowError::IpcError("it has no schema".to_owned()),
            }),
        }
    }

    /// The record batches, after the schema.
    pub(crate) fn batches(mut self) -> impl Stream<Item = Result<RecordBatch, TableError>> + Unpin {
        poll_fn(move |context| {
            let message = self.messages.poll_recv(context);
            message.map(|message| match message? {
                Ok(Message::Batch(batch)) => Some(Ok(batch)),
                Ok(Message::Schema(_)) => None,
                Err(error) => Some(Err(error)),
            })
        })
    }
}

fn read_arrow(path: &Path, mut input: Box<dyn Read + Send>, take: Take) -> Result<(), TableError> {
    let failed = |source| TableError::Arrow {
        path: path.to_owned(),
        source,
    };
    let mut start = Vec::new();
    let read = (&mut input).take(ARROW_FILE.len() as u64).read_to_end(&mut start);
    read.map_err(|error| failed(error.into()))?;
    if start == ARROW_FILE {
        return Err(TableError::ArrowFile {
            path: path.to_owned(),
        });
    }
    let input = Cursor::new(start).chain(BufReader::new(input));
    let batches = StreamReader::try_new(input, None).map_err(failed)?;
    if !take(Message::Schema(batches.schema())) {
        return Ok(());
    }
    for batch in batches {
        if !take(Message::Batch(batch.map_err(failed)?)) {
            return Ok(());
        }
    }
    Ok(())
}
