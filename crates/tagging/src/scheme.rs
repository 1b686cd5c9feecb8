//! Detection of the tag scheme of a corpus, and conversion to IOB2.

use serde::Serialize;
use thiserror::Error;

use crate::sentence::Sentence;

/// A scheme that encodes entities as one tag per word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum TagScheme {
    /// `B-` starts every entity (CoNLL-2002, WNUT-17).
    Iob2,
    /// `B-` only where an entity directly follows another of its type (Ramshaw and Marcus 1995, CoNLL-2003).
    Iob1,
    /// `B-`, `I-`, `E-` and `S-` (or `L-` and `U-` for the last two) for first, inner, last and single words.
    Iobes,
    /// `I-` alone: adjacent words of one type form one entity. Classifiers have this scheme; a corpus is never read in it.
    Io,
    /// The type alone: adjacent words of one type form one entity. A corpus is never read in it.
    Plain,
}

/// A tag that belongs to no scheme.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error(
    "sentence {sentence}, word {word}: tag `{tag}` is not `O` or a prefix of BIESLU, a hyphen and a type"
)]
pub struct SchemeError {
    /// The sentence, counted from 0.
    pub sentence: usize,
    /// The word in its sentence, counted from 0.
    pub word: usize,
    /// The tag.
    pub tag: String,
}

/// The prefix and the entity type of a tag; `None` for `O`.
type TagParts<'t> = Option<(char, &'t str)>;

fn parse_tag(tag: &str) -> Result<TagParts<'_>, ()> {
    if tag == "O" {
        return Ok(None);
    }
    let (prefix, entity_type) = tag.split_once('-').ok_or(())?;
    match (prefix.as_bytes(), entity_type.is_empty()) {
        ([b @ (b'B' | b'I' | b'E' | b'S' | b'L' | b'U')], false) => Ok(Some((char::from(*b), entity_type))),
        _ => Err(()),
    }
}

/// Converts the tags of sentences to IOB2 and returns the scheme that they had.
///
/// A corpus with an `E-`, `S-`, `L-` or `U-` tag is IOBES. A corpus in which some `I-X` starts an entity, and every `B-X`
/// directly follows a word of type `X`, is IOB1. Any other corpus is IOB2 and stays unchanged, with its orphan `I-` tags.
pub fn to_iob2(sentences: &mut [Sentence]) -> Result<TagScheme, SchemeError> {
    let scheme = detect(sentences)?;
    if scheme != TagScheme::Iob2 {
        for sentence in sentences {
            rewrite(sentence, scheme);
        }
    }
    Ok(scheme)
}

fn detect(sentences: &[Sentence]) -> Result<TagScheme, SchemeError> {
    let (mut iobes, mut orphan_inside, mut opening_begin) = (false, false, false);
    for (index, sentence) in sentences.iter().enumerate() {
        let mut previous: TagParts = None;
        for (word, tag) in sentence.tags.iter().enumerate() {
            let current = parse_tag(tag).map_err(|()| SchemeError {
                sentence: index,
                word,
                tag: tag.clone(),
            })?;
            let continues = matches!((previous, current), (Some((_, a)), Some((_, b))) if a == b);
            match current {
                Some(('E' | 'S' | 'L' | 'U', _)) => iobes = true,
                Some(('I', _)) => orphan_inside |= !continues,
                Some(('B', _)) => opening_begin |= !continues,
                _ => {}
            }
            previous = current;
        }
    }
    Ok(match (iobes, orphan_inside && !opening_begin) {
        (true, _) => TagScheme::Iobes,
        (false, true) => TagScheme::Iob1,
        (false, false) => TagScheme::Iob2,
    })
}

fn rewrite(sentence: &mut Sentence, scheme: TagScheme) {
    // The type of the entity that is open after the previous word.
    let mut open: Option<String> = None;
    for tag in &mut sentence.tags {
        let Ok(Some((prefix, entity_type))) = parse_tag(tag) else {
            open = None;
            continue;
        };
        let entity_type = entity_type.to_owned();
        let starts = match (scheme, prefix) {
            (TagScheme::Iobes, 'B' | 'S' | 'U') | (_, 'B') => true,
            _ => open.as_ref() != Some(&entity_type),
        };
        *tag = format!("{}-{entity_type}", if starts { 'B' } else { 'I' });
        let closes = matches!(prefix, 'E' | 'L' | 'S' | 'U');
        open = (!closes).then_some(entity_type);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn converted(tags: &str) -> (TagScheme, String) {
        let mut sentences = [Sentence {
            words: tags.split(' ').map(str::to_owned).collect(),
            tags: tags.split(' ').map(str::to_owned).collect(),
        }];
        let scheme = to_iob2(&mut sentences).unwrap();
        (scheme, sentences[0].tags.join(" "))
    }

    #[test]
    fn schemes_are_told_apart_and_rewritten() {
        let cases = [
            ("O B-a I-a O", TagScheme::Iob2, "O B-a I-a O"),
            ("I-a I-a B-a O I-b", TagScheme::Iob1, "B-a I-a B-a O B-b"),
            ("S-a B-b I-b E-b S-b O", TagScheme::Iobes, "B-a B-b I-b I-b B-b O"),
            ("U-a B-b L-b B-b L-b", TagScheme::Iobes, "B-a B-b I-b B-b I-b"),
            // An orphan in a corpus whose other entities start with B: IOB2.
            ("B-a O I-a", TagScheme::Iob2, "B-a O I-a"),
        ];
        for (tags, scheme, expected) in cases {
            assert_eq!(converted(tags), (scheme, expected.to_owned()), "{tags}");
        }
    }

    #[test]
    fn a_tag_of_no_scheme_is_an_error() {
        let mut sentences = [Sentence {
            words: vec!["x".into()],
            tags: vec!["Q-a".into()],
        }];
        let error = to_iob2(&mut sentences).unwrap_err();
        assert_eq!((error.sentence, error.word), (0, 0));
    }
}
