//! CoNLL text: one word and its tag a line, a blank line between sentences.

use std::fmt::Write;

use thiserror::Error;

/// A sentence as a corpus splits it: its words and one tag for each.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sentence {
    /// The words.
    pub words: Vec<String>,
    /// The words' tags, as many.
    pub tags: Vec<String>,
}

/// A line that is not a word and a tag.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("line {line}: expected a word and a tag separated by a tab or spaces, found `{content}`")]
pub struct ConllError {
    /// The line, counted from 1.
    pub line: usize,
    /// The line's beginning.
    pub content: String,
}

const SHOWN_CHARS: usize = 80;

/// The sentences of a CoNLL file, with the line (from 1) on which each begins.
///
/// Columns are separated by tabs where the line has one, else by white space; the first is the word and the last the
/// tag, so that files with columns between (CoNLL-2003) read too. A blank or white-space line ends a sentence, as does
/// `-DOCSTART-`.
pub fn parse(text: &str) -> Result<Vec<(usize, Sentence)>, ConllError> {
    let mut sentences: Vec<(usize, Sentence)> = Vec::new();
    let mut between = true;
    for (index, line) in text.strip_prefix('\u{feff}').unwrap_or(text).lines().enumerate() {
        if line.trim().is_empty() || line.starts_with("-DOCSTART-") {
            between = true;
            continue;
        }
        let (word, tag) = word_and_tag(line).ok_or_else(|| ConllError {
            line: index + 1,
            content: line.chars().take(SHOWN_CHARS).collect(),
        })?;
        if between {
            sentences.push((index + 1, Sentence::default()));
            between = false;
        }
        if let Some((_, sentence)) = sentences.last_mut() {
            sentence.words.push(word.to_owned());
            sentence.tags.push(tag.to_owned());
        }
    }
    Ok(sentences)
}

fn word_and_tag(line: &str) -> Option<(&str, &str)> {
    let (word, tag) = if line.contains('\t') {
        let line = line.trim_end();
        (line.split('\t').next()?, line.rsplit('\t').next()?.trim())
    } else {
        let mut columns = line.split_whitespace();
        (columns.next()?, columns.next_back()?)
    };
    let two_columns = !word.is_empty() && !tag.is_empty() && line.trim_end().len() > word.len();
    two_columns.then_some((word, tag))
}

/// The sentences as CoNLL text, tab-separated, a blank line after each.
pub fn format<'s>(sentences: impl IntoIterator<Item = &'s Sentence>) -> String {
    let mut text = String::new();
    for sentence in sentences {
        for (word, tag) in sentence.words.iter().zip(&sentence.tags) {
            // Writing to a String cannot fail.
            let _ = writeln!(text, "{word}\t{tag}");
        }
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tabs_spaces_columns_and_blank_lines() {
        let text = "\u{feff}-DOCSTART- -X- O O\n\nEU NNP I-NP B-org\nrejects VBZ I-VP O\n \t \nNew York\tB-loc\r\nb\tO";
        let sentences = parse(text).unwrap();
        assert_eq!(sentences.len(), 2);
        assert_eq!(sentences[0].0, 3);
        assert_eq!(sentences[0].1.tags, ["B-org", "O"]);
        assert_eq!(sentences[1].1.words, ["New York", "b"]);
        assert_eq!(sentences[1].1.tags, ["B-loc", "O"]);
    }

    #[test]
    fn a_line_without_a_tag_names_its_number() {
        for (text, line) in [("a O\nword\n", 2), ("a\t\n", 1), ("\tO", 1)] {
            assert_eq!(parse(text).unwrap_err().line, line, "{text:?}");
        }
    }

    #[test]
    fn formatting_and_parsing_agree() {
        let text = "a\tB-x\nb\tI-x\n\nc\tO\n\n";
        let sentences: Vec<_> = parse(text).unwrap().into_iter().map(|(_, s)| s).collect();
        assert_eq!(format(&sentences), text);
    }
}
