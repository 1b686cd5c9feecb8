//! The body of a request without its content coding.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use actix_web::error::PayloadError;
use actix_web::web::Bytes;
use async_compression::tokio::bufread::{GzipDecoder, ZlibDecoder};
use futures_util::StreamExt;
use futures_util::stream::Stream;
use nerve_engine::wake_after_others;
use tokio_util::io::{ReaderStream, StreamReader};

use crate::http::coding::Coding;

/// Bytes that one chunk is decompressed to at most.
const PIECE_BYTES: usize = 64 << 10;
/// Compressed bytes that one poll takes at most: they may be thousands of streams in a row that give no output.
const POLL_BYTES: usize = 16 << 10;
/// Memory of a decoder: its window, its tables and its output.
pub(crate) const DECODER_BYTES: usize = 128 << 10;

/// The chunks of a body, decompressed piece by piece as they are taken.
pub(crate) enum BodyStream<S> {
    Plain(S),
    Compressed(Coding, Pin<Box<dyn Stream<Item = io::Result<Bytes>>>>),
}

/// Why a body ends early.
#[derive(Debug)]
pub(crate) enum BodyError {
    /// The client left, or the body's framing is broken.
    Payload,
    /// The bytes are not what `content-encoding` says, or end too early.
    Corrupt(Coding),
}

impl<S: Stream<Item = Result<Bytes, PayloadError>> + Unpin + 'static> BodyStream<S> {
    /// The body's chunks, which have this coding.
    pub(crate) fn new(payload: S, coding: Option<Coding>) -> Self {
        let Some(coding) = coding else {
            return Self::Plain(payload);
        };
        let reader = StreamReader::new(Paced::new(payload).map(|chunk| chunk.map_err(io::Error::other)));
        // Both formats allow several compressed streams in a row. Anything else behind the first is an error.
        let decoded: Pin<Box<dyn Stream<Item = io::Result<Bytes>>>> = match coding {
            Coding::Gzip => {
                let mut decoder = GzipDecoder::new(reader);
                decoder.multiple_members(true);
                Box::pin(ReaderStream::with_capacity(decoder, PIECE_BYTES))
            }
            Coding::Deflate => {
                let mut decoder = ZlibDecoder::new(reader);
                decoder.multiple_members(true);
                Box::pin(ReaderStream::with_capacity(decoder, PIECE_BYTES))
            }
        };
        Self::Compressed(coding, decoded)
    }
}

impl<S: Stream<Item = Result<Bytes, PayloadError>> + Unpin> Stream for BodyStream<S> {
    type Item = Result<Bytes, BodyError>;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        match self.get_mut() {
            Self::Plain(payload) => payload
                .poll_next_unpin(context)
                .map(|chunk| chunk.map(|chunk| chunk.map_err(|_| BodyError::Payload))),
            Self::Compressed(coding, decoded) => {
                let coding = *coding;
                decoded
                    .poll_next_unpin(context)
                    .map(|chunk| chunk.map(|chunk| chunk.map_err(|error| BodyError::of(error, coding))))
            }
        }
    }
}

/// The chunks of a stream in pieces of at most [`POLL_BYTES`]. Other tasks of the thread have their turn between two.
struct Paced<S> {
    input: S,
    rest: Bytes,
    /// Whether a piece was given since the last turn of others.
    gave: bool,
}

impl<S> Paced<S> {
    fn new(input: S) -> Self {
        Self {
            input,
            rest: Bytes::new(),
            gave: false,
        }
    }
}

impl<S: Stream<Item = Result<Bytes, PayloadError>> + Unpin> Stream for Paced<S> {
    type Item = Result<Bytes, PayloadError>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if std::mem::take(&mut self.gave) {
            wake_after_others(context);
            return Poll::Pending;
        }
        if self.rest.is_empty() {
            match ready!(self.input.poll_next_unpin(context)) {
                Some(Ok(chunk)) => self.rest = chunk,
                end => return Poll::Ready(end),
            }
        }
        self.gave = true;
        let piece = self.rest.len().min(POLL_BYTES);
        Poll::Ready(Some(Ok(self.rest.split_to(piece))))
    }
}

impl BodyError {
    /// The payload's own error, or the decoder's.
    fn of(error: io::Error, coding: Coding) -> Self {
        match error.downcast::<PayloadError>() {
            Ok(_) => Self::Payload,
            Err(_) => Self::Corrupt(coding),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use super::*;
    use crate::http::compress::Encoder;
    use futures_util::stream;

    async fn decoded(bytes: &[u8], coding: Coding, chunk: usize) -> Result<Vec<u8>, BodyError> {
        let chunks: Vec<_> = bytes
            .chunks(chunk)
            .map(|part| Ok(Bytes::copy_from_slice(part)))
            .collect();
        let mut body = BodyStream::new(stream::iter(chunks), Some(coding));
        let mut all = Vec::new();
        while let Some(chunk) = body.next().await {
            let chunk = chunk?;
            assert!(chunk.len() <= PIECE_BYTES);
            all.extend_from_slice(&chunk);
        }
        Ok(all)
    }

    #[tokio::test]
    async fn a_body_is_what_was_compressed_and_nothing_else_is_taken() {
        let text = b"Paul met Paul in Paris. ".repeat(20_000);
        for coding in [Coding::Gzip, Coding::Deflate] {
            let mut encoder = Encoder::new(coding);
            let mut packed = encoder.compress(&text).unwrap();
            packed.extend(encoder.finish().unwrap());
            for chunk in [1, 100, packed.len()] {
                assert_eq!(decoded(&packed, coding, chunk).await.unwrap(), text);
            }
            let twice = [packed.as_slice(), &packed].concat();
            assert_eq!(decoded(&twice, coding, 100).await.unwrap().len(), 2 * text.len());
            let mut changed = packed.clone();
            let middle = changed.len() / 2;
            changed[middle] ^= 0x55;
            let garbage = [packed.as_slice(), b"garbage"].concat();
            let cut = &packed[..packed.len() - 1];
            for wrong in [
                b"".as_slice(),
                &[0],
                b"plain text",
                cut,
                &packed[..20],
                &changed,
                &garbage,
            ] {
                let outcome = decoded(wrong, coding, 100).await;
                assert!(
                    matches!(outcome, Err(BodyError::Corrupt(_))),
                    "{coding}, {} bytes",
                    wrong.len()
                );
            }
        }
    }

    #[tokio::test]
    async fn a_poll_takes_few_of_many_streams_without_output() {
        for coding in [Coding::Gzip, Coding::Deflate] {
            let empty = Encoder::new(coding).finish().unwrap();
            let input = Bytes::from(empty.repeat(20_000));
            let least = input.len() / POLL_BYTES;
            let chunks = stream::iter([Ok(input)]);
            let mut body = BodyStream::new(chunks, Some(coding));
            let mut polls = 0;
            let chunk = poll_fn(|context| {
                polls += 1;
                body.poll_next_unpin(context)
            });
            assert!(chunk.await.is_none());
            assert!(polls > least, "{coding}: {polls} polls");
        }
    }

    #[tokio::test]
    async fn the_clients_own_error_stays_its_own() {
        let chunks = [Err(PayloadError::Incomplete(None))];
        let mut body = BodyStream::new(stream::iter(chunks), Some(Coding::Gzip));
        assert!(matches!(body.next().await, Some(Err(BodyError::Payload))));
    }
}
