//! Tagged words to the answer a client reads.

use nerve_engine::{Answer, Tagged, Tagger, View};

/// The answer as it is to be shown; the entities found are counted.
pub(crate) fn answer<'a>(tagger: &'a Tagger, tagged: &'a Tagged, view: &View) -> Answer<'a> {
    let found = |entity_type| tagger.counters().entity_found(entity_type);
    Answer::new(tagged, &tagger.model().labels, view, found)
}
