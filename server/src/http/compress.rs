//! Answers in the content coding that the client prefers.

use std::error::Error as StdError;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use actix_web::Error;
use actix_web::body::{BodySize, BoxBody, EitherBody, MessageBody};
use actix_web::dev::{ResponseHead, ServiceRequest, ServiceResponse};
use actix_web::http::header::{ACCEPT_ENCODING, CONTENT_ENCODING, ETAG, HeaderValue, VARY};
use actix_web::middleware::Next;
use async_compression::Level;
use async_compression::tokio::write::{GzipEncoder, ZlibEncoder};
use bytes::Bytes;
use nerve_engine::{MemoryBudget, MemoryPermit, wake_after_others};
use tokio::io::AsyncWrite;

use crate::http::answer::CHUNK_BYTES;
use crate::http::coding::{AcceptedCodings, Coding};

/// A shorter answer is one packet either way.
const SMALLEST: u64 = 1024;
/// Memory of an encoder: its window, its hash chains and its output.
const ENCODER_BYTES: usize = 384 << 10;
/// How many chunks are compressed before other connections of the thread have their turn: a few milliseconds.
const CHUNKS_PER_TURN: usize = 8;

/// Calls the inner service, and compresses its answer if the client accepts that and the answer is not tiny.
pub(crate) async fn compress<B: MessageBody + 'static>(
    memory: MemoryBudget,
    request: ServiceRequest,
    next: Next<B>,
) -> Result<ServiceResponse<EitherBody<B, CompressedBody>>, Error> {
    let accepted = AcceptedCodings::of(request.headers());
    let response = next.call(request).await?;
    Ok(response.map_body(|head, body| coded(&memory, accepted, head, body)))
}

/// The body in the accepted coding, with the headers that say so.
fn coded<B: MessageBody + 'static>(
    memory: &MemoryBudget,
    accepted: AcceptedCodings,
    head: &mut ResponseHead,
    body: B,
) -> EitherBody<B, CompressedBody> {
    let bytes = match body.size() {
        BodySize::Sized(bytes) => Some(bytes),
        BodySize::Stream => None,
        BodySize::None => return EitherBody::left(body),
    };
    let is_small = bytes.is_some_and(|bytes| bytes == 0 || (bytes < SMALLEST && !accepted.refuses_identity));
    if is_small || head.headers().contains_key(CONTENT_ENCODING) {
        return EitherBody::left(body);
    }
    head.headers_mut()
        .append(VARY, HeaderValue::from_name(ACCEPT_ENCODING));
    let Some(coding) = accepted.coding else {
        return EitherBody::left(body);
    };
    // The encoder of a single chunk lives for a moment.
    let lasts = bytes.is_none_or(|bytes| bytes > CHUNK_BYTES as u64);
    let mut permit = memory.permit();
    if lasts && permit.grow(ENCODER_BYTES).is_err() {
        return EitherBody::left(body);
    }
    head.headers_mut()
        .insert(CONTENT_ENCODING, HeaderValue::from_static(coding.name()));
    weaken_tag(head);
    EitherBody::right(CompressedBody {
        body: body.boxed(),
        coding,
        encoder: None,
        missing: bytes,
        finished: false,
        in_turn: 0,
        _permit: permit,
    })
}

/// Makes the entity tag a weak one: the same file uncompressed has other bytes.
fn weaken_tag(head: &mut ResponseHead) {
    let weak = |tag: &HeaderValue| {
        let tag = tag.to_str().ok().filter(|tag| !tag.starts_with("W/"))?;
        HeaderValue::try_from(format!("W/{tag}")).ok()
    };
    if let Some(weak) = head.headers().get(ETAG).and_then(weak) {
        head.headers_mut().insert(ETAG, weak);
    }
}

/// A body that is compressed chunk by chunk as it is sent. Each chunk can be decompressed as soon as it arrives.
pub(crate) struct CompressedBody {
    body: BoxBody,
    coding: Coding,
    /// Present from the first chunk to the last.
    encoder: Option<Encoder>,
    /// The bytes that are still to come; unknown for a stream.
    missing: Option<u64>,
    finished: bool,
    /// Chunks since other connections had their turn.
    in_turn: usize,
    /// The memory of the encoder.
    _permit: MemoryPermit,
}

