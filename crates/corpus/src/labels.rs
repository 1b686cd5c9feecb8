//! The entities of a running text as tags of its words.

use nerve_tagging::{ByteSpan, Sentence, split_corpus};

use crate::entry::TextEntity;

/// The words of a text, split as social-media corpora split, with the IOB2 tags that its entities make.
///
/// Entities must begin and end at words and may not overlap. An error says which does not.
pub(crate) fn label_text(text: &str, entities: &[TextEntity]) -> Result<Sentence, String> {
    let mut bytes: Vec<usize> = text.char_indices().map(|(at, _)| at).collect();
    bytes.push(text.len());
    let words = split_corpus(text);
    let mut tags = vec!["O".to_owned(); words.len()];
    for TextEntity { start, end, label } in entities {
        let named = format!("entity `{label}` [{start}, {end})");
        let (Some(&from), Some(&to)) = (bytes.get(*start), bytes.get(*end)) else {
            return Err(format!(
                "{named} exceeds the text of {} code points",
                bytes.len() - 1
            ));
        };
        let first = words.iter().position(|word| word.start() == from);
        let last = words.iter().position(|word| word.end() == to);
        let (Some(first), Some(last)) = (first, last) else {
            return Err(format!("{named} does not begin and end at words"));
        };
        let covered = tags.get_mut(first..=last).unwrap_or_default();
        if covered.is_empty() || label.is_empty() {
            return Err(format!("{named} is empty"));
        }
        if covered.iter().any(|tag| tag != "O") {
            return Err(format!("{named} overlaps another entity"));
        }
        for (index, tag) in covered.iter_mut().enumerate() {
            *tag = format!("{}-{label}", if index == 0 { 'B' } else { 'I' });
        }
    }
    Ok(Sentence {
        words: words_of(text, &words),
        tags,
    })
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
        let sentence = label_text("😀 Beyoncé's New York!", &entities).unwrap();
        assert_eq!(sentence.words, ["😀", "Beyoncé", "'s", "New", "York", "!"]);
        assert_eq!(sentence.tags, ["O", "B-p", "O", "B-l", "I-l", "O"]);
    }

    #[test]
    fn an_entity_that_fits_no_words_is_named() {
        let error = |entities: &[TextEntity]| label_text("ab cd", entities).unwrap_err();
        let amid = error(&[entity(1, 2, "x")]);
        assert!(amid.starts_with("entity `x` [1, 2) does not begin"), "{amid}");
        assert!(error(&[entity(0, 9, "x")]).contains("exceeds the text of 5"));
        assert!(error(&[entity(3, 2, "x")]).contains("is empty"));
        assert!(error(&[entity(0, 2, "")]).contains("is empty"));
        assert!(error(&[entity(0, 2, "x"), entity(0, 5, "y")]).contains("overlaps"));
    }
}
