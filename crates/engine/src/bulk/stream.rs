//! A stream of lines to a stream of tagged lines.

use std::sync::Arc;

use bytes::Bytes;
use futures_util::stream::{Stream, StreamExt};
use serde_json::value::RawValue;

use crate::bulk::error::LineError;
use crate::bulk::group::Groups;
use crate::bulk::limits::BulkLimits;
use crate::bulk::lines::Line;
use crate::bulk::record::{LineFormat, read};
use crate::health::Readiness;
use crate::pipeline::aggregation::DecodingOptions;
use crate::pipeline::error::TagError;
use crate::pipeline::tagged::TaggedText;
use crate::pipeline::tagger::Tagger;
use crate::request::input::TagInput;
use crate::scheduler::queue::Flow;
use crate::scheduler::submit_error::SubmitError;

/// How often a line is retried that was lost because the last worker failed.
const RETRIES: usize = 3;

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
/// Input is read only as results are taken, within [`BulkLimits`]. Dropping the stream withdraws the lines in flight.
pub fn tag_lines<S, E>(
    tagger: Arc<Tagger>,
    input: S,
    format: LineFormat,
    reading: DecodingOptions,
    limits: BulkLimits,
) -> impl Stream<Item = Result<Vec<TaggedLine>, BulkError<E>>>
where
    S: Stream<Item = Result<Bytes, E>> + Unpin,
{
    let flow = Arc::new(Flow::default());
    Groups::new(input, limits)
        .map(move |group| {
            let (tagger, flow) = (Arc::clone(&tagger), Arc::clone(&flow));
            async move { tag_group(&tagger, group.map_err(BulkError::Input)?, format, reading, &flow).await }
        })
        .buffered(limits.groups)
}

async fn tag_group<E>(
    tagger: &Tagger,
    group: Vec<Line>,
    format: LineFormat,
    reading: DecodingOptions,
    flow: &Flow,
) -> Result<Vec<TaggedLine>, BulkError<E>> {
    let mut sources = Vec::with_capacity(group.len());
    let mut places = Vec::with_capacity(group.len());
    for line in group {
        let record = read(&line, format);
        let place = record.source.map(|source| sources.push(source));
        places.push((line.number, record.id, place));
    }
    let mut tagged = tag_all(tagger, sources, reading, flow).await.into_iter();
    let answered = places.into_iter().map(|(number, id, place)| {
        let outcome = match place {
            Ok(()) => match tagged.next().unwrap_or(Err(TagError::InferenceFailed)) {
                Err(error) if stops(&error) => return Err(BulkError::Stopping),
                outcome => outcome.map_err(LineError::Tag),
            },
            Err(error) => Err(error),
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
