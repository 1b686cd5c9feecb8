//! A stream of lines to a stream of tagged lines.

use std::sync::Arc;

use bytes::Bytes;
use futures_util::stream::{Stream, StreamExt};
use serde_json::value::RawValue;

use crate::bulk::admit::{GroupAdmission, GroupPermit};
use crate::bulk::error::LineError;
use crate::bulk::group::Groups;
use crate::bulk::limits::BulkLimits;
use crate::bulk::lines::Line;
use crate::bulk::record::{LineFormat, Record, read};
use crate::health::Readiness;
use crate::memory_budget::MemoryBudget;
use crate::pipeline::aggregation::DecodingOptions;
use crate::pipeline::error::TagError;
use crate::pipeline::tagged::TaggedText;
use crate::pipeline::tagger::Tagger;
use crate::request::input::TagInput;
use crate::scheduler::queue::Flow;
use crate::scheduler::submit_error::SubmitError;

/// How often a line is retried that was lost because the last worker failed.
const RETRIES: usize = 3;

/// Bytes of a group for each word that the threshold of [`Tagger::run_sized`] counts: 64 kB are parsed on the tokenizer
/// threads.
const BYTES_PER_WORD: usize = 32;

/// The results of consecutive lines.
pub struct TaggedGroup {
    /// The results, in order.
    pub lines: Vec<TaggedLine>,
    /// The memory of the group, to be dropped with the last byte of its answer.
    pub permit: GroupPermit,
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

/// Why a stream ends before its input does.
#[derive(Debug)]
pub enum BulkError<E> {
    /// The input cannot be read.
    Input(E),
    /// The engine is stopping.
    Stopping,
}

/// The lines of `input` in order, without blank ones, a group at a time.
///
/// Input is read only as results are taken, within [`BulkLimits`] and the memory's budget. Dropping the stream withdraws
/// the lines in flight.
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
    let flow = Arc::new(Flow::default());
    let admission = GroupAdmission::new(memory);
    let reader = Arc::clone(&tagger);
    Groups::new(input, limits)
        .then(move |group| {
            let (tagger, admission) = (Arc::clone(&reader), admission.clone());
            async move {
                let parsed = parse(&tagger, group.map_err(BulkError::Input)?, format, reading).await?;
                let permit = admission.admit(parsed.bytes).await;
                Ok((parsed, permit))
            }
        })
        .map(move |admitted| {
            let (tagger, flow) = (Arc::clone(&tagger), Arc::clone(&flow));
            async move {
                let (parsed, permit) = admitted?;
                let lines = tag_group(&tagger, parsed, reading, &flow).await?;
                Ok(TaggedGroup { lines, permit })
            }
        })
        .buffered(limits.groups)
}

/// A line without its text.
struct ParsedLine {
    number: u64,
    id: Option<Box<RawValue>>,
    /// Why it has no text.
    problem: Option<LineError>,
}

/// The lines of a group, and the texts of those that have one.
struct ParsedGroup {
    lines: Vec<ParsedLine>,
    sources: Vec<TagInput>,
    /// What the group takes in memory, up to its answer.
    bytes: usize,
}

async fn parse<E>(
    tagger: &Arc<Tagger>,
    group: Vec<Line>,
    format: LineFormat,
    reading: DecodingOptions,
) -> Result<ParsedGroup, BulkError<E>> {
    let lengths = group.iter().map(|line| line.bytes.as_ref().map_or(0, Bytes::len));
    let bytes: usize = lengths.sum();
    let estimator = Arc::clone(tagger);
    let task = move || {
        let mut parsed = ParsedGroup {
            lines: Vec::with_capacity(group.len()),
            sources: Vec::with_capacity(group.len()),
            bytes,
        };
        for line in group {
            let Record { id, source } = read(&line, format);
            let (number, problem) = (
                line.number,
                source.map(|source| parsed.sources.push(source)).err(),
            );
            parsed.lines.push(ParsedLine { number, id, problem });
        }
        parsed.bytes += estimator.bytes_to_tag(&parsed.sources, reading);
        parsed.bytes += estimator.bytes_of_answers(&parsed.sources);
        parsed
    };
    let parsed = tagger.run_sized(bytes / BYTES_PER_WORD, task).await;
    // Only a panic loses a task, and then the engine is of no further use to the stream.
    parsed.map_err(|_| BulkError::Stopping)
}

async fn tag_group<E>(
    tagger: &Tagger,
    group: ParsedGroup,
    reading: DecodingOptions,
    flow: &Flow,
) -> Result<Vec<TaggedLine>, BulkError<E>> {
    let ParsedGroup { lines, sources, .. } = group;
    let mut tagged = tag_all(tagger, sources, reading, flow).await.into_iter();
    let answered = lines.into_iter().map(|ParsedLine { number, id, problem }| {
        let outcome = match problem {
            None => match tagged.next().unwrap_or(Err(TagError::InferenceFailed)) {
                Err(error) if stops(&error) => return Err(BulkError::Stopping),
                outcome => outcome.map_err(LineError::Tag),
            },
            Some(error) => Err(error),
        };
        Ok(TaggedLine { number, id, outcome })
    });
    answered.collect()
}

/// The tagged texts in order. A text that was lost because the last worker failed is retried.
async fn tag_all(
    tagger: &Tagger,
    sources: Vec<TagInput>,
    reading: DecodingOptions,
    flow: &Flow,
) -> Vec<Result<TaggedText, TagError>> {
    // `Ready` means that a worker has been restarted meanwhile.
    let lost = |tagged: &Result<TaggedText, TagError>| {
        matches!(
            tagged,
            Err(TagError::NotReady(Readiness::NoWorker | Readiness::Ready))
        )
    };
    let mut tagged = tagger.tag_patiently(sources.clone(), reading, flow).await;
    for _ in 0..RETRIES {
        let places: Vec<usize> = (0..tagged.len()).filter(|&at| lost(&tagged[at])).collect();
        if places.is_empty() {
            break;
        }
        let again = places.iter().map(|&at| sources[at].clone()).collect();
        for (at, again) in places
            .into_iter()
            .zip(tagger.tag_patiently(again, reading, flow).await)
        {
            tagged[at] = again;
        }
    }
    tagged
}

/// Whether every later line would fail the same way.
fn stops(error: &TagError) -> bool {
    matches!(
        error,
        TagError::NotReady(Readiness::Draining) | TagError::Queue(SubmitError::Closed)
    )
}
