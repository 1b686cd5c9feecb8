//! The distinct words among given ones.

use std::collections::HashMap;

/// The distinct words among given ones, so that each is encoded once however often it occurs.
#[derive(Default)]
pub(super) struct DistinctWords<'w> {
    pub(super) words: Vec<&'w str>,
    /// The index in `words` of each given word.
    pub(super) places: Vec<usize>,
}

impl<'w> DistinctWords<'w> {
    pub(super) fn of(given: impl Iterator<Item = &'w str>) -> Self {
        let mut known: HashMap<&str, usize> = HashMap::new();
        let mut distinct = Self::default();
        for word in given {
            let place = *known.entry(word).or_insert(distinct.words.len());
            if place == distinct.words.len() {
                distinct.words.push(word);
            }
            distinct.places.push(place);
        }
        distinct
    }
}
