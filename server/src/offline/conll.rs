//! A tagged text as CoNLL lines.

use std::io::{Result, Write};

use nerve_engine::TaggedText;
use nerve_tagging::LabelSet;

/// Writes the words with their labels, separated by tabs, and a blank line; yields why it wrote nothing if it cannot.
pub(crate) fn write(
    out: &mut impl Write,
    tagged: &TaggedText,
    labels: &LabelSet,
) -> Result<std::result::Result<(), String>> {
    let text = &tagged.words.text;
    let words = || {
        let spans = tagged.words.spans.iter();
        spans.map(|span| span.slice(text).unwrap_or_default())
    };
    let unwritable = |word: &str| word.trim().is_empty() || word.contains(['\t', '\n', '\r']);
    if let Some(at) = words().position(unwritable) {
        return Ok(Err(format!(
            "word {} is blank or has a tab or line break, which CoNLL cannot hold",
            at + 1
        )));
    }
    for (word, label) in words().zip(&tagged.labels) {
        writeln!(out, "{word}\t{}", labels.name(label.label).unwrap_or("O"))?;
    }
    writeln!(out)?;
    Ok(Ok(()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use nerve_engine::testing::tagged;

    #[test]
    fn what_is_written_is_read_again() {
        let labels = LabelSet::iob2(["person", "location"]).unwrap();
        let mut out = Vec::new();
        write(
            &mut out,
            &tagged(&["Zoë", "in", "São Paulo"], &[1, 0, 3]),
            &labels,
        )
        .unwrap()
        .unwrap();
        let sentences = nerve_tagging::conll::parse(std::str::from_utf8(&out).unwrap()).unwrap();
        assert_eq!(sentences[0].1.words, ["Zoë", "in", "São Paulo"]);
        assert_eq!(sentences[0].1.tags, ["B-person", "O", "B-location"]);
    }

    #[test]
    fn a_word_that_would_break_a_line_is_refused() {
        let labels = LabelSet::iob2(["person"]).unwrap();
        for word in ["", " ", "a\tb", "a\nb"] {
            let mut out = Vec::new();
            let refused = write(&mut out, &tagged(&["x", word], &[0, 0]), &labels).unwrap();
            assert!(refused.unwrap_err().starts_with("word 2 "), "{word:?}");
            assert!(out.is_empty());
        }
    }
}
