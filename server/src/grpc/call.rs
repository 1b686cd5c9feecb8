//! What is known of a call while it is answered: its id, its deadline and the memory it holds.

use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use nerve_engine::{MemoryError, MemoryPermit, Tagger};
use tokio::time::Instant;
use tonic::Status;

use crate::http::error::ApiError;

/// Bytes of a message that are taken even from a full budget, for health checks.
const NAME_BYTES: usize = 1 << 10;
/// The most bytes that one byte of a compressed message can become.
const MAX_EXPANSION: usize = 1032;

/// A call, shared by the bodies of its request and response and by its handler.
pub(crate) struct Call {
    /// The id of the request.
    pub(crate) id: String,
    /// The client's W3C trace context.
    pub(crate) traceparent: Option<String>,
    pub(crate) began: Instant,
    /// The time after which the client does not need further answers of a stream.
    pub(crate) until: Option<Instant>,
    /// The version that answers, once it is chosen.
    pub(crate) version: OnceLock<Arc<Tagger>>,
    memory: Mutex<CallMemory>,
}

/// The memory of a call.
struct CallMemory {
    /// For the call itself, until it ends.
    head: MemoryPermit,
    /// For the bytes that have arrived and are not yet a message.
    arrived: MemoryPermit,
    /// The number of these bytes.
    wire: usize,
    /// Whether the call has texts. Another one is answered even while the budget is full.
    has_texts: bool,
    /// The size that a compressed message may have.
    unpacked: Option<usize>,
    /// For the answers that are not yet bytes.
    outgoing: MemoryPermit,
}

impl Call {
    /// A call that begins now; `head` is its own memory. A compressed message of it unpacks to at most `unpacked` bytes.
    pub(crate) fn new(
        id: String,
        traceparent: Option<String>,
        until: Option<Instant>,
        head: MemoryPermit,
        has_texts: bool,
        unpacked: Option<usize>,
    ) -> Self {
        Self {
            id,
            traceparent,
            began: Instant::now(),
            until,
            version: OnceLock::new(),
            memory: Mutex::new(CallMemory {
                arrived: head.empty(),
                wire: 0,
                has_texts,
                unpacked,
                outgoing: head.empty(),
                head,
            }),
        }
    }

    /// The call of a request.
    pub(crate) fn of<T>(request: &tonic::Request<T>) -> Result<Arc<Self>, Status> {
        let call = request.extensions().get::<Arc<Self>>().cloned();
        // The outer service adds it to every request.
        call.ok_or_else(|| Status::internal(ApiError::Unwritable.to_string()))
    }

    /// Takes memory for bytes that arrive, and for what they may unpack to.
    pub(crate) fn arrive(&self, bytes: usize) -> Result<(), MemoryError> {
        let mut memory = self.memory.lock().unwrap_or_else(PoisonError::into_inner);
        memory.wire = memory.wire.saturating_add(bytes);
        // The bytes, and the message they become.
        let message = memory.unpacked.map_or(memory.wire, |most| {
            memory.wire.saturating_mul(MAX_EXPANSION).min(most)
        });
        let wanted = memory.wire.saturating_add(message);
        let more = wanted.saturating_sub(memory.arrived.bytes());
        if !memory.has_texts && wanted <= NAME_BYTES {
            memory.arrived.grow_anyway(more);
            return Ok(());
        }
        memory.arrived.grow(more)
    }

    /// The memory of the message that has arrived, which has this size.
    pub(crate) fn take_message(&self, bytes: usize) -> Result<MemoryPermit, MemoryError> {
        let mut memory = self.memory.lock().unwrap_or_else(PoisonError::into_inner);
        let next = memory.head.empty();
        let mut arrived = std::mem::replace(&mut memory.arrived, next);
        memory.wire = 0;
        drop(memory);
        arrived.resize(bytes)?;
        Ok(arrived)
    }

    /// Keeps the memory of an answer until its bytes are sent.
    pub(crate) fn send(&self, answer: MemoryPermit) {
        let mut memory = self.memory.lock().unwrap_or_else(PoisonError::into_inner);
        memory.outgoing.merge(answer);
    }

    /// The memory of the answers that have become bytes.
    pub(crate) fn take_outgoing(&self) -> MemoryPermit {
        let mut memory = self.memory.lock().unwrap_or_else(PoisonError::into_inner);
        let next = memory.head.empty();
        std::mem::replace(&mut memory.outgoing, next)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use nerve_engine::MemoryBudget;

    #[test]
    fn a_call_holds_what_has_arrived_and_what_is_not_sent() {
        let budget = MemoryBudget::new(10_000);
        let call = |unpacked| Call::new(String::new(), None, None, budget.permit(), true, unpacked);
        let plain = call(None);
        plain.arrive(60).unwrap();
        plain.arrive(40).unwrap();
        assert_eq!(budget.used(), 200);
        let mut message = plain.take_message(90).unwrap();
        assert_eq!(budget.used(), 90);
        message.resize(500).unwrap();
        plain.send(message);
        let sent = plain.take_outgoing();
        drop(plain);
        assert_eq!(budget.used(), 500);
        drop(sent);
        assert_eq!(budget.used(), 0);

        let packed = call(Some(4000));
        packed.arrive(1).unwrap();
        assert_eq!(budget.used(), 1 + MAX_EXPANSION);
        packed.arrive(9).unwrap();
        assert_eq!(budget.used(), 10 + 4000);
        assert!(packed.arrive(6000).is_err());
        assert_eq!(packed.take_message(300).unwrap().bytes(), 300);
        assert_eq!(budget.used(), 0);
    }
}
