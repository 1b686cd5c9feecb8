//! A file to a stream of chunks.

use std::fs::File;
use std::io::{ErrorKind, Read, Stdin, stdin};
use std::path::Path;
use std::thread::Builder;

use bytes::Bytes;
use futures_util::stream::{Stream, poll_fn};
use tokio::sync::mpsc;

use crate::offline::work::TagFileError;

const CHUNK_BYTES: usize = 64 << 10;
/// One chunk is read while another is split into lines.
const CHUNKS_AHEAD: usize = 1;

/// An open input.
pub(crate) enum InputFile {
    Standard(Stdin),
    File {
        file: File,
        /// The size in bytes where that is known.
        size: Option<u64>,
    },
}

impl InputFile {
    /// The file, or standard input for `-`.
    pub(crate) fn open(path: &Path) -> Result<Self, TagFileError> {
        if path == Path::new("-") {
            return Ok(Self::Standard(stdin()));
        }
        let opened = File::open(path).and_then(|file| Ok((file.metadata()?, file)));
        let (metadata, file) = opened.map_err(|source| TagFileError::Read {
            path: path.to_owned(),
            source,
        })?;
        let size = metadata.is_file().then_some(metadata.len());
        Ok(Self::File { file, size })
    }

    /// The size in bytes where that is known.
    pub(crate) fn size(&self) -> Option<u64> {
        match self {
            Self::Standard(_) => None,
            Self::File { size, .. } => *size,
        }
    }
}

impl Read for InputFile {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        match self {
            Self::Standard(stdin) => stdin.read(buffer),
            Self::File { file, .. } => file.read(buffer),
        }
    }
}

/// What an input yields, read on a thread of its own, little ahead of its use.
pub(crate) fn chunks(
    mut reader: InputFile,
) -> std::io::Result<impl Stream<Item = std::io::Result<Bytes>> + Unpin> {
    let (sender, mut receiver) = mpsc::channel(CHUNKS_AHEAD);
    // Not joined: a thread that waits for a terminal or a pipe ends with the process.
    Builder::new().name("nerve-input".to_owned()).spawn(move || {
        loop {
            let mut chunk = vec![0; CHUNK_BYTES];
            let read = match reader.read(&mut chunk) {
                Ok(0) => return,
                Ok(bytes) => {
                    chunk.truncate(bytes);
                    Ok(Bytes::from(chunk))
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) => Err(error),
            };
            let failed = read.is_err();
            if sender.blocking_send(read).is_err() || failed {
                return;
            }
        }
    })?;
    Ok(poll_fn(move |context| receiver.poll_recv(context)))
}
