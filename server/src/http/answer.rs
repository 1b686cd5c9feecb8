//! An answer in chunks, written in short steps and charged to the budget of memory until it is sent.

use std::borrow::Borrow;
use std::collections::VecDeque;
use std::io::{self, Write};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use nerve_engine::{AnswerOptions, AnswerWriter, MemoryError, MemoryPermit, TaggedText, Tagger};

use crate::http::error::ApiError;
use crate::trace;

/// Bytes of a chunk. Whoever sends an answer holds about two at a time.
pub(crate) const CHUNK_BYTES: usize = 64 << 10;

/// A part of an answer. Each call writes more of it; it returns true once the part is complete.
pub(crate) type Part = Box<dyn FnMut(&mut AnswerChunks) -> io::Result<bool> + Send>;

/// An answer that is being written.
pub(crate) struct AnswerChunks {
    full: VecDeque<Vec<u8>>,
    last: Vec<u8>,
    /// The length of the full chunks.
    full_bytes: usize,
    /// What the request holds beside the chunks.
    held: usize,
    permit: MemoryPermit,
    /// Whether the answer is written even if the budget has no memory for it.
    overdraws: bool,
    refused: Option<MemoryError>,
}

/// A place in an answer that is written later.
pub(crate) struct Placeholder {
    chunk: usize,
    at: usize,
}

/// An answer that is written and not yet sent. The memory of a chunk is returned when the next one is taken.
#[derive(Debug)]
pub(crate) struct WrittenAnswer {
    chunks: VecDeque<Bytes>,
    bytes: usize,
    permit: MemoryPermit,
}

impl AnswerChunks {
    /// An answer of a request that holds what its permit has. It is refused if the budget has no memory for it.
    pub(crate) fn new(permit: MemoryPermit) -> Self {
        Self {
            full: VecDeque::new(),
            last: Vec::new(),
            full_bytes: 0,
            held: permit.bytes(),
            permit,
            overdraws: false,
            refused: None,
        }
    }

    /// An answer of a request that holds `held` of what its permit has, and is not refused any more.
    pub(crate) fn overdrawing(permit: MemoryPermit, held: usize) -> Self {
        Self {
            held,
            overdraws: true,
            ..Self::new(permit)
        }
    }

    /// Reserves space for an answer about so many words.
    fn expect_words(&mut self, words: usize) {
        const WORD_BYTES: usize = 72;
        let expected = words.saturating_mul(WORD_BYTES).saturating_add(512);
        self.last
            .reserve(expected.min(CHUNK_BYTES - self.last.len().min(CHUNK_BYTES)));
    }

    /// The bytes written so far.
    pub(crate) fn len(&self) -> usize {
        self.full_bytes + self.last.len()
    }

    /// A permit of the same budget that holds nothing yet.
    pub(crate) fn empty_permit(&self) -> MemoryPermit {
        self.permit.empty()
    }

    /// Leaves space for a number of four bytes.
    pub(crate) fn placeholder(&mut self) -> io::Result<Placeholder> {
        const EMPTY: [u8; 4] = [0; 4];
        if self.last.len() + EMPTY.len() > CHUNK_BYTES {
            self.seal()?;
        }
        let place = Placeholder {
            chunk: self.full.len(),
            at: self.last.len(),
        };
        self.last.extend_from_slice(&EMPTY);
        Ok(place)
    }

    /// Writes the number, lowest byte first.
    pub(crate) fn fill(&mut self, place: &Placeholder, number: u32) {
        let chunk = self.full.get_mut(place.chunk).unwrap_or(&mut self.last);
        if let Some(bytes) = chunk.get_mut(place.at..place.at + 4) {
            bytes.copy_from_slice(&number.to_le_bytes());
        }
    }

    /// Lets `write` append to the answer. It appends a few kilobytes at a time.
    pub(crate) fn append(
        &mut self,
        write: impl FnOnce(&mut Vec<u8>) -> io::Result<bool>,
    ) -> io::Result<bool> {
        let done = write(&mut self.last)?;
        if self.last.len() >= CHUNK_BYTES {
            self.seal()?;
        }
        Ok(done)
    }

    /// Counts bytes that the request holds beside the answer from now on.
    fn hold(&mut self, bytes: usize) -> io::Result<()> {
        self.held += bytes;
        self.charge()
    }

