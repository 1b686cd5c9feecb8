//! CoNLL: one word and its tag a line, a blank line between sentences.

use std::io::Write;

use thiserror::Error;

/// Why a sentence cannot be written as CoNLL.
#[derive(Debug, Error)]
pub enum ConllWriteError {
    /// A word is blank or would break its line.
    #[error("word {position} is blank or has a tab or line break, which CoNLL cannot hold")]
    Word {
        /// The word in its sentence, counted from 1.
        position: usize,
    },
    /// The output cannot be written.
    #[error(transparent)]
    Io(#[from] std::io::Error),
}

/// Whether a line stands between sentences: it is blank, or the start of a document.
pub(crate) fn is_separator(line: &str) -> bool {
    line.trim().is_empty() || line.starts_with("-DOCSTART-")
}

/// The word and the tag of a line: its first column, and its last where it has several.
///
/// Columns are separated by tabs where the line has one, else by white space, so that files with columns between word and
/// tag (CoNLL-2003) can be read. The word is empty where the line begins with a tab.
pub(crate) fn columns(line: &str) -> (&str, Option<&str>) {
    if let Some((word, others)) = line.split_once('\t') {
        let others = others.trim_end();
        let tag = others.rsplit('\t').next().map(str::trim);
        return (word, tag.filter(|tag| !tag.is_empty()));
    }
    let mut columns = line.split_whitespace();
    (columns.next().unwrap_or_default(), columns.next_back())
}

/// Whether a column looks like a tag of some scheme: `O`, or a prefix and a type.
pub(crate) fn is_tag(column: &str) -> bool {
    match column.split_once('-') {
        Some((prefix, entity_type)) => {
            matches!(prefix, "B" | "I" | "E" | "S" | "L" | "U") && !entity_type.is_empty()
        }
        None => column == "O",
    }
}

/// Writes the words of a sentence with their tags, tab-separated, without the blank line that ends a sentence.
///
/// Nothing is written when CoNLL cannot hold one of the words.
pub fn write<'w, I>(out: &mut (impl Write + ?Sized), rows: I) -> Result<(), ConllWriteError>
where
    I: Iterator<Item = (&'w str, &'w str)> + Clone,
{
    let unwritable = |(word, _): (&str, &str)| word.trim().is_empty() || word.contains(['\t', '\n', '\r']);
    if let Some(at) = rows.clone().position(unwritable) {
        return Err(ConllWriteError::Word { position: at + 1 });
    }
    for (word, tag) in rows {
        writeln!(out, "{word}\t{tag}")?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_separated_by_tabs_or_else_by_white_space() {
        for (line, expected) in [
            ("EU NNP I-NP B-org", ("EU", Some("B-org"))),
            ("New York\tx\tB-loc ", ("New York", Some("B-loc"))),
            ("word", ("word", None)),
            ("a\t", ("a", None)),
            ("\tO", ("", Some("O"))),
            (" , in", (",", Some("in"))),
        ] {
            assert_eq!(columns(line), expected, "{line:?}");
        }
    }

    #[test]
    fn a_word_that_would_break_a_line_is_refused() {
        for word in ["", " ", "a\tb", "a\nb", "a\rb"] {
            let mut out = Vec::new();
            let refused = write(&mut out, [("x", "O"), (word, "O")].into_iter()).unwrap_err();
            assert!(refused.to_string().starts_with("word 2 "), "{word:?}");
            assert!(out.is_empty());
        }
    }
}
