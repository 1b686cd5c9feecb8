//! Symbols inserted between the words of a sentence.

use rand::Rng;
use rand::seq::IndexedRandom;

use crate::train::augment::word::{AugmentedWord, WordSource, is_inside, mentions_of};

/// The most insertions into a sentence.
const MOST_INSERTIONS: usize = 3;
/// The most copies of an emoji in a row.
const MOST_COPIES: usize = 3;

const EMOJI: [&str; 36] = [
    "😀", "😂", "😍", "😭", "🙏", "🔥", "❤️", "💯", "👀", "👉", "👍", "🎉", "🎶", "📍", "📷", "🚀", "✨",
    "⭐", "⚽", "🏀", "☀️", "☕", "✈️", "🇺🇸", "🇬🇧", "🤔", "🙄", "💔", "🚨", "🎂", "🏆", "♥", "☺", "🐶", "🍕",
    "💰",
];
const LIST_MARKS: [&str; 24] = [
    "•", "*", "-", "–", "—", "→", "»", "▪", "■", "●", "◦", "★", "✓", "✔", "✗", "☑", "#", "##", ">", "+", "=",
    "1.", "2)", "a)",
];
const PUNCTUATION: [&str; 20] = [
    "—", "–", "-", "--", "…", "...", "/", "|", "~", "&", "+", "=", "->", "•", "·", ":)", ":(", "<3", "!!!",
    "?!",
];
const QUOTES: [(&str, &str); 8] = [
    ("\"", "\""),
    ("“", "”"),
    ("'", "'"),
    ("‘", "’"),
    ("«", "»"),
    ("(", ")"),
    ("[", "]"),
    ("*", "*"),
];

/// The words with symbols inserted, with this probability, at the beginning, at the end, between words or around a mention.
pub(super) fn insert_symbols(
    words: Vec<AugmentedWord>,
    probability: f64,
    generator: &mut impl Rng,
) -> Vec<AugmentedWord> {
    let insertions = generator.random_range(1..=MOST_INSERTIONS);
    if generator.random::<f64>() >= probability {
        return words;
    }
    (0..insertions).fold(words, |words, _| insert(words, generator))
}

fn insert(mut words: Vec<AugmentedWord>, generator: &mut impl Rng) -> Vec<AugmentedWord> {
    match generator.random_range(0..4) {
        0 => put(&mut words, 0, symbol(&LIST_MARKS, generator)),
        1 => {
            let at = free_place(&words, generator);
            let emoji = symbol(&EMOJI, generator);
            for _ in 0..generator.random_range(1..=MOST_COPIES) {
                put(&mut words, at, emoji);
            }
        }
        2 => {
            let at = free_place(&words, generator);
            put(&mut words, at, symbol(&PUNCTUATION, generator));
        }
        _ => {
            let mention = mentions_of(&words).choose(generator).cloned();
            let quoted = mention.unwrap_or(0..words.len());
            let (before, after) = QUOTES.choose(generator).copied().unwrap_or_default();
            if is_free(&words, quoted.end) {
                put(&mut words, quoted.end, after);
                put(&mut words, quoted.start, before);
            }
        }
    }
    words
}

fn symbol(of: &[&'static str], generator: &mut impl Rng) -> &'static str {
    of.choose(generator).copied().unwrap_or_default()
}

/// Whether a symbol before this word, or after the last one, is inside no mention.
fn is_free(words: &[AugmentedWord], at: usize) -> bool {
    words.get(at).is_none_or(|word| !is_inside(&word.tag))
}

/// The beginning or the end of the words, or a place between two of them.
fn free_place(words: &[AugmentedWord], generator: &mut impl Rng) -> usize {
    match generator.random_range(0..3) {
        0 => 0,
        1 => words.len(),
        _ => {
            let places: Vec<usize> = (0..words.len()).filter(|&at| is_free(words, at)).collect();
            places.choose(generator).copied().unwrap_or_default()
        }
    }
}

fn put(words: &mut Vec<AugmentedWord>, at: usize, symbol: &str) {
    let word = AugmentedWord::new(symbol.to_owned(), "O".to_owned(), WordSource::Symbol);
    words.insert(at, word);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::train::augment::word::tests::words;
    use crate::train::order::augmentation;

    #[test]
    fn symbols_are_outside_of_every_mention_and_words_keep_their_order() {
        let old = words("New/B-loc York/I-loc and/O Ann/B-per Lee/I-per Roe/I-per");
        let mentions = |words: &[AugmentedWord]| -> Vec<Vec<String>> {
            let texts = |mention: std::ops::Range<usize>| {
                words[mention].iter().map(|word| word.text.clone()).collect()
            };
            mentions_of(words).into_iter().map(texts).collect()
        };
        let (mut first, mut last, mut amid, mut around) = (0, 0, 0, 0);
        for epoch in 0..300 {
            let found = insert_symbols(old.clone(), 1.0, &mut augmentation(1, 2, epoch, 0));
            let kept: Vec<_> = found
                .iter()
                .filter(|w| w.source != WordSource::Symbol)
                .cloned()
                .collect();
            assert_eq!(kept, old);
            assert_eq!(mentions(&found), mentions(&old));
            let symbols = || {
                found
                    .iter()
                    .enumerate()
                    .filter(|(_, word)| word.source == WordSource::Symbol)
            };
            assert!(symbols().all(|(_, word)| word.tag == "O" && !word.text.is_empty()));
            first += usize::from(found[0].source == WordSource::Symbol);
            last += usize::from(found[found.len() - 1].source == WordSource::Symbol);
            amid += usize::from(symbols().any(|(at, _)| at > 0 && at + 1 < found.len()));
            around += usize::from(symbols().any(|(_, word)| word.text == "«"));
        }
        assert!(
            first > 50 && last > 50 && amid > 50 && around > 5,
            "{first} {last} {amid} {around}"
        );
        assert_eq!(
            insert_symbols(old.clone(), 0.0, &mut augmentation(1, 2, 0, 0)),
            old
        );
    }
}
