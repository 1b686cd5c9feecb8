//! Replacement of mentions by others of their type.

use std::collections::{BTreeMap, HashSet};

use rand::Rng;

use crate::train::augment::word::{AugmentedWord, WordSource, mentions, mentions_of};

/// The distinct mentions of each type in the training sentences, in the order of their first occurrence.
#[derive(Debug, Default)]
pub(super) struct MentionPool {
    by_type: BTreeMap<String, Vec<Vec<String>>>,
    known: HashSet<(String, Vec<String>)>,
}

impl MentionPool {
    /// Adds the mentions of a sentence.
    pub(super) fn add(&mut self, words: &[String], tags: &[String]) {
        for mention in mentions(tags.iter().map(String::as_str)) {
            let Some((_, of)) = tags[mention.start].split_once('-') else {
                continue;
            };
            let words = words[mention].to_vec();
            if self.known.insert((of.to_owned(), words.clone())) {
                self.by_type.entry(of.to_owned()).or_default().push(words);
            }
        }
    }

    /// The words with each mention replaced, with this probability, by another one of its type.
    pub(super) fn replace(
        &self,
        words: &[AugmentedWord],
        probability: f64,
        generator: &mut impl Rng,
    ) -> Vec<AugmentedWord> {
        let mut replaced = Vec::with_capacity(words.len());
        let mut end = 0;
        for mention in mentions_of(words) {
            replaced.extend_from_slice(&words[end..mention.start]);
            end = mention.end;
            let old = &words[mention];
            let is_drawn = generator.random::<f64>() < probability;
            match self.other(old, generator).filter(|_| is_drawn) {
                Some((of, new)) => replaced.extend(new.iter().enumerate().map(|(at, word)| {
                    let prefix = if at == 0 { 'B' } else { 'I' };
                    AugmentedWord::new(word.clone(), format!("{prefix}-{of}"), WordSource::Mention)
                })),
                None => replaced.extend_from_slice(old),
            }
        }
        replaced.extend_from_slice(&words[end..]);
        replaced
    }

    /// Another mention of the same type; `None` if there is none.
    fn other<'p>(
        &'p self,
        mention: &[AugmentedWord],
        generator: &mut impl Rng,
    ) -> Option<(&'p str, &'p [String])> {
        let (_, of) = mention.first()?.tag.split_once('-')?;
        let (of, known) = self.by_type.get_key_value(of)?;
        let is_same = |other: &[String]| other.iter().eq(mention.iter().map(|word| &word.text));
        let at = generator.random_range(0..known.len());
        let drawn = known.iter().cycle().skip(at).take(known.len());
        let other = drawn.map(Vec::as_slice).find(|other| !is_same(other))?;
        Some((of, other))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::train::augment::word::tests::{shown, words};
    use crate::train::order::augmentation;

    fn pool(sentences: &[&str]) -> MentionPool {
        let mut pool = MentionPool::default();
        for sentence in sentences {
            let (words, tags): (Vec<String>, Vec<String>) = words(sentence)
                .into_iter()
                .map(|word| (word.text, word.tag))
                .unzip();
            pool.add(&words, &tags);
        }
        pool
    }

    #[test]
    fn a_mention_becomes_another_of_its_type_with_new_tags() {
        let pool = pool(&["Ann/B-per Lee/I-per in/O Rome/B-loc", "Bob/B-per", "Bob/B-per"]);
        let old = words("so/O Bob/B-per met/O Ann/B-per Lee/I-per in/O Rome/B-loc");
        let replaced = |probability| pool.replace(&old, probability, &mut augmentation(1, 0, 0, 0));
        // `Rome` is the only place, and `Bob` is known once.
        assert_eq!(
            shown(&replaced(1.0)),
            "so/O Ann/B-per Lee/I-per met/O Bob/B-per in/O Rome/B-loc"
        );
        let sources: Vec<WordSource> = replaced(1.0).iter().map(|word| word.source).collect();
        let (sentence, mention) = (WordSource::Sentence, WordSource::Mention);
        let expected = [
            sentence(0),
            mention,
            mention,
            sentence(2),
            mention,
            sentence(5),
            sentence(6),
        ];
        assert_eq!(sources, expected);
        assert_eq!(replaced(0.0), old);
    }
}
