//! A cache of the subword ids of recent words.

use std::collections::HashMap;
use std::mem::take;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The number of words in a generation.
const GENERATION: usize = 1 << 15;
/// The longest word that is cached, in bytes. Longer words are rare.
const LONGEST: usize = 32;

/// The ids of the subwords of a word.
pub(crate) type WordIds = Arc<[u32]>;

/// The subword ids of recent words, in bounded memory.
///
/// Words recur in text, and tokenizing them is the most expensive step between a request and its batch. The cache has
/// a young and an old generation. A full young generation replaces the old one, and a word that is found in the old
/// generation moves to the young one. So frequent words stay cached.
#[derive(Default)]
pub(crate) struct WordCache(Mutex<Generations>);

#[derive(Default)]
pub(crate) struct Generations {
    young: HashMap<Box<str>, WordIds>,
    old: HashMap<Box<str>, WordIds>,
    /// Words of one byte, such as punctuation marks, by that byte.
    short: Vec<Option<WordIds>>,
}

impl WordCache {
    /// Locks the cache.
    pub(crate) fn lock(&self) -> MutexGuard<'_, Generations> {
        // No code panics in the middle of a change while it holds the lock.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Generations {
    /// The cached subword ids of a word.
    pub(crate) fn get(&mut self, word: &str) -> Option<WordIds> {
        if let &[byte] = word.as_bytes() {
            return self.short.get(usize::from(byte))?.clone();
        }
        if let Some(ids) = self.young.get(word) {
            return Some(Arc::clone(ids));
        }
        let (word, ids) = self.old.remove_entry(word)?;
        self.insert(word, Arc::clone(&ids));
        Some(ids)
    }

    /// Caches the subword ids of a word, unless the word is too long.
    pub(crate) fn keep(&mut self, word: &str, ids: &WordIds) {
        if let &[byte] = word.as_bytes() {
            self.short.resize(1 << 8, None);
            if let Some(short) = self.short.get_mut(usize::from(byte)) {
                *short = Some(Arc::clone(ids));
            }
        } else if word.len() <= LONGEST {
            self.insert(word.into(), Arc::clone(ids));
        }
    }

    fn insert(&mut self, word: Box<str>, ids: WordIds) {
        if self.young.len() >= GENERATION {
            self.old = take(&mut self.young);
        }
        self.young.insert(word, ids);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ids(of: u32) -> WordIds {
        Arc::from([of])
    }

    #[test]
    fn words_in_use_stay_and_memory_is_bounded() {
        let cache = WordCache::default();
        let mut words = cache.lock();
        words.keep("usual", &ids(7));
        words.keep("%", &ids(8));
        for number in 0..3 * GENERATION as u32 {
            words.keep(&format!("rare{number}"), &ids(number));
            if number % 1000 == 0 {
                assert_eq!(words.get("usual"), Some(ids(7)));
            }
        }
        assert_eq!(words.get("usual"), Some(ids(7)));
        assert_eq!(words.get("rare1"), None);
        assert_eq!((words.get("%"), words.get("!")), (Some(ids(8)), None));
        assert!(words.young.len() <= GENERATION && words.old.len() <= GENERATION);
    }

    #[test]
    fn long_words_are_not_kept() {
        let cache = WordCache::default();
        let word = "a".repeat(LONGEST + 1);
        cache.lock().keep(&word, &ids(1));
        assert_eq!(cache.lock().get(&word), None);
    }
}
