//! The entities of a running text as tags of its words.

use std::fmt;
use std::ops::Range;

use nerve_tagging::{ByteSpan, Sentence, split_corpus};

use crate::entry::TextEntity;

/// The numbers of entities of running text that are not labeled as the file gives them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SpanChanges {
    /// Entities that begin or end inside a word, or at white space, and are widened to the words that they touch.
    pub widened: usize,
    /// Entities that are left out, because they touch no word or overlap another.
    pub dropped: usize,
    /// The first line (from 1) with such an entity.
    pub first_line: Option<usize>,
}

impl SpanChanges {
    /// Adds the changes of a line.
    pub(crate) fn add(&mut self, changes: Self, line: usize) {
        self.widened += changes.widened;
        self.dropped += changes.dropped;
        if changes != Self::default() {
            self.first_line.get_or_insert(line);
        }
    }
}

/// The counts, in words.
impl fmt::Display for SpanChanges {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let widened = match self.widened {
            0 => None,
            1 => Some("1 entity is widened to whole words".to_owned()),
            count => Some(format!("{count} entities are widened to whole words")),
        };
        let dropped = match self.dropped {
            0 => None,
            1 => Some("1 entity that touches no word or overlaps another is dropped".to_owned()),
            count => Some(format!(
                "{count} entities that touch no word or overlap another are dropped"
            )),
        };
        let parts: Vec<String> = widened.into_iter().chain(dropped).collect();
        f.write_str(&parts.join("; "))?;
        match self.first_line {
            Some(line) => write!(f, "; the first is on line {line}"),
            None => Ok(()),
        }
    }
}

/// The words of a text, split as social-media corpora split, with the IOB2 tags that its entities make.
///
/// An entity that does not begin and end at words is widened to the words that it touches. One that touches no word, or that
/// overlaps another, is dropped; entities that need no widening come first, then those that come first in the list. An entity
/// that is empty or exceeds the text is an error, since its offsets count something else.
pub(crate) fn label_text(text: &str, entities: &[TextEntity]) -> Result<(Sentence, SpanChanges), String> {
    let mut bytes: Vec<usize> = text.char_indices().map(|(at, _)| at).collect();
    bytes.push(text.len());
    let words = split_corpus(text);
    let mut exact: Vec<(Range<usize>, &str)> = Vec::new();
    let mut widened: Vec<(Range<usize>, &str)> = Vec::new();
    let mut changes = SpanChanges::default();
    for TextEntity { start, end, label } in entities {
        let named = format!("entity `{label}` [{start}, {end})");
        let (Some(&from), Some(&to)) = (bytes.get(*start), bytes.get(*end)) else {
            return Err(format!(
                "{named} exceeds the text of {} code points",
                bytes.len() - 1
            ));
        };
        if from >= to || label.is_empty() {
            return Err(format!("{named} is empty"));
        }
        let first = words.partition_point(|word| word.end() <= from);
        let last = words.partition_point(|word| word.start() < to);
        let touched = words.get(first..last).unwrap_or_default();
        match touched {
            [] => changes.dropped += 1,
            [one, ..] if one.start() == from && touched.last().is_some_and(|word| word.end() == to) => {
                exact.push((first..last, label));
            }
            _ => widened.push((first..last, label)),
        }
    }
    let mut tags = vec!["O".to_owned(); words.len()];
    let exact_count = exact.len();
    for (at, (covered, label)) in exact.into_iter().chain(widened).enumerate() {
        let covered = tags.get_mut(covered).unwrap_or_default();
        if covered.iter().any(|tag| tag != "O") {
            changes.dropped += 1;
            continue;
        }
        changes.widened += usize::from(at >= exact_count);
        for (index, tag) in covered.iter_mut().enumerate() {
            *tag = format!("{}-{label}", if index == 0 { 'B' } else { 'I' });
        }
    }
    let sentence = Sentence {
        words: words_of(text, &words),
        tags,
    };
    Ok((sentence, changes))
}

/// The slices of a text at these spans.
pub(crate) fn words_of(text: &str, spans: &[ByteSpan]) -> Vec<String> {
    let word = |span: &ByteSpan| span.slice(text).unwrap_or_default().to_owned();
    spans.iter().map(word).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entity(start: usize, end: usize, label: &str) -> TextEntity {
        let label = label.to_owned();
        TextEntity { start, end, label }
    }

    #[test]
    fn offsets_are_code_points() {
        let entities = [entity(2, 9, "p"), entity(12, 20, "l")];
        let (sentence, changes) = label_text("😀 Beyoncé's New York!", &entities).unwrap();
        assert_eq!(sentence.words, ["😀", "Beyoncé", "'s", "New", "York", "!"]);
        assert_eq!(sentence.tags, ["O", "B-p", "O", "B-l", "I-l", "O"]);
        assert_eq!(changes, SpanChanges::default());
    }

    #[test]
    fn an_entity_that_fits_no_words_is_widened_or_dropped() {
        let labeled = |entities: &[TextEntity]| {
            let (sentence, changes) = label_text("ab cd  ef", entities).unwrap();
            (sentence.tags.join(" "), changes.widened, changes.dropped)
        };
        let of = |tags: &str, widened, dropped| (tags.to_owned(), widened, dropped);
        assert_eq!(labeled(&[entity(1, 4, "x")]), of("B-x I-x O", 1, 0));
        assert_eq!(labeled(&[entity(2, 7, "x")]), of("O B-x O", 1, 0));
        assert_eq!(labeled(&[entity(5, 7, "x")]), of("O O O", 0, 1));
        assert_eq!(
            labeled(&[entity(0, 2, "x"), entity(0, 5, "y")]),
            of("B-x O O", 0, 1)
        );
        // What needs no widening comes first.
        assert_eq!(
            labeled(&[entity(0, 4, "x"), entity(3, 5, "y")]),
            of("O B-y O", 0, 1)
        );
    }

    #[test]
    fn an_entity_whose_offsets_count_something_else_is_an_error() {
        let error = |entities: &[TextEntity]| label_text("ab cd", entities).unwrap_err();
        assert!(error(&[entity(0, 9, "x")]).contains("exceeds the text of 5"));
        assert!(error(&[entity(3, 2, "x")]).contains("is empty"));
        assert!(error(&[entity(3, 3, "x")]).contains("is empty"));
        assert!(error(&[entity(0, 2, "")]).contains("is empty"));
    }
}
