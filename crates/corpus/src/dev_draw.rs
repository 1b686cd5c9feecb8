//! A dev split drawn from the training sentences.

use std::collections::HashMap;

use nerve_tagging::Sentence;
use sha2::{Digest, Sha256};

/// How a dev split is drawn from the training sentences.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct DevDraw {
    /// The share of the sentences, between 0 and 1.
    pub fraction: f64,
    /// The seed.
    pub seed: u64,
}

impl DevDraw {
    /// Whether each sentence belongs to the dev split; `None` if all sentences have the same words.
    ///
    /// Sentences with the same words stay together. The order of hashes decides, so that the draw depends on the seed and the
    /// sentences alone, whatever file and place they have.
    pub(crate) fn draw(&self, sentences: &[Sentence]) -> Option<Vec<bool>> {
        let mut groups = equal_sentences(sentences);
        groups.sort_by_cached_key(|group| self.hash(&sentences[group[0]]));
        if groups.len() < 2 {
            return None;
        }
        let wanted = (self.fraction * sentences.len() as f64).round() as usize;
        let wanted = wanted.clamp(1, sentences.len() - 1);
        let mut drawn: Vec<usize> = Vec::with_capacity(wanted);
        for group in &groups {
            if drawn.len() + group.len() <= wanted {
                drawn.extend(group);
            }
        }
        if drawn.is_empty() {
            drawn.extend(
                groups
                    .iter()
                    .min_by_key(|group| group.len())
                    .into_iter()
                    .flatten(),
            );
        }
        let mut is_dev = vec![false; sentences.len()];
        for index in drawn {
            if let Some(flag) = is_dev.get_mut(index) {
                *flag = true;
            }
        }
        Some(is_dev)
    }

    fn hash(&self, sentence: &Sentence) -> [u8; 32] {
        let mut hasher = Sha256::new();
        hasher.update(self.seed.to_le_bytes());
        for word in &sentence.words {
            hasher.update((word.len() as u64).to_le_bytes());
            hasher.update(word);
        }
        hasher.finalize().into()
    }
}

/// The indices of the sentences, those with the same words together, in the order of their first sentences.
pub fn equal_sentences(sentences: &[Sentence]) -> Vec<Vec<usize>> {
    let mut groups: Vec<Vec<usize>> = Vec::new();
    let mut group_of: HashMap<&[String], usize> = HashMap::new();
    for (index, sentence) in sentences.iter().enumerate() {
        let group = *group_of.entry(&sentence.words).or_insert_with(|| {
            groups.push(Vec::new());
            groups.len() - 1
        });
        groups[group].push(index);
    }
    groups
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sentences(texts: &[String]) -> Vec<Sentence> {
        let sentence = |text: &String| {
            let words: Vec<String> = text.split(' ').map(str::to_owned).collect();
            let tags = vec!["O".to_owned(); words.len()];
            Sentence { words, tags }
        };
        texts.iter().map(sentence).collect()
    }

    fn drawn(texts: &[String], fraction: f64, seed: u64) -> Option<Vec<bool>> {
        DevDraw { fraction, seed }.draw(&sentences(texts))
    }

    #[test]
    fn the_share_is_drawn_by_the_seed_whatever_the_order() {
        let texts: Vec<String> = (0..200).map(|at| format!("sentence {at}")).collect();
        let first = drawn(&texts, 0.1, 42).unwrap();
        assert_eq!(first.iter().filter(|&&is_dev| is_dev).count(), 20);
        assert_ne!(drawn(&texts, 0.1, 43).unwrap(), first);
        let reversed: Vec<String> = texts.iter().rev().cloned().collect();
        let mut other = drawn(&reversed, 0.1, 42).unwrap();
        other.reverse();
        assert_eq!(other, first);
    }

    #[test]
    fn sentences_of_the_same_words_stay_together() {
        let texts: Vec<String> = (0..90).map(|at| format!("sentence {}", at % 30)).collect();
        let found = drawn(&texts, 0.2, 1).unwrap();
        assert_eq!(found.iter().filter(|&&is_dev| is_dev).count(), 18);
        assert!((0..60).all(|at| found[at] == found[at + 30]));
    }

    #[test]
    fn neither_side_is_empty() {
        let of = |texts: &[&str], fraction| {
            let texts: Vec<String> = texts.iter().map(ToString::to_string).collect();
            drawn(&texts, fraction, 7).map(|flags| flags.into_iter().filter(|&is_dev| is_dev).count())
        };
        assert_eq!(of(&["a", "b"], 0.01), Some(1));
        assert_eq!(of(&["a", "b", "c"], 0.99), Some(2));
        // Of groups that are all larger than the share, the smallest is drawn.
        assert_eq!(of(&["a", "a", "a", "b", "b", "c", "c", "c"], 0.01), Some(2));
        assert_eq!(of(&["a", "a"], 0.5), None);
    }
}
