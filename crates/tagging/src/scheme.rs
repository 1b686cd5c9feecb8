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
    /// The type alone: adjacent words of one type form one entity.
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
/// directly follows a word of type `X`, is IOB1. A corpus with an `O` and other tags of which none has a prefix consists of bare
/// types. Any other corpus is IOB2 and stays unchanged, with its orphan `I-` tags.
pub fn to_iob2(sentences: &mut [Sentence]) -> Result<TagScheme, SchemeError> {
    convert(sentences, None)
}

/// [`to_iob2`] of predictions for a corpus of the scheme `gold`.
///
/// Where `gold` is IOB2 or IOBES, predictions in which every entity starts with `I-X` are not IOB1: they have orphans.
pub fn predicted_to_iob2(sentences: &mut [Sentence], gold: TagScheme) -> Result<TagScheme, SchemeError> {
    convert(sentences, Some(gold))
}

fn convert(sentences: &mut [Sentence], gold: Option<TagScheme>) -> Result<TagScheme, SchemeError> {
    let scheme = match (detect(sentences)?, gold) {
        (TagScheme::Iob1, Some(TagScheme::Iob2 | TagScheme::Iobes)) => TagScheme::Iob2,
        // Without an orphan of its own the file shows no scheme.
        (TagScheme::Iob2, Some(TagScheme::Iob1)) => TagScheme::Iob1,
        (scheme, _) => scheme,
    };
    if scheme != TagScheme::Iob2 {
        for sentence in sentences {
            rewrite(sentence, scheme);
        }
    }
    Ok(scheme)
}

/// Whether a tag can be a type without a prefix: it does not look like a prefix and a type, or a number.
fn is_bare_type(tag: &str) -> bool {
    let has_letter = tag.contains(char::is_alphabetic);
    has_letter && tag.split_once('-').is_none_or(|(prefix, _)| prefix.len() > 1)
}

/// Whether the tags are `O` and bare types.
fn has_bare_types(sentences: &[Sentence]) -> bool {
    let tags = || sentences.iter().flat_map(|sentence| &sentence.tags);
    let mut others = tags().filter(|tag| *tag != "O").peekable();
    others.peek().is_some() && tags().any(|tag| tag == "O") && others.all(|tag| is_bare_type(tag))
}

fn detect(sentences: &[Sentence]) -> Result<TagScheme, SchemeError> {
    if has_bare_types(sentences) {
        return Ok(TagScheme::Plain);
    }
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
        let parts = match scheme {
            TagScheme::Plain => Ok((tag != "O").then_some(('I', tag.as_str()))),
            _ => parse_tag(tag),
        };
        let Ok(Some((prefix, entity_type))) = parts else {
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
            ("PER PER O LOC PER", TagScheme::Plain, "B-PER I-PER O B-LOC B-PER"),
            ("I-a I-a O I-b", TagScheme::Iob1, "B-a I-a O B-b"),
            // An orphan in a corpus whose other entities start with B: IOB2.
            ("B-a O I-a", TagScheme::Iob2, "B-a O I-a"),
        ];
        for (tags, scheme, expected) in cases {
            assert_eq!(converted(tags), (scheme, expected.to_owned()), "{tags}");
        }
    }

    #[test]
    fn a_tag_of_no_scheme_is_an_error() {
        for tags in [
            &["Q-a"][..],
            &["O", "Q-a"],
            &["O", "7"],
            &["PER"],
            &["O", "B-a", "PER"],
        ] {
            let mut sentences = [Sentence {
                words: tags.iter().map(|_| "x".into()).collect(),
                tags: tags.iter().map(|&tag| tag.into()).collect(),
            }];
            let error = to_iob2(&mut sentences).unwrap_err();
            assert_eq!((error.sentence, error.word), (0, tags.len() - 1), "{tags:?}");
        }
    }

    #[test]
    fn predictions_are_read_in_the_scheme_of_their_corpus() {
        let read = |tags: &str, gold| {
            let mut sentences = [Sentence {
                words: tags.split(' ').map(str::to_owned).collect(),
                tags: tags.split(' ').map(str::to_owned).collect(),
            }];
            predicted_to_iob2(&mut sentences, gold).unwrap();
            sentences[0].tags.join(" ")
        };
        // Orphans of an IOB2 tagger stay orphans.
        assert_eq!(read("I-a O I-a", TagScheme::Iob2), "I-a O I-a");
        assert_eq!(read("I-a O I-a", TagScheme::Iob1), "B-a O B-a");
        assert_eq!(read("S-a O B-a E-a", TagScheme::Iob2), "B-a O B-a I-a");
        assert_eq!(read("a O a a", TagScheme::Iob2), "B-a O B-a I-a");
        assert_eq!(read("I-a B-a", TagScheme::Iob1), "B-a B-a");
    }
}
