//! The bodies of a call: the request's, whose bytes take memory as they arrive, and the response's, which ends the call.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};
use nerve_engine::MemoryPermit;
use tokio::time::{Sleep, sleep};
use tonic::body::Body;
use tonic::{Code, Status};

use crate::grpc::call::Call;
use crate::grpc::count::CallCount;
use crate::grpc::stalled::AnswerWatch;
use crate::grpc::status::{counted_code, status};
use crate::http::error::ApiError;

/// The time that a request's body has.
#[derive(Clone, Copy, Debug)]
pub(crate) enum BodyTime {
    /// For the whole body.
    Whole(Duration),
    /// From one part of a stream to the next.
    Part(Duration),
}

/// The body of a request. Its bytes take memory from the budget, and it ends with an error if it is late.
pub(crate) struct ArrivingBody {
    inner: Body,
    call: Arc<Call>,
    time: BodyTime,
    late: Option<Pin<Box<Sleep>>>,
}

impl ArrivingBody {
    pub(crate) fn new(inner: Body, call: Arc<Call>, time: BodyTime) -> Self {
        Self {
            inner,
            call,
            time,
            late: None,
        }
    }
}

impl HttpBody for ArrivingBody {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        if let Poll::Ready(frame) = Pin::new(&mut self.inner).poll_frame(context) {
            if matches!(self.time, BodyTime::Part(_)) {
                self.late = None;
            }
            if let Some(Ok(frame)) = &frame
                && let Some(data) = frame.data_ref()
                && let Err(error) = self.call.arrive(data.len())
            {
                return Poll::Ready(Some(Err(status(ApiError::from(error)))));
            }
            // Tonic treats `Cancelled` as the end of the message. `read_status` turns `Aborted` into `Cancelled`.
            let left = |_| Status::aborted("the client left before the end of its message");
            return Poll::Ready(frame.map(|frame| frame.map_err(left)));
        }
        let (BodyTime::Whole(limit) | BodyTime::Part(limit)) = self.time;
        let late = self.late.get_or_insert_with(|| Box::pin(sleep(limit)));
        ready!(late.as_mut().poll(context));
        self.late = None;
        Poll::Ready(Some(Err(status(ApiError::BodyTooSlow { limit }))))
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

/// Bytes of the parts in which an answer is given to the connection, so that it shows when a client takes them.
const PART_BYTES: usize = 64 << 10;

/// The body of a response. Its bytes hold their memory until they are sent, and the call ends when it is dropped.
pub(crate) struct CountedBody {
    inner: Body,
    /// What is left of the last frame, and its memory.
    rest: Option<(Bytes, Arc<MemoryPermit>)>,
    call: Arc<Call>,
    count: CallCount,
    watch: Arc<AnswerWatch>,
}

impl CountedBody {
    pub(crate) fn new(inner: Body, call: Arc<Call>, count: CallCount, watch: Arc<AnswerWatch>) -> Self {
        Self {
            inner,
            rest: None,
            call,
            count,
            watch,
        }
    }

    /// The next part of the last frame, if anything is left of it.
    fn next_part(&mut self) -> Option<Bytes> {
        let (mut data, memory) = self.rest.take()?;
        let part = data.split_to(data.len().min(PART_BYTES));
        if !data.is_empty() {
            self.rest = Some((data, Arc::clone(&memory)));
        }
        self.watch.part_given();
        Some(Bytes::from_owner(SentBytes {
            data: part,
            watch: Arc::clone(&self.watch),
            _memory: memory,
        }))
    }
}

impl HttpBody for CountedBody {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        if let Some(part) = self.next_part() {
            return Poll::Ready(Some(Ok(Frame::data(part))));
        }
        let Poll::Ready(frame) = Pin::new(&mut self.inner).poll_frame(context) else {
            self.watch.waits();
            return Poll::Pending;
        };
        let Some(Ok(frame)) = frame else {
            return Poll::Ready(frame);
        };
        match frame.into_data() {
            Ok(data) => {
                // The bytes may wait in the connection for as long as the client takes nothing.
                self.rest = Some((data, Arc::new(self.call.take_outgoing())));
                Poll::Ready(self.next_part().map(|part| Ok(Frame::data(part))))
            }
            Err(frame) => {
                if let Some(trailers) = frame.trailers_ref() {
                    let code = trailers
                        .get("grpc-status")
                        .map(|code| Code::from_bytes(code.as_bytes()));
                    self.count.ended(counted_code(code.unwrap_or(Code::Ok)));
                }
                Poll::Ready(Some(Ok(frame)))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_none() && self.inner.is_end_stream()
    }
}

/// Bytes of a response that the client has not taken, and their memory.
struct SentBytes {
    data: Bytes,
    watch: Arc<AnswerWatch>,
    _memory: Arc<MemoryPermit>,
}

impl Drop for SentBytes {
    fn drop(&mut self) {
        self.watch.part_taken();
    }
}

impl AsRef<[u8]> for SentBytes {
    fn as_ref(&self) -> &[u8] {
        &self.data
    }
}
