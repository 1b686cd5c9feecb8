//! The messages of an Arrow IPC stream, checked before the library reads them.

use std::io::{Cursor, Error, ErrorKind, Read, Result};

use arrow_ipc::{RecordBatch, root_as_message};

/// What precedes the length of a message, since version 0.15 of the format.
const CONTINUATION: [u8; 4] = [0xff; 4];

/// Bytes of the length that precedes a compressed buffer.
const LENGTH_BYTES: usize = size_of::<i64>();

/// The bytes of a stream, a message at a time.
///
/// A compressed buffer begins with the length that it has when decompressed. The library allocates that many bytes, which ends the
/// process where a damaged length exceeds the memory; such a message is an error here. Nothing is read ahead of the message that
/// is asked for.
pub(crate) struct IpcMessages<R> {
    input: R,
    /// The start of the message, as far as it was read here.
    start: Cursor<Vec<u8>>,
    /// Bytes of the message that follow in `input`.
    rest: u64,
}

impl<R: Read> IpcMessages<R> {
    /// The messages of a stream.
    pub(crate) fn new(input: R) -> Self {
        Self {
            input,
            start: Cursor::default(),
            rest: 0,
        }
    }

    /// Appends so many bytes of the input, or fewer at its end.
    fn append(&mut self, to: &mut Vec<u8>, bytes: u64) -> Result<()> {
        (&mut self.input).take(bytes).read_to_end(to).map(drop)
    }

    /// The start of the next message; empty at the end of the stream.
    fn next_start(&mut self) -> Result<Vec<u8>> {
        let mut start = Vec::new();
        let mut length = [0; 4];
        self.append(&mut start, length.len() as u64)?;
        if start.is_empty() {
            return Ok(start);
        }
        if start == CONTINUATION {
            self.append(&mut start, length.len() as u64)?;
        }
        let metadata_at = start.len();
        let prefix = start.last_chunk::<4>().ok_or(ErrorKind::UnexpectedEof)?;
        length.copy_from_slice(prefix);
        // The library reports a length or a message that is not valid.
        let Ok(metadata_bytes) = u64::try_from(i32::from_le_bytes(length)) else {
            return Ok(start);
        };
        self.append(&mut start, metadata_bytes)?;
        let Ok(message) = root_as_message(start.get(metadata_at..).unwrap_or_default()) else {
            return Ok(start);
        };
        let body_bytes = u64::try_from(message.bodyLength()).unwrap_or(0);
        let dictionary = message.header_as_dictionary_batch();
        let batch = message.header_as_record_batch().or_else(|| dictionary?.data());
        match batch.and_then(compressed_buffers) {
            None => self.rest = body_bytes,
            Some(buffers) => {
                let body_at = start.len();
                self.append(&mut start, body_bytes)?;
                let body = start.get(body_at..).unwrap_or_default();
                buffers.into_iter().try_for_each(|at| check_length(body, at))?;
            }
        }
        Ok(start)
    }
}

impl<R: Read> Read for IpcMessages<R> {
    fn read(&mut self, buffer: &mut [u8]) -> Result<usize> {
        let read = self.start.read(buffer)?;
        if read > 0 || buffer.is_empty() {
            return Ok(read);
        }
        if self.rest > 0 {
            let read = (&mut self.input).take(self.rest).read(buffer)?;
            self.rest -= read as u64;
            return Ok(read);
        }
        self.start = Cursor::new(self.next_start()?);
        self.start.read(buffer)
    }
}

/// Where the buffers begin in the body of a record batch, if they are compressed.
fn compressed_buffers(batch: RecordBatch) -> Option<Vec<usize>> {
    batch.compression()?;
    let buffers = batch.buffers().into_iter().flatten();
    let begin = buffers.filter(|buffer| buffer.length() > 0);
    Some(
        begin
            .filter_map(|buffer| usize::try_from(buffer.offset()).ok())
            .collect(),
    )
}

/// Checks that memory for the buffer at a place of the body can be had.
fn check_length(body: &[u8], at: usize) -> Result<()> {
    let length = body.get(at..).and_then(<[u8]>::first_chunk::<LENGTH_BYTES>);
    // Negative for a buffer that is not compressed. The library reports a buffer that lacks its length.
    let bytes = length.map_or(0, |length| i64::from_le_bytes(*length));
    let bytes = usize::try_from(bytes).unwrap_or(0);
    Vec::<u8>::new().try_reserve_exact(bytes).map_err(|_| {
        let problem = format!("a compressed buffer has a length of {bytes} bytes");
        Error::new(ErrorKind::InvalidData, problem)
    })
}
