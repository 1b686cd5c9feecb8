//! Mentions as hashtags.

use rand::Rng;

use crate::train::augment::word::{AugmentedWord, WordSource, mentions_of};

/// The words with each mention, with this probability, joined to a hashtag, or without the `#` or `@` that it begins with.
pub(super) fn tag_mentions(
    words: &[AugmentedWord],
    probability: f64,
    generator: &mut impl Rng,
) -> Vec<AugmentedWord> {
    let mut changed = Vec::with_capacity(words.len());
    let mut end = 0;
    for mention in mentions_of(words) {
        changed.extend_from_slice(&words[end..mention.start]);
        end = mention.end;
        let old = &words[mention];
        match generator.random::<f64>() < probability {
            true => changed.extend(without_sign(old).unwrap_or_else(|| joined(old))),
            false => changed.extend_from_slice(old),
        }
    }
    changed.extend_from_slice(&words[end..]);
    changed
}

/// The mention without the sign that its first word begins with; `None` if it has none, or is nothing else.
fn without_sign(mention: &[AugmentedWord]) -> Option<Vec<AugmentedWord>> {
    let text = mention.first()?.text.strip_prefix(['#', '@'])?;
    if text.is_empty() {
        return None;
    }
    let mut changed = mention.to_vec();
    changed.first_mut()?.text = text.to_owned();
    Some(changed)
}

/// `#` and the letters, digits and underscores of the mention as one word; the mention itself if it has none.
fn joined(mention: &[AugmentedWord]) -> Vec<AugmentedWord> {
    let letters = mention.iter().flat_map(|word| word.text.chars());
    let text: String = letters.filter(|&c| c.is_alphanumeric() || c == '_').collect();
    match (mention.first(), text.is_empty()) {
        (Some(first), false) => vec![AugmentedWord::new(
            format!("#{text}"),
            first.tag.clone(),
            WordSource::Mention,
        )],
        _ => mention.to_vec(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::train::augment::word::tests::{shown, words};
    use crate::train::order::augmentation;

    #[test]
    fn mentions_become_hashtags_and_hashtags_become_mentions() {
        let old = words("a/O New/B-loc York/I-loc #Rome/B-loc @ann/B-per AT/B-org &/I-org T/I-org");
        let changed = |probability| tag_mentions(&old, probability, &mut augmentation(1, 1, 0, 0));
        let all = changed(1.0);
        assert_eq!(shown(&all), "a/O #NewYork/B-loc Rome/B-loc ann/B-per #ATT/B-org");
        let sources: Vec<WordSource> = all.iter().map(|word| word.source).collect();
        let sentence = WordSource::Sentence;
        let expected = [
            sentence(0),
            WordSource::Mention,
            sentence(3),
            sentence(4),
            WordSource::Mention,
        ];
        assert_eq!(sources, expected);
        assert_eq!(changed(0.0), old);
        let symbols = words("&/B-org @/B-per x/I-per");
        let changed = tag_mentions(&symbols, 1.0, &mut augmentation(1, 1, 0, 0));
        assert_eq!(shown(&changed), "&/B-org #x/B-per");
    }
}
