//! A word of an augmented sentence, and the mentions that such words form.

use std::ops::Range;

/// Where a word of an augmented sentence is from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum WordSource {
    /// The word of the sentence at this index, perhaps spelled in another way. Its targets are those of this word.
    Sentence(usize),
    /// An inserted symbol, which is `O` for certain.
    Symbol,
    /// A word of another mention, or a mention joined to a word. Its tag is its only target.
    Mention,
}

/// A word of an augmented sentence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct AugmentedWord {
    pub(super) text: String,
    /// The IOB2 tag.
    pub(super) tag: String,
    pub(super) source: WordSource,
    /// Whether its tokens become the mask token.
    pub(super) hidden: bool,
}

impl AugmentedWord {
    pub(super) fn new(text: String, tag: String, source: WordSource) -> Self {
        Self {
            text,
            tag,
            source,
            hidden: false,
        }
    }
}

/// Whether a word with this tag may not be parted from the word before it.
pub(super) fn is_inside(tag: &str) -> bool {
    tag.starts_with("I-")
}

/// The mentions of IOB2 tags: a `B-X` and each `I-X` that follows. As `nerve_tagging::entities` with `OrphanRule::Drop`, for tags
/// that are still text.
pub(super) fn mentions<'t>(tags: impl Iterator<Item = &'t str>) -> Vec<Range<usize>> {
    let mut found: Vec<Range<usize>> = Vec::new();
    let mut open: Option<&str> = None;
    for (word, tag) in tags.enumerate() {
        match tag.split_once('-') {
            Some(("B", of)) => {
                found.push(word..word + 1);
                open = Some(of);
            }
            Some(("I", of)) if open == Some(of) => {
                if let Some(mention) = found.last_mut() {
                    mention.end = word + 1;
                }
            }
            _ => open = None,
        }
    }
    found
}

/// The mentions of augmented words.
pub(super) fn mentions_of(words: &[AugmentedWord]) -> Vec<Range<usize>> {
    mentions(words.iter().map(|word| word.tag.as_str()))
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// The words of `text/tag` pairs, as a sentence has them.
    pub(in crate::train::augment) fn words(text: &str) -> Vec<AugmentedWord> {
        let word = |(at, pair): (usize, &str)| {
            let (word, tag) = pair.split_once('/').unwrap();
            AugmentedWord::new(word.to_owned(), tag.to_owned(), WordSource::Sentence(at))
        };
        text.split(' ').enumerate().map(word).collect()
    }

    /// The words as `text/tag` pairs.
    pub(in crate::train::augment) fn shown(words: &[AugmentedWord]) -> String {
        let pairs: Vec<String> = words
            .iter()
            .map(|word| format!("{}/{}", word.text, word.tag))
            .collect();
        pairs.join(" ")
    }

    #[test]
    fn mentions_begin_at_b_and_go_on_with_their_type() {
        let found = mentions("I-x B-x I-x I-y B-y B-y I-y O I-y".split(' '));
        assert_eq!(found, [1..3, 4..5, 5..7]);
    }
}
