//! Groups of texts to groups of tagged texts, in order.

use std::sync::Arc;

use futures_util::stream::{Stream, StreamExt, TryStreamExt};

use crate::bulk::limits::BulkLimits;
use crate::health::Readiness;
use crate::pipeline::aggregation::DecodingOptions;
use crate::pipeline::error::TagError;
use crate::pipeline::tagged::TaggedText;
use crate::pipeline::tagger::Tagger;
use crate::request::input::TagInput;
use crate::scheduler::queue::Flow;
use crate::scheduler::submit_error::SubmitError;

/// How often a text is retried that was lost because the last worker failed.
const RETRIES: usize = 3;

/// Texts that the tagger is given together, and what belongs to them.
#[derive(Debug)]
pub struct TextGroup<T> {
    /// The texts.
    pub texts: Vec<TagInput>,
    /// What comes with their results.
    pub context: T,
}

/// The results of a group's texts, in order, and the group's context.
pub type TaggedTexts<T> = (Vec<Result<TaggedText, TagError>>, T);

/// Why a stream ends before its input does.
#[derive(Debug)]
pub enum BulkError<E> {
    /// The input cannot be read.
    Input(E),
    /// The engine is stopping.
    Stopping,
}

/// The results of the groups, in order. A group without texts has its place in the order too.
///
/// Groups are taken only as results are, so many at a time as [`BulkLimits`] says. Work waits where requests would be refused.
/// Dropping the stream withdraws the texts in flight.
pub fn tag_texts<S, T, E>(
    tagger: Arc<Tagger>,
    groups: S,
    reading: DecodingOptions,
    limits: BulkLimits,
) -> impl Stream<Item = Result<TaggedTexts<T>, BulkError<E>>>
where
    S: Stream<Item = Result<TextGroup<T>, E>>,
{
    tag_groups(tagger, groups.map_err(BulkError::Input), reading, limits)
}

/// [`tag_texts`] of groups that can fail in the ways in which it can.
pub(crate) fn tag_groups<S, T, E>(
    tagger: Arc<Tagger>,
    groups: S,
    reading: DecodingOptions,
    limits: BulkLimits,
) -> impl Stream<Item = Result<TaggedTexts<T>, BulkError<E>>>
where
    S: Stream<Item = Result<TextGroup<T>, BulkError<E>>>,
{
    let flow = Arc::new(Flow::default());
    groups
        .map(move |group| {
            let (tagger, flow) = (Arc::clone(&tagger), Arc::clone(&flow));
            async move {
                let TextGroup { texts, context } = group?;
                let tagged = tag_all(&tagger, texts, reading, &flow).await;
                match tagged.iter().any(|tagged| tagged.as_ref().is_err_and(stops)) {
                    true => Err(BulkError::Stopping),
                    false => Ok((tagged, context)),
                }
            }
        })
        .buffered(limits.groups)
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
