//! The check of every answer to a hostile text.

use nerve_engine::{Answer, AnswerOptions, TaggedText, TextModel};
use nerve_tagging::OffsetUnit;

/// The maximum number of texts in one request.
pub(crate) const MAX_TEXTS: usize = 8;

/// Checks that slicing the text by the offsets of each part gives the part.
pub(super) fn check(model: &TextModel, tagged: &TaggedText, view: &AnswerOptions) {
    let text = tagged.words.text.as_str();
    let answer = Answer::new(tagged, &model.labels, view, |_| ());
    let slice = |start: usize, end: usize| -> Option<String> {
        match view.offsets {
            OffsetUnit::Byte => text.get(start..end).map(str::to_owned),
            OffsetUnit::Codepoint => Some(text.chars().skip(start).take(end.checked_sub(start)?).collect()),
            OffsetUnit::Utf16 => {
                let units: Vec<u16> = text.encode_utf16().collect();
                String::from_utf16(units.get(start..end)?).ok()
            }
        }
    };
    let entities = answer
        .entities
        .iter()
        .map(|part| (part.start, part.end, part.text));
    let words = answer.words.iter().flatten();
    for (start, end, part) in entities.chain(words.map(|part| (part.start, part.end, part.text))) {
        assert_eq!(
            slice(start, end).as_deref(),
            Some(part),
            "{start}..{end} of {text:?}"
        );
    }
    assert_eq!(tagged.words.spans.len(), tagged.labels.len());
    assert!(serde_json::to_vec(&answer).is_ok());
}
