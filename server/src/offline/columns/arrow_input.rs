//! An Arrow IPC stream to record batches.

use std::io::{BufReader, Cursor, Read};
use std::path::Path;

use arrow_ipc::reader::StreamReader;
use parquet::basic::{Compression, ZstdLevel};

use crate::offline::columns::error::TableError;
use crate::offline::columns::ipc_messages::IpcMessages;
use crate::offline::columns::message::{Message, TableHead, Take};
use crate::offline::input::InputFile;

/// The first bytes of an Arrow IPC file, with which no stream begins.
const ARROW_FILE: &[u8] = b"ARRO";

/// Reads an Arrow IPC stream. Never more than the record batch that is waited for.
pub(crate) fn read_arrow(path: &Path, mut input: InputFile, take: Take) -> Result<(), TableError> {
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
    let input = IpcMessages::new(Cursor::new(start).chain(BufReader::new(input)));
    let batches = StreamReader::try_new(input, None).map_err(failed)?;
    let head = TableHead {
        schema: batches.schema(),
        rows: None,
        compression: Compression::ZSTD(ZstdLevel::default()),
    };
    if !take(Message::Head(head)) {
        return Ok(());
    }
    for batch in batches {
        if !take(Message::Batch(batch.map_err(failed)?)) {
            return Ok(());
        }
    }
    Ok(())
}
