//! Where the examples of a corpus have special tokens and padding.

use std::collections::BTreeMap;

use nerve_trainer::Example;

use crate::weighted::TokenConfusion;

/// The positions of one example that carry no word's label.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct UnlabeledPositions {
    // Positions of the special tokens that begin and end the sentence: a window amid a sentence has none.
    specials: Vec<u32>,
    // Tokens by which the sentence is shorter than the longest; 0 except for a sentence's last window.
    padding: usize,
}

/// The special tokens and the padding of a corpus whose every subword is labeled, each once for a sentence however many
/// windows it has.
#[derive(Clone, Debug, Default)]
pub(crate) struct Positions {
    // By sentence and window.
    examples: BTreeMap<(usize, usize), UnlabeledPositions>,
}

impl Positions {
    /// The positions of examples, where a window has this number of special tokens before and after its subwords.
    pub(crate) fn of(examples: &[Example], (before, after): (usize, usize)) -> Self {
        let sentences = || examples.chunk_by(|one, next| one.sentence == next.sentence);
        let length = |sentence: &[Example]| {
            let subwords: usize = sentence.iter().map(|example| example.labeled.len()).sum();
            before + subwords + after
        };
        let longest = sentences().map(length).max().unwrap_or_default();
        let mut found = Self::default();
        for sentence in sentences() {
            for (at, example) in sentence.iter().enumerate() {
                let mut positions = UnlabeledPositions::default();
                let end = example.ids.len();
                if at == 0 {
                    positions.specials.extend((0..before).map(|at| at as u32));
                }
                if at + 1 == sentence.len() {
                    positions.specials.extend((end - after..end).map(|at| at as u32));
                    positions.padding = longest - length(sentence);
                }
                found
                    .examples
                    .insert((example.sentence, example.window), positions);
            }
        }
        found
    }

    /// The same, except that padding has become labeled tokens of the examples.
    pub(crate) fn without_padding(mut self) -> Self {
        for positions in self.examples.values_mut() {
            positions.padding = 0;
        }
        self
    }

    /// Counts an example whose tokens were given these labels.
    ///
    /// Tokens that are neither labeled nor special are those that another window of the sentence answers for.
    pub(crate) fn count(&self, confusion: &mut TokenConfusion, example: &Example, given: &[u32]) {
        let given = |position: u32| {
            given
                .get(position as usize)
                .map_or(usize::MAX, |&label| label as usize)
        };
        for &(position, right) in &example.labeled {
            confusion.add(right as usize, given(position));
        }
        if let Some(unlabeled) = self.examples.get(&(example.sentence, example.window)) {
            for &position in &unlabeled.specials {
                confusion.add_special(given(position));
            }
            confusion.add_padding(unlabeled.padding);
        }
    }
}

/// Pads examples to the longest and labels the padding `outside`, as the original study trained: its encoder saw the
/// padding, and its loss had it in the mean.
pub(crate) fn pad(examples: &mut [Example], padding: u32, outside: u32) {
    let longest = examples.iter().map(|example| example.ids.len()).max();
    for example in examples {
        let length = example.ids.len();
        let longest = longest.unwrap_or(length);
        example.ids.resize(longest, padding);
        let positions = (length..longest).map(|position| (position as u32, outside));
        example.labeled.extend(positions);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A window that answers for the tokens from `first`, of `length` tokens with two special ones.
    fn example(sentence: usize, window: usize, length: u32, first: u32) -> Example {
        Example {
            sentence,
            window,
            ids: vec![7; length as usize],
            labeled: (first..length - 1).map(|position| (position, 0)).collect(),
            ..Example::default()
        }
    }

    #[test]
    fn a_sentence_has_its_special_tokens_and_its_padding_once_however_many_windows_it_has() {
        let examples = [
            example(0, 0, 18, 1),
            example(0, 1, 18, 5),
            example(0, 2, 10, 5),
            example(3, 0, 5, 1),
        ];
        let positions = Positions::of(&examples, (1, 1));
        let of = |sentence, window| positions.examples[&(sentence, window)].clone();
        assert_eq!((of(0, 0).specials, of(0, 0).padding), (vec![0], 0));
        assert_eq!(of(0, 1), UnlabeledPositions::default());
        assert_eq!((of(0, 2).specials, of(0, 2).padding), (vec![9], 0));
        // 32 subwords and 2 special tokens against 3 and 2.
        assert_eq!((of(3, 0).specials, of(3, 0).padding), (vec![0, 4], 29));
        assert_eq!(positions.without_padding().examples[&(3, 0)].padding, 0);
    }

    #[test]
    fn padding_is_labeled_and_reaches_the_longest_window() {
        let mut made = [example(0, 0, 4, 1), example(1, 0, 2, 1)];
        pad(&mut made, 9, 3);
        assert_eq!(made[0], example(0, 0, 4, 1));
        assert_eq!(
            (&made[1].ids[..], &made[1].labeled[..]),
            (&[7, 7, 9, 9][..], &[(2, 3), (3, 3)][..])
        );
    }

    #[test]
    fn tokens_that_another_window_answers_for_are_left_out() {
        let first = Example {
            labeled: vec![(1, 1), (2, 0)],
            ..example(0, 0, 5, 1)
        };
        let examples = [first, example(0, 1, 4, 1), example(1, 0, 10, 1)];
        let positions = Positions::of(&examples, (1, 1));
        let mut confusion = TokenConfusion::new(2);
        positions.count(&mut confusion, &examples[0], &[1, 1, 0, 0, 0]);
        // Two right labels and a special token: positions 3 and 4 are another window's, and so is the padding.
        assert!((confusion.weighted(0).accuracy - 2.0 / 3.0).abs() < 1e-12);
        positions.count(&mut confusion, &examples[1], &[1, 0, 0, 1]);
        // Two more right labels, a special token, and the four positions to the longest sentence.
        assert!((confusion.weighted(0).accuracy - 8.0 / 10.0).abs() < 1e-12);
    }
}
