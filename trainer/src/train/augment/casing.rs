//! Sentences in another case.

use rand::Rng;

use crate::train::augment::word::AugmentedWord;

/// Lowercases, uppercases or title-cases the words with this probability.
pub(super) fn change_case(words: &mut [AugmentedWord], probability: f64, generator: &mut impl Rng) {
    let change: fn(&str) -> String = match generator.random_range(0..3) {
        0 => str::to_lowercase,
        1 => str::to_uppercase,
        _ => title_case,
    };
    if generator.random::<f64>() < probability {
        words.iter_mut().for_each(|word| word.text = change(&word.text));
    }
}

/// The first letter in upper case, the others in lower case.
fn title_case(word: &str) -> String {
    let mut is_first = true;
    let mut changed = String::with_capacity(word.len());
    for letter in word.chars() {
        match is_first && letter.is_alphabetic() {
            true => changed.extend(letter.to_uppercase()),
            false => changed.extend(letter.to_lowercase()),
        }
        is_first = is_first && !letter.is_alphabetic();
    }
    changed
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::train::augment::word::tests::{shown, words};
    use crate::train::order::augmentation;

    #[test]
    fn a_sentence_is_changed_in_each_of_three_ways() {
        let changed = |epoch, probability| {
            let mut words = words("#iPhone/B-x of/O ÉMILE/B-y");
            change_case(&mut words, probability, &mut augmentation(1, 3, epoch, 0));
            shown(&words)
        };
        let found: BTreeSet<String> = (0..40).map(|epoch| changed(epoch, 1.0)).collect();
        let expected = [
            "#IPHONE/B-x OF/O ÉMILE/B-y",
            "#Iphone/B-x Of/O Émile/B-y",
            "#iphone/B-x of/O émile/B-y",
        ];
        assert_eq!(found, expected.map(str::to_owned).into());
        assert_eq!(changed(0, 0.0), "#iPhone/B-x of/O ÉMILE/B-y");
    }
}
