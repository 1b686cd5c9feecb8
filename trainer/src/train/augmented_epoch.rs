//! The examples of an epoch whose sentences are changed.

use std::collections::HashMap;

use crate::train::example::Example;

/// The examples of the sentences that are changed in an epoch, by the index of their sentence. The others are those of the
/// training set.
#[derive(Debug, Default)]
pub(super) struct AugmentedEpoch(HashMap<usize, Vec<Example>>);

impl AugmentedEpoch {
    /// Takes the examples of a changed sentence, unless it has not as many windows as the unchanged one: the numbers of steps
    /// and windows are those of the unchanged sentences.
    pub(super) fn add(&mut self, unchanged: &[Example], changed: Vec<Example>) {
        if let Some(first) = unchanged.first().filter(|_| changed.len() == unchanged.len()) {
            self.0.insert(first.sentence, changed);
        }
    }

    /// The batches with the examples of this epoch in place of the unchanged ones, window by window.
    pub(super) fn replace<'e>(
        &'e self,
        unchanged: &'e [Example],
        batches: Vec<Vec<&'e Example>>,
    ) -> Vec<Vec<&'e Example>> {
        if self.0.is_empty() {
            return batches;
        }
        // The place of each example among those of its sentence: a window without labeled tokens makes no example.
        let of_sentences = unchanged.chunk_by(|one, next| one.sentence == next.sentence);
        let changed: HashMap<(usize, usize), &Example> = of_sentences
            .filter_map(|of_sentence| Some((of_sentence, self.0.get(&of_sentence.first()?.sentence)?)))
            .flat_map(|(of_sentence, changed)| of_sentence.iter().zip(changed))
            .map(|(unchanged, changed)| ((unchanged.sentence, unchanged.window), changed))
            .collect();
        let of_epoch = |example: &'e Example| {
            let changed = changed.get(&(example.sentence, example.window));
            changed.copied().unwrap_or(example)
        };
        let batch = |batch: Vec<&'e Example>| batch.into_iter().map(of_epoch).collect();
        batches.into_iter().map(batch).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn example(sentence: usize, window: usize, id: u32) -> Example {
        Example {
            sentence,
            window,
            ids: vec![id],
            ..Example::default()
        }
    }

    #[test]
    fn changed_windows_take_the_places_of_the_unchanged_ones() {
        let unchanged = [
            example(0, 0, 1),
            example(2, 0, 2),
            example(2, 2, 3),
            example(3, 0, 4),
        ];
        let mut epoch = AugmentedEpoch::default();
        epoch.add(&unchanged[1..3], vec![example(2, 0, 12), example(2, 1, 13)]);
        // Another number of windows: the sentence stays as it is.
        epoch.add(&unchanged[3..], vec![example(3, 0, 14), example(3, 1, 15)]);
        let batches = vec![
            vec![&unchanged[2], &unchanged[0]],
            vec![&unchanged[3], &unchanged[1]],
        ];
        let ids = |batches: Vec<Vec<&Example>>| -> Vec<u32> {
            batches.concat().iter().map(|example| example.ids[0]).collect()
        };
        assert_eq!(ids(epoch.replace(&unchanged, batches.clone())), [13, 1, 4, 12]);
        let none = AugmentedEpoch::default();
        assert_eq!(ids(none.replace(&unchanged, batches)), [3, 1, 4, 2]);
    }
}
