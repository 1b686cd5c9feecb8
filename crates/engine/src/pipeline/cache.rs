//! A cache of the answers of recent texts.

use std::sync::{Mutex, MutexGuard, PoisonError};

use lru::LruCache;

use crate::pipeline::aggregation::DecodingOptions;
use crate::pipeline::tagged::TaggedText;
use crate::request::input::TagInput;

/// Approximate bytes of an entry beside its text and words: the map's own bookkeeping.
const ENTRY_BYTES: usize = 128;

/// The answers of recently tagged texts, within a number of bytes.
///
/// A cache belongs to one version of a model. A text's answer depends on nothing else, so a cached answer equals a
/// computed one.
pub(crate) struct AnswerCache {
    kept: Mutex<CacheState>,
    limit_bytes: usize,
}

struct CacheState {
    answers: LruCache<CacheKey, CachedAnswer>,
    // Invariant: the sum of the entries' bytes.
    bytes: usize,
}

/// A text, and how its labels are decided.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct CacheKey {
    source: TagInput,
    reading: DecodingOptions,
}

struct CachedAnswer {
    answer: TaggedText,
    bytes: usize,
}

impl CacheKey {
    pub(crate) fn new(source: TagInput, reading: DecodingOptions) -> Self {
        Self { source, reading }
    }

    /// The text.
    pub(crate) fn source(&self) -> TagInput {
        self.source.clone()
    }

    fn bytes(&self) -> usize {
        match &self.source {
            TagInput::Text(text) => text.len(),
            TagInput::Words(words) => words.iter().map(|word| word.len() + size_of::<String>()).sum(),
        }
    }
}

impl AnswerCache {
    /// An empty cache of at most `limit_bytes` bytes.
    pub(crate) fn new(limit_bytes: usize) -> Self {
        Self {
            kept: Mutex::new(CacheState {
                answers: LruCache::unbounded(),
                bytes: 0,
            }),
            limit_bytes,
        }
    }

    /// The answer of this text, if it is cached.
    pub(crate) fn get(&self, asked: &CacheKey) -> Option<TaggedText> {
        self.lock().answers.get(asked).map(|entry| entry.answer.clone())
    }

    /// Adds an answer; the least recently used ones are evicted to make space.
    pub(crate) fn keep(&self, asked: CacheKey, answer: &TaggedText) {
        let bytes = ENTRY_BYTES + asked.bytes() + answer.bytes();
        if bytes > self.limit_bytes {
            return;
        }
        let entry = CachedAnswer {
            answer: answer.clone(),
            bytes,
        };
        let mut kept = self.lock();
        kept.bytes += bytes;
        if let Some(before) = kept.answers.put(asked, entry) {
            kept.bytes -= before.bytes;
        }
        while kept.bytes > self.limit_bytes {
            let Some((_, oldest)) = kept.answers.pop_lru() else {
                break;
            };
            kept.bytes -= oldest.bytes;
        }
    }

    fn lock(&self) -> MutexGuard<'_, CacheState> {
        // No code panics while it holds the lock.
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pipeline::aggregation::Aggregation;
    use crate::testing::tagged;

    fn asked(text: &str) -> CacheKey {
        CacheKey::new(TagInput::Text(text.to_owned()), DecodingOptions::default())
    }

    #[test]
    fn an_answer_is_that_of_the_same_text_read_in_the_same_way() {
        let cache = AnswerCache::new(10_000);
        cache.keep(asked("paul met"), &tagged(&["paul", "met"], &[1, 0]));
        assert_eq!(cache.get(&asked("paul met")).unwrap().labels.len(), 2);
        assert!(cache.get(&asked("paul")).is_none());
        let words = TagInput::Words(vec!["paul".to_owned(), "met".to_owned()]);
        assert!(
            cache
                .get(&CacheKey::new(words, DecodingOptions::default()))
                .is_none()
        );
        let reading = DecodingOptions {
            aggregation: Aggregation::Max,
            ..DecodingOptions::default()
        };
        assert!(
            cache
                .get(&CacheKey::new(asked("paul met").source(), reading))
                .is_none()
        );
    }

    #[test]
    fn the_texts_asked_for_longest_ago_make_room() {
        let answer = tagged(&["paul"], &[1]);
        let each = ENTRY_BYTES + 1 + answer.bytes();
        let cache = AnswerCache::new(2 * each);
        cache.keep(asked("a"), &answer);
        cache.keep(asked("b"), &answer);
        assert!(cache.get(&asked("a")).is_some());
        cache.keep(asked("c"), &answer);
        let kept = ["a", "b", "c"].map(|text| cache.get(&asked(text)).is_some());
        assert_eq!(kept, [true, false, true]);
        // The same text again takes no second place, and what never fits takes none.
        cache.keep(asked("c"), &answer);
        cache.keep(asked(&"d".repeat(2 * each)), &answer);
        let kept = ["a", "c"].map(|text| cache.get(&asked(text)).is_some());
        assert_eq!(kept, [true, true]);
        assert_eq!(cache.lock().bytes, 2 * each);
    }
}
