//! A stream of lines to a stream of tagged lines.

use std::sync::Arc;

use bytes::Bytes;
use futures_util::stream::{self, Stream, StreamExt, TryStreamExt};
use serde_json::value::RawValue;

use crate::bulk::error::LineError;
use crate::bulk::group::Groups;
use crate::bulk::limits::BulkLimits;
use crate::bulk::lines::Line;
use crate::bulk::piece::{Piece, PieceLine, divide};
use crate::bulk::record::{LineFormat, Record, read, read_id, words};
use crate::bulk::texts::{BulkError, TextGroup, tag_groups};
use crate::memory_budget::{MemoryBudget, MemoryPermit};
use crate::pipeline::aggregation::DecodingOptions;
use crate::pipeline::error::TagError;
use crate::pipeline::memory_need::LINE_COPIES;
use crate::pipeline::tagged::TaggedText;
use crate::pipeline::tagger::Tagger;
use crate::request::input::TagInput;

/// Bytes of a group for each word that the threshold of [`Tagger::run_sized`] counts: 64 kB are parsed on the tokenizer
/// threads.
const BYTES_PER_WORD: usize = 32;

/// Bytes of a line beside those that grow with it: its places in lists, and the message of its error.
const LINE_BYTES: usize = 512;

/// The results of consecutive lines.
pub struct TaggedGroup {
    /// The results, in order.
    pub lines: Vec<TaggedLine>,
    /// The memory of the group, to be dropped with the last byte of its answer.
    pub permit: MemoryPermit,
}

/// A line's result.
pub struct TaggedLine {
    /// The line's number, from 1; blank lines are counted.
    pub number: u64,
    /// The line's own id, as given.
    pub id: Option<Box<RawValue>>,
    /// The tagged text, or why there is none.
    pub outcome: Result<TaggedText, LineError>,
}

/// The lines of `input` in order, without blank ones, a group at a time.
///
/// Input is read only as results are taken, within [`BulkLimits`] and the memory's budget. Lines wait for memory while they
/// hold none, so that those before them, which have theirs, are all that must end. A line that needs more than the whole
/// budget is answered with an error. Dropping the stream withdraws the lines in flight.
pub fn tag_lines<S, E>(
    tagger: Arc<Tagger>,
    input: S,
    format: LineFormat,
    reading: DecodingOptions,
    limits: BulkLimits,
    memory: MemoryBudget,
) -> impl Stream<Item = Result<TaggedGroup, BulkError<E>>>
where
    S: Stream<Item = Result<Bytes, E>> + Unpin,
{
    // A longer line never fits, so its bytes are not even kept.
    let longest = memory.limit() / LINE_COPIES;
    let kept = BulkLimits {
        line_bytes: limits.line_bytes.min(longest),
        ..limits
    };
    let sizing = Sizing {
        format,
        reading,
        too_long_never_fits: longest < limits.line_bytes,
        budget: memory.limit(),
    };
    let (sizer, reader) = (Arc::clone(&tagger), Arc::clone(&tagger));
    let groups = Groups::new(input, kept)
        .then(move |group| {
            let tagger = Arc::clone(&sizer);
            async move { sizing.pieces(&tagger, group.map_err(BulkError::Input)?).await }
        })
        .map_ok(|pieces| stream::iter(pieces).map(Ok))
        .try_flatten()
        .then(move |piece| {
            let (tagger, mut permit) = (Arc::clone(&reader), memory.permit());
            async move {
                let piece = piece?;
                permit.grow_when_free(piece.bytes).await;
                let (lines, texts) = sizing.parse(&tagger, piece).await?;
                let context = (lines, permit);
                Ok(TextGroup { texts, context })
            }
        });
    tag_groups(tagger, groups, reading, limits).map_ok(|(outcomes, (lines, permit))| TaggedGroup {
        lines: answered(lines, outcomes),
        permit,
    })
}

/// A line without its text.
struct ParsedLine {
    number: u64,
    id: Option<Box<RawValue>>,
    /// Why it has no text.
    problem: Option<LineError>,
}

/// What the lines of a stream are read as, and the memory that there is for them.
#[derive(Clone, Copy)]
struct Sizing {
    format: LineFormat,
    reading: DecodingOptions,
    /// Whether a line whose bytes were not kept exceeds the budget, not the limit of lines.
    too_long_never_fits: bool,
    budget: usize,
}

impl Sizing {
    async fn pieces<E>(self, tagger: &Arc<Tagger>, group: Vec<Line>) -> Result<Vec<Piece>, BulkError<E>> {
        let estimator = Arc::clone(tagger);
        let need = move |line: &Line| match &line.bytes {
            Ok(bytes) => estimator.bytes_of_line(bytes.len(), words(bytes, self.format), self.reading),
            Err(_) if self.too_long_never_fits => usize::MAX,
            Err(_) => 0,
        };
        let sized_by = bytes(group.iter());
        let task = move || {
            let lines = group.into_iter().map(|line| {
                let bytes = need(&line).saturating_add(LINE_BYTES);
                (line, bytes)
            });
            divide(lines, self.budget)
        };
        run(tagger, sized_by, task).await
    }

    /// The lines of a piece, and the texts of those that have one.
    async fn parse<E>(
        self,
        tagger: &Tagger,
        piece: Piece,
    ) -> Result<(Vec<ParsedLine>, Vec<TagInput>), BulkError<E>> {
        let sized_by = bytes(piece.lines.iter().map(|one| &one.line));
        let task = move || {
            let mut lines = Vec::with_capacity(piece.lines.len());
            let mut texts = Vec::with_capacity(piece.lines.len());
            for PieceLine { line, never_fits } in piece.lines {
                let Record { id, source } = match never_fits {
                    false => read(&line, self.format),
                    true => Record {
                        id: read_id(&line, self.format),
                        source: Err(LineError::NeverFits { limit: self.budget }),
                    },
                };
                let (number, problem) = (line.number, source.map(|text| texts.push(text)).err());
                lines.push(ParsedLine { number, id, problem });
            }
            (lines, texts)
        };
        run(tagger, sized_by, task).await
    }
}

fn bytes<'l>(lines: impl Iterator<Item = &'l Line>) -> usize {
    lines.map(|line| line.bytes.as_ref().map_or(0, Bytes::len)).sum()
}

/// The result of a task on so many bytes of lines. Only a panic loses it, and then the engine is of no further use to the
/// stream.
async fn run<T: Send + 'static, E>(
    tagger: &Tagger,
    bytes: usize,
    task: impl FnOnce() -> T + Send + 'static,
) -> Result<T, BulkError<E>> {
    let done = tagger.run_sized(bytes / BYTES_PER_WORD, task).await;
    done.map_err(|_| BulkError::Stopping)
}

/// The lines with their results, of which there is one for each line with a text.
fn answered(lines: Vec<ParsedLine>, outcomes: Vec<Result<TaggedText, TagError>>) -> Vec<TaggedLine> {
    let mut outcomes = outcomes.into_iter();
    let answered = lines
        .into_iter()
        .map(|ParsedLine { number, id, problem }| TaggedLine {
            number,
            id,
            outcome: match problem {
                None => outcomes
                    .next()
                    .unwrap_or(Err(TagError::InferenceFailed))
                    .map_err(LineError::Tag),
                Some(error) => Err(error),
            },
        });
    answered.collect()
}