    /// Sees that the permit covers what is held.
    fn charge(&mut self) -> io::Result<()> {
        let more = (self.held + self.len()).saturating_sub(self.permit.bytes());
        if more == 0 {
            return Ok(());
        }
        if self.overdraws {
            self.permit.grow_anyway(more);
            return Ok(());
        }
        self.permit.grow(more).map_err(|refused| {
            self.refused = Some(refused);
            io::Error::other(refused)
        })
    }

    fn seal(&mut self) -> io::Result<()> {
        self.charge()?;
        self.full_bytes += self.last.len();
        let next = Vec::with_capacity(CHUNK_BYTES);
        self.full.push_back(std::mem::replace(&mut self.last, next));
        Ok(())
    }

    /// The written answer. What the request held beside it is returned.
    pub(crate) fn finish(mut self) -> Result<WrittenAnswer, ApiError> {
        if self.charge().is_err() {
            return Err(self.error());
        }
        let bytes = self.len();
        self.permit.shrink_to(bytes);
        let last = (!self.last.is_empty()).then_some(self.last);
        Ok(WrittenAnswer {
            chunks: self.full.into_iter().chain(last).map(Bytes::from).collect(),
            bytes,
            permit: self.permit,
        })
    }

    /// Why a part was not written.
    fn error(&self) -> ApiError {
        match self.refused {
            Some(refused) => ApiError::Memory(refused),
            None => ApiError::Unwritable,
        }
    }
}

