//! A tagged text as CoNLL lines.

use std::io::Write;

use nerve_corpus::conll::{self, ConllWriteError};
use nerve_engine::TaggedText;
use nerve_tagging::LabelSet;

/// Writes the words with their labels and a blank line; nothing when CoNLL cannot hold one of the words.
pub(crate) fn write(
    out: &mut impl Write,
    tagged: &TaggedText,
    labels: &LabelSet,
) -> Result<(), ConllWriteError> {
    let text = &tagged.words.text;
    let spans = tagged.words.spans.iter();
    let words = spans.map(|span| span.slice(text).unwrap_or_default());
    let label = |label: &nerve_tagging::WordLabel| labels.name(label.label).unwrap_or("O");
    conll::write(out, words.zip(tagged.labels.iter().map(label)))?;
    Ok(writeln!(out)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use nerve_engine::testing::tagged;

    #[test]
    fn a_tagged_text_has_a_word_a_line_and_ends_with_a_blank_one() {
        let labels = LabelSet::iob2(["person", "location"]).unwrap();
        let mut out = Vec::new();
        write(
            &mut out,
            &tagged(&["Zoë", "in", "São Paulo"], &[1, 0, 3]),
            &labels,
        )
        .unwrap();
        let expected = "Zoë\tB-person\nin\tO\nSão Paulo\tB-location\n\n";
        assert_eq!(String::from_utf8(out).unwrap(), expected);
    }

    #[test]
    fn a_word_that_would_break_a_line_is_refused() {
        let labels = LabelSet::iob2(["person"]).unwrap();
        let mut out = Vec::new();
        let refused = write(&mut out, &tagged(&["x", "a\tb"], &[0, 0]), &labels).unwrap_err();
        assert!(refused.to_string().starts_with("word 2 "), "{refused}");
        assert!(out.is_empty());
    }
}