impl MessageBody for CompressedBody {
    type Error = Box<dyn StdError>;

    fn size(&self) -> BodySize {
        BodySize::Stream
    }

    fn poll_next(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Bytes, Self::Error>>> {
        if self.finished {
            return Poll::Ready(None);
        }
        if self.in_turn >= CHUNKS_PER_TURN {
            self.in_turn = 0;
            wake_after_others(context);
            return Poll::Pending;
        }
        let chunk = match Pin::new(&mut self.body).poll_next(context) {
            Poll::Pending => {
                self.in_turn = 0;
                return Poll::Pending;
            }
            Poll::Ready(chunk) => chunk.transpose()?,
        };
        self.in_turn += 1;
        Poll::Ready(self.compressed(chunk.as_deref()).map_err(Into::into).transpose())
    }
}

impl CompressedBody {
    /// The chunk compressed; without one, the end of the body.
    fn compressed(&mut self, chunk: Option<&[u8]>) -> io::Result<Option<Bytes>> {
        let coding = self.coding;
        let mut encoder = self.encoder.take().unwrap_or_else(|| Encoder::new(coding));
        let mut packed = match chunk {
            Some(chunk) => encoder.compress(chunk)?,
            None => Vec::new(),
        };
        if let (Some(missing), Some(chunk)) = (&mut self.missing, chunk) {
            *missing = missing.saturating_sub(chunk.len() as u64);
        }
        self.finished = chunk.is_none() || self.missing == Some(0);
        match self.finished {
            true => packed.extend(encoder.finish()?),
            false => self.encoder = Some(encoder),
        }
        Ok(Some(packed.into()))
    }
}

/// An encoder into memory.
pub(crate) enum Encoder {
    Gzip(GzipEncoder<Vec<u8>>),
    Deflate(ZlibEncoder<Vec<u8>>),
}

impl Encoder {
    pub(crate) fn new(coding: Coding) -> Self {
        // The slower levels gain a tenth of the size of such JSON.
        let level = Level::Fastest;
        match coding {
            Coding::Gzip => Self::Gzip(GzipEncoder::with_quality(Vec::new(), level)),
            Coding::Deflate => Self::Deflate(ZlibEncoder::with_quality(Vec::new(), level)),
        }
    }

    /// The bytes compressed, complete with what came before.
    pub(crate) fn compress(&mut self, mut bytes: &[u8]) -> io::Result<Vec<u8>> {
        let mut context = Context::from_waker(Waker::noop());
        while !bytes.is_empty() {
            let written = at_once(self.writer().poll_write(&mut context, bytes))?;
            bytes = bytes.get(written..).unwrap_or_default();
        }
        at_once(self.writer().poll_flush(&mut context))?;
        Ok(std::mem::take(self.output()))
    }

    /// The end of the compressed bytes.
    pub(crate) fn finish(mut self) -> io::Result<Vec<u8>> {
        at_once(
            self.writer()
                .poll_shutdown(&mut Context::from_waker(Waker::noop())),
        )?;
        Ok(std::mem::take(self.output()))
    }

    fn writer(&mut self) -> Pin<&mut (dyn AsyncWrite + Unpin)> {
        Pin::new(match self {
            Self::Gzip(encoder) => encoder as &mut (dyn AsyncWrite + Unpin),
            Self::Deflate(encoder) => encoder,
        })
    }

    fn output(&mut self) -> &mut Vec<u8> {
        match self {
            Self::Gzip(encoder) => encoder.get_mut(),
            Self::Deflate(encoder) => encoder.get_mut(),
        }
    }
}

/// The result of writing into memory, which never waits.
fn at_once<T>(poll: Poll<io::Result<T>>) -> io::Result<T> {
    match poll {
        Poll::Ready(result) => result,
        Poll::Pending => Err(io::ErrorKind::WouldBlock.into()),
    }
}