impl Write for AnswerChunks {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.last.len() >= CHUNK_BYTES {
            self.seal()?;
        }
        let space = CHUNK_BYTES - self.last.len();
        let (taken, _rest) = bytes.split_at_checked(space).unwrap_or((bytes, &[]));
        self.last.extend_from_slice(taken);
        Ok(taken.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl WrittenAnswer {
    /// The bytes that are left.
    pub(crate) fn len(&self) -> usize {
        self.bytes
    }

    /// The next chunk.
    pub(crate) fn next_chunk(&mut self) -> Option<Bytes> {
        self.permit.shrink_to(self.bytes);
        let chunk = self.chunks.pop_front()?;
        self.bytes -= chunk.len();
        Some(chunk)
    }

    /// The answer followed by another.
    pub(crate) fn followed_by(mut self, mut other: Self) -> Self {
        self.chunks.append(&mut other.chunks);
        self.bytes += other.bytes;
        self.permit.merge(other.permit);
        self
    }
}

/// The parts of an answer about so many words, written. Many words are written on the tokenizer threads, so that the
/// threads that serve connections are not held up.
pub(crate) async fn write_parts(
    tagger: &Tagger,
    words: usize,
    mut chunks: AnswerChunks,
    parts: Vec<Part>,
) -> Result<AnswerChunks, ApiError> {
    struct Writing {
        chunks: AnswerChunks,
        parts: VecDeque<Part>,
        failed: bool,
        took: Duration,
    }
    chunks.expect_words(words);
    let span = trace::decode();
    let step = move |writing: &mut Writing| {
        let _decoding = span.enter();
        let Some(part) = writing.parts.front_mut() else {
            return true;
        };
        let began = Instant::now();
        match part(&mut writing.chunks) {
            Ok(true) => drop(writing.parts.pop_front()),
            Ok(false) => {}
            Err(_) => writing.failed = true,
        }
        writing.took += began.elapsed();
        writing.failed || writing.parts.is_empty()
    };
    let writing = Writing {
        chunks,
        parts: parts.into(),
        failed: false,
        took: Duration::ZERO,
    };
    let written = tagger.run_in_steps(words, writing, step).await;
    let written = written.map_err(|_panicked| ApiError::Unwritable)?;
    tagger.metrics().decoded(written.took);
    match written.failed {
        false => Ok(written.chunks),
        true => Err(written.chunks.error()),
    }
}

/// A part that is known.
pub(crate) fn text(bytes: impl Into<Vec<u8>>) -> Part {
    let bytes = bytes.into();
    Box::new(move |out| out.write_all(&bytes).map(|()| true))
}

/// The members of the answer for a tagged text, without the braces around them.
pub(crate) fn members<T>(tagger: &Arc<Tagger>, tagged: T, view: &Arc<AnswerOptions>) -> Part
where
    T: Borrow<TaggedText> + Send + 'static,
{
    let (labels, options) = (Arc::clone(tagger), Arc::clone(view));
    by_writer(tagger, tagged, view, true, move |writer, out| {
        out.append(|json| writer.members(&labels.model().labels, &options, json))
    })
}

/// A part of the answer for a tagged text, written by `step`. One part of each text counts its entities.
pub(crate) fn by_writer<T>(
    tagger: &Arc<Tagger>,
    tagged: T,
    view: &Arc<AnswerOptions>,
    counts: bool,
    mut step: impl FnMut(&mut AnswerWriter<T>, &mut AnswerChunks) -> io::Result<bool> + Send + 'static,
) -> Part
where
    T: Borrow<TaggedText> + Send + 'static,
{
    let (tagger, view) = (Arc::clone(tagger), Arc::clone(view));
    let (mut tagged, mut writer) = (Some(tagged), None);
    Box::new(move |out| {
        if let Some(tagged) = tagged.take() {
            let created = writer.insert(match counts {
                true => tagger.answer_writer(tagged, &view),
                false => AnswerWriter::new(tagged, &tagger.model().labels, &view, |_| ()),
            });
            out.hold(created.own_bytes())?;
        }
        let Some(writing) = &mut writer else {
            return Ok(true);
        };
        let done = step(writing, out)?;
        if done {
            out.held -= writing.own_bytes();
            writer = None;
        }
        Ok(done)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use nerve_engine::MemoryBudget;

    #[test]
    fn an_answer_is_charged_until_its_chunks_are_taken() {
        let budget = MemoryBudget::new(400_000);
        let mut permit = budget.permit();
        permit.grow(1000).unwrap();
        let mut chunks = AnswerChunks::new(permit);
        let part = vec![7; 50_000];
        for _ in 0..3 {
            chunks.write_all(&part).unwrap();
        }
        assert!(budget.used() > 2 * CHUNK_BYTES);
        let mut written = chunks.finish().unwrap();
        assert_eq!((written.len(), budget.used()), (150_000, 150_000));
        let first = written.next_chunk().unwrap();
        assert_eq!((first.len(), budget.used()), (CHUNK_BYTES, 150_000));
        assert!(written.next_chunk().is_some());
        assert_eq!(budget.used(), 150_000 - CHUNK_BYTES);
        drop(written);
        assert_eq!(budget.used(), 0);
    }

    #[test]
    fn an_answer_without_memory_is_refused_with_the_reason() {
        let budget = MemoryBudget::new(200_000);
        let mut other = budget.permit();
        other.grow(100_000).unwrap();
        let write = |overdraws| {
            let mut chunks = AnswerChunks::new(budget.permit());
            chunks.overdraws = overdraws;
            match (0..10).try_for_each(|_| chunks.write_all(&[7; 30_000])) {
                Ok(()) => chunks.finish(),
                Err(_) => Err(chunks.error()),
            }
        };
        assert!(matches!(write(false), Err(ApiError::Memory(MemoryError::Full))));
        assert_eq!(budget.used(), 100_000);
        assert_eq!(write(true).unwrap().len(), 300_000);
        drop(other);
        let never = write(false);
        assert!(matches!(
            never,
            Err(ApiError::Memory(MemoryError::NeverFits { .. }))
        ));
    }

    #[test]
    fn a_placeholder_is_filled_wherever_it_lies() {
        let budget = MemoryBudget::new(1 << 20);
        for before in [0, CHUNK_BYTES - 5, CHUNK_BYTES - 4, CHUNK_BYTES - 2, CHUNK_BYTES] {
            let mut chunks = AnswerChunks::new(budget.permit());
            chunks.write_all(&vec![1; before]).unwrap();
            let place = chunks.placeholder().unwrap();
            chunks.write_all(&vec![1; CHUNK_BYTES]).unwrap();
            chunks.fill(&place, 0x0403_0201);
            let mut written = chunks.finish().unwrap();
            let all: Vec<u8> = std::iter::from_fn(|| written.next_chunk()).flatten().collect();
            assert_eq!(
                all.get(before..before + 4),
                Some([1, 2, 3, 4].as_slice()),
                "{before}"
            );
            assert_eq!(all.len(), before + 4 + CHUNK_BYTES);
        }
    }
}
