//! Whole-word masking: which words are hidden, and what stands in their place.

use std::ops::Range;

use nerve_inference::TextTokenizer;
use rand::Rng;
use rand::rngs::StdRng;
use rand::seq::SliceRandom;

use crate::train::example::Example;

/// The share of the tokens of chosen words that become the mask; half of the others become random tokens, and the rest stays
/// (Devlin et al. 2019).
const MASKED: f64 = 0.8;
const RANDOM: f64 = 0.1;

/// Hides whole words of windows.
pub(super) struct Masking {
    mask: u32,
    vocabulary: u32,
    /// Tokens that never stand in the place of a word.
    specials: Vec<u32>,
    probability: f64,
}

impl Masking {
    /// The masking with a tokenizer's mask token; `None` if it has none.
    pub(super) fn new(tokenizer: &TextTokenizer, vocabulary: usize, probability: f64) -> Option<Self> {
        let of = |names: &[&str]| names.iter().find_map(|name| tokenizer.token_to_id(name));
        let mask = of(&["[MASK]", "<mask>"])?;
        let names = [
            "[PAD]", "[CLS]", "[SEP]", "[UNK]", "<pad>", "<s>", "</s>", "<unk>",
        ];
        let specials = names.iter().filter_map(|name| tokenizer.token_to_id(name));
        Some(Self {
            mask,
            vocabulary: u32::try_from(tokenizer.vocab_size().min(vocabulary)).ok()?,
            specials: specials.chain([mask]).collect(),
            probability,
        })
    }

    /// The window with a share of its words hidden, at least one, and the true ids of all of their tokens as labels.
    pub(super) fn hide(&self, window: &Example, words: &[Range<usize>], generator: &mut StdRng) -> Example {
        let count = (self.probability * words.len() as f64).round() as usize;
        let mut chosen: Vec<&Range<usize>> = words.iter().collect();
        chosen.shuffle(generator);
        chosen.truncate(count.max(1));
        chosen.sort_by_key(|word| word.start);
        let mut hidden = Example {
            labeled: Vec::new(),
            ..window.clone()
        };
        for at in chosen.into_iter().flat_map(Clone::clone) {
            let Some(id) = hidden.ids.get_mut(at) else {
                continue;
            };
            hidden.labeled.push((at as u32, *id));
            let draw: f64 = generator.random();
            if draw < MASKED {
                *id = self.mask;
            } else if draw < MASKED + RANDOM {
                *id = self.random_token(generator);
            }
        }
        hidden
    }

    fn random_token(&self, generator: &mut StdRng) -> u32 {
        // A vocabulary of special tokens alone has no other token.
        for _ in 0..100 {
            let token = generator.random_range(0..self.vocabulary.max(1));
            if !self.specials.contains(&token) {
                return token;
            }
        }
        self.mask
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng;

    #[test]
    fn whole_words_are_hidden_and_most_of_their_tokens_masked() {
        let masking = Masking {
            mask: 4,
            vocabulary: 100,
            specials: vec![0, 1, 2, 3, 4],
            probability: 0.15,
        };
        // 40 words of two tokens between two special tokens.
        let words: Vec<Range<usize>> = (0..40).map(|word| 1 + 2 * word..3 + 2 * word).collect();
        let window = Example {
            ids: (0..82)
                .map(|at| {
                    if at == 0 {
                        2
                    } else if at == 81 {
                        3
                    } else {
                        9
                    }
                })
                .collect(),
            ..Example::default()
        };
        let mut generator = StdRng::seed_from_u64(3);
        let (mut masked, mut kept, mut random) = (0, 0, 0);
        for _ in 0..500 {
            let hidden = masking.hide(&window, &words, &mut generator);
            // 15% of 40 words.
            assert_eq!(hidden.labeled.len(), 12);
            let positions: Vec<u32> = hidden.labeled.iter().map(|(at, _)| *at).collect();
            assert!(
                positions
                    .chunks(2)
                    .all(|pair| pair[0] % 2 == 1 && pair[1] == pair[0] + 1)
            );
            assert!(positions.is_sorted());
            for (at, true_id) in hidden.labeled {
                assert_eq!(true_id, 9);
                match hidden.ids[at as usize] {
                    4 => masked += 1,
                    9 => kept += 1,
                    id => {
                        assert!((5..100).contains(&id));
                        random += 1;
                    }
                }
            }
            assert_eq!((hidden.ids[0], hidden.ids[81]), (2, 3));
        }
        let share = |count: i32| f64::from(count) / 6000.0;
        assert!((share(masked) - 0.8).abs() < 0.02, "{masked}");
        assert!(
            (share(kept) - 0.1).abs() < 0.02 && (share(random) - 0.1).abs() < 0.02,
            "{kept} {random}"
        );
        let one = masking.hide(&window, &words[..1], &mut generator);
        assert_eq!(one.labeled.len(), 2);
    }
}
