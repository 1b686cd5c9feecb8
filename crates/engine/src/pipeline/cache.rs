//! A cache of the answers of recent texts.

use std::hash::{BuildHasher, Hash, Hasher, RandomState};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

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
    hashing: RandomState,
}

struct CacheState {
    answers: LruCache<HashedKey, CachedAnswer>,
    // Invariant: the sum of the entries' bytes.
    bytes: usize,
}

/// A text, and how its labels are decided.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct CacheKey {
    source: TagInput,
    reading: DecodingOptions,
}

/// A key and its hash. The text is hashed once, before the cache is locked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct HashedKey {
    hash: u64,
    key: Arc<CacheKey>,
}

impl HashedKey {
    /// The text.
    pub(crate) fn source(&self) -> TagInput {
        self.key.source.clone()
    }
}

impl Hash for HashedKey {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.hash.hash(state);
    }
}

struct CachedAnswer {
    answer: Arc<TaggedText>,
    bytes: usize,
}

impl CacheKey {
    pub(crate) fn new(source: TagInput, reading: DecodingOptions) -> Self {
        Self { source, reading }
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
            hashing: RandomState::new(),
        }
    }

    /// The key, hashed for this cache.
    pub(crate) fn hashed(&self, key: CacheKey) -> HashedKey {
        HashedKey {
            hash: self.hashing.hash_one(&key),
            key: Arc::new(key),
        }
    }

    /// The answer of this text, if it is cached.
    pub(crate) fn get(&self, asked: &HashedKey) -> Option<Arc<TaggedText>> {
        self.lock()
            .answers
            .get(asked)
            .map(|entry| Arc::clone(&entry.answer))
    }

    /// Adds an answer; the least recently used ones are evicted to make space.
    pub(crate) fn keep(&self, asked: HashedKey, answer: &Arc<TaggedText>) {
        let bytes = ENTRY_BYTES + asked.key.bytes() + answer.bytes();
        if bytes > self.limit_bytes {
            return;
        }
        let entry = CachedAnswer {
            answer: Arc::clone(answer),
            bytes,
        };
        // Freed once the cache is unlocked.
        let mut evicted = Vec::new();
        let mut kept = self.lock();
        kept.bytes += bytes;
        if let Some((key, before)) = kept.answers.push(asked, entry) {
            kept.bytes -= before.bytes;
            evicted.push((key, before));
        }
        while kept.bytes > self.limit_bytes {
            let Some((key, oldest)) = kept.answers.pop_lru() else {
                break;
            };
            kept.bytes -= oldest.bytes;
            evicted.push((key, oldest));
        }
        drop(kept);
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

    fn key(source: TagInput) -> CacheKey {
        CacheKey::new(source, DecodingOptions::default())
    }

    fn text(text: &str) -> CacheKey {
        key(TagInput::Text(text.to_owned()))
    }

    #[test]
    fn an_answer_is_that_of_the_same_text_read_in_the_same_way() {
        let cache = AnswerCache::new(10_000);
        let get = |key| cache.get(&cache.hashed(key));
        let answer = Arc::new(tagged(&["paul", "met"], &[1, 0]));
        cache.keep(cache.hashed(text("paul met")), &answer);
        // No copy: the time under the lock does not depend on the answer's length.
        assert!(Arc::ptr_eq(&get(text("paul met")).unwrap(), &answer));
        assert!(get(text("paul")).is_none());
        assert!(get(key(TagInput::Words(vec!["paul".to_owned(), "met".to_owned()]))).is_none());
        let reading = DecodingOptions {
            aggregation: Aggregation::Max,
            ..DecodingOptions::default()
        };
        assert!(get(CacheKey::new(TagInput::Text("paul met".to_owned()), reading)).is_none());
    }

    #[test]
    fn the_texts_asked_for_longest_ago_make_room() {
        let answer = Arc::new(tagged(&["paul"], &[1]));
        let each = ENTRY_BYTES + 1 + answer.bytes();
        let cache = AnswerCache::new(2 * each);
        let keep = |key| cache.keep(cache.hashed(key), &answer);
        let has = |key| cache.get(&cache.hashed(text(key))).is_some();
        keep(text("a"));
        keep(text("b"));
        assert!(has("a"));
        keep(text("c"));
        assert_eq!(["a", "b", "c"].map(has), [true, false, true]);
        // The same text again takes no second place, and what never fits takes none.
        keep(text("c"));
        keep(text(&"d".repeat(2 * each)));
        assert_eq!(["a", "c"].map(has), [true, true]);
        assert_eq!(cache.lock().bytes, 2 * each);
    }
}
