//! Lines to tagged lines: many texts as one stream, in order and in bounded memory.

#[cfg(any(test, fuzzing))]
pub(crate) mod fuzz;
mod group;
mod lines;
mod record;

use std::sync::Arc;

use actix_web::web::Bytes;
use futures_util::stream::{Stream, StreamExt};
use serde_json::value::RawValue;

use crate::config::ServerConfig;
use crate::health::Readiness;
use crate::http::ApiError;
use crate::pipeline::{Reading, Source, TagError, Tagged, Tagger};
use crate::scheduler::{Flow, SubmitError};

use group::Groups;
use lines::Line;
use record::read;
pub(crate) use record::{LineFormat, StreamItem, name_schema};

/// Lines that are handed to the pipeline together.
const GROUP_LINES: usize = 16;
/// Groups of lines in flight for each worker: one that runs, one that waits, and more to choose batch-mates of like
/// length from.
const GROUPS_PER_WORKER: usize = 8;

/// How often a line is tried again that was lost with the last worker.
const RETRIES: usize = 3;

/// How much of a stream is in memory.
#[derive(Clone, Copy, Debug)]
pub(crate) struct BulkLimits {
    /// Bytes of a line.
    line_bytes: usize,
    /// Lines that are handed to the pipeline together.
    group_lines: usize,
    /// Groups in flight.
    groups: usize,
}

impl BulkLimits {
    /// Enough lines to fill the batches of all workers, several times over.
    pub(crate) fn of(config: &ServerConfig) -> Self {
        Self {
            line_bytes: config.requests.max_line_bytes,
            group_lines: GROUP_LINES,
            groups: config.workers().saturating_mul(GROUPS_PER_WORKER),
        }
    }
}

/// What became of a line.
pub(crate) struct Answered {
    /// The line, counted from 1, blank ones included.
    pub(crate) number: u64,
    /// The line's own name, as given.
    pub(crate) id: Option<Box<RawValue>>,
    pub(crate) outcome: Result<Tagged, ApiError>,
}

/// Why a stream ends before its input does.
#[derive(Debug)]
pub(crate) enum Cut<E> {
    /// The input cannot be read on.
    Input(E),
    /// The server stops.
    Stopping,
}

/// The lines of `input` in order, blank ones left out, a group at a time.
///
/// Input is read only as answers are taken, and no more than [`BulkLimits`] says is held. Dropping the stream withdraws what
/// is in flight.
pub(crate) fn tag_lines<S, E>(
    tagger: Arc<Tagger>,
    input: S,
    format: LineFormat,
    reading: Reading,
    limits: BulkLimits,
) -> impl Stream<Item = Result<Vec<Answered>, Cut<E>>>
where
    S: Stream<Item = Result<Bytes, E>> + Unpin,
{
    let flow = Arc::new(Flow::default());
    Groups::new(input, limits)
        .map(move |group| {
            let (tagger, flow) = (Arc::clone(&tagger), Arc::clone(&flow));
            async move { tag_group(&tagger, group.map_err(Cut::Input)?, format, reading, &flow).await }
        })
        .buffered(limits.groups)
}

async fn tag_group<E>(
    tagger: &Tagger,
    group: Vec<Line>,
    format: LineFormat,
    reading: Reading,
    flow: &Flow,
) -> Result<Vec<Answered>, Cut<E>> {
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
                Err(error) if stops(&error) => return Err(Cut::Stopping),
                outcome => outcome.map_err(ApiError::Tag),
            },
            Err(error) => Err(error),
        };
        Ok(Answered { number, id, outcome })
    });
    answered.collect()
}

/// The tagged texts in order. What was lost with the last worker, through no fault of its own, is tried again.
async fn tag_all(
    tagger: &Tagger,
    sources: Vec<Source>,
    reading: Reading,
    flow: &Flow,
) -> Vec<Result<Tagged, TagError>> {
    // Ready says that a worker is back by now.
    let lost = |tagged: &Result<Tagged, TagError>| {
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

/// Whether no later line would fare better.
fn stops(error: &TagError) -> bool {
    matches!(
        error,
        TagError::NotReady(Readiness::Draining) | TagError::Queue(SubmitError::Closed)
    )
}
