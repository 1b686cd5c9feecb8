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

/// Whether a line before a sentence is a comment rather than the word `#`: `# id 1<TAB>domain=en` (MultiCoNER), `# text = ...`
/// (CoNLL-U), or `#<TAB>SOURCE [DATE]` (GermEval).
///
/// A line whose last column is a tag is a word, as is a line that has the columns of the file and starts with the lone column
/// `#`. `columns` is the number of columns of the file, where a line with words has been read.
pub(crate) fn is_comment(line: &str, columns: Option<usize>) -> bool {
    let text = line.strip_prefix("# ").or_else(|| line.strip_prefix("#\t"));
    if text.is_none_or(|text| text.trim().is_empty()) {
        return false;
    }
    let found = split_columns(line);
    let last = found.last().copied().unwrap_or_default();
    if is_tag(last) {
        return false;
    }
    let (hash_alone, spaced) = (found[0] == "#", line.starts_with("# "));
    // No tag and no part of speech has a space.
    let source = !spaced && last.contains(' ');
    match columns {
        Some(columns) => !hash_alone || found.len() != columns || (spaced && columns > 2) || source,
        None => !hash_alone || (spaced && found.len() > 2) || source,
    }
}

/// The columns of a line: separated by tabs where the line has one, else by runs of spaces.
///
/// Only ASCII characters separate, so that a word may contain a no-break space. White space at the end of the line makes no
/// column, except that a tab after the only word makes an empty tag. The result is never empty.
pub(crate) fn split_columns(line: &str) -> Vec<&str> {
    let trimmed = line.trim_end_matches([' ', '\t', '\r']);
    if trimmed.contains('\t') {
        return trimmed.split('\t').collect();
    }
    if line.contains('\t') {
        return vec![trimmed, ""];
    }
    let columns: Vec<&str> = trimmed.split(' ').filter(|column| !column.is_empty()).collect();
    match columns.is_empty() {
        true => vec![""],
        false => columns,
    }
}

/// The word and the tag of a line: its first column, and its last where it has several.
pub(crate) fn columns(line: &str) -> (&str, Option<&str>) {
    let columns = split_columns(line);
    let word = columns.first().copied().unwrap_or_default();
    let tag = columns.get(1..).and_then(<[&str]>::last).map(|tag| tag.trim());
    (word, tag.filter(|tag| !tag.is_empty()))
}

/// Whether a word cannot stand in a column: it has no character, or only ASCII white space.
///
/// A no-break space, or a character that a reader does not see, is a word.
pub(crate) fn is_blank(word: &str) -> bool {
    word.trim_ascii().is_empty()
}

/// Which columns of a file hold the word and the tag, counted from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Layout {
    pub(crate) word: usize,
    /// The last column where absent.
    pub(crate) tag: Option<usize>,
}

impl Layout {
    /// The word in the first column, the tag in the last.
    pub(crate) const USUAL: Self = Self { word: 0, tag: None };

    /// The layout of GermEval 2014: number, word, outer tag, inner tag.
    const GERMEVAL: Self = Self {
        word: 1,
        tag: Some(2),
    };

    /// The layout that the first sentence of a file shows; `None` where it is too short to tell. `after_comment`: a comment
    /// is before it.
    pub(crate) fn of_sentence(lines: &[String], after_comment: bool) -> Option<Self> {
        let numbered = |(at, line): (usize, &String)| {
            let columns = split_columns(line);
            let tags = columns.get(2..).unwrap_or_default();
            line.contains('\t')
                && columns[0] == (at + 1).to_string()
                && tags.len() == 2
                && tags.iter().all(|tag| is_tag(tag))
        };
        let germeval = lines.iter().enumerate().all(numbered);
        match (germeval, lines.len() > 1 || after_comment) {
            (true, true) => Some(Self::GERMEVAL),
            (true, false) => None,
            (false, _) => Some(Self::USUAL),
        }
    }
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
    let unwritable = |(word, _): (&str, &str)| is_blank(word) || word.contains(['\t', '\n', '\r']);
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
    fn columns_are_separated_by_tabs_or_else_by_spaces() {
        for (line, expected) in [
            ("EU NNP I-NP B-org", ("EU", Some("B-org"))),
            ("New York\tx\tB-loc ", ("New York", Some("B-loc"))),
            ("word", ("word", None)),
            ("a\t", ("a", None)),
            ("\tO", ("", Some("O"))),
            (" , in", (",", Some("in"))),
            ("10\u{a0}000\tO", ("10\u{a0}000", Some("O"))),
            ("10\u{a0}000 O", ("10\u{a0}000", Some("O"))),
            ("\u{a0}\tO\r", ("\u{a0}", Some("O"))),
            ("\u{3000} O", ("\u{3000}", Some("O"))),
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

    #[test]
    fn a_comment_is_told_from_the_word_hash() {
        for (line, columns, comment) in [
            ("# id 5239d808\tdomain=en", None, true),
            ("# id 5239d808\tdomain=en", Some(4), true),
            ("# text = In Rome", None, true),
            ("# sent_id = 3", Some(4), true),
            ("#\thttp://de.wikipedia.org/wiki/Rom [2009-10-17]", None, true),
            ("#\thttp://de.wikipedia.org/wiki/Rom [2009-10-17]", Some(4), true),
            ("#\thttp://de.wikipedia.org/wiki/Rom [2009-10-17]", Some(2), true),
            ("#\tO", None, false),
            ("#\tO", Some(2), false),
            ("# O", None, false),
            ("# # I-NP O", Some(4), false),
            ("#\tNN", Some(2), false),
            ("#\tperson", None, false),
            ("# NN", Some(2), false),
            ("#", None, false),
            ("# ", None, false),
            ("#tag\tO", None, false),
        ] {
            assert_eq!(is_comment(line, columns), comment, "{line:?} {columns:?}");
        }
    }
}
