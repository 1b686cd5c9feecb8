//! The formats of text files, told apart by extension and content.

use std::path::Path;

use crate::conll::{columns, is_comment, is_separator, is_tag, split_columns};

/// How a file holds sentences.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// One word a line, its tag in the last column; blank lines between sentences.
    Conll,
    /// One JSON object a line: `words` or `tokens` (and `tags` or `ner_tags`), or `text` (and `entities`).
    JsonLines,
    /// One running text a line.
    Text,
}

impl Format {
    /// The format that the extension of a path stands for.
    ///
    /// `txt` stands for running text here, but files of that name may hold CoNLL too: see [`Format::detect`].
    pub fn of_path(path: &Path) -> Option<Self> {
        match path.extension()?.to_str()?.to_ascii_lowercase().as_str() {
            "conll" | "iob" | "iob2" | "bio" => Some(Self::Conll),
            "jsonl" | "ndjson" | "json" => Some(Self::JsonLines),
            "txt" => Some(Self::Text),
            _ => None,
        }
    }

    /// The format of a file from its path and its first bytes.
    ///
    /// The extension decides, except that a `txt` file and a file of another extension have the format of their content:
    /// JSON lines when the first line is a JSON object; CoNLL when there is evidence of columns that end in a tag. A file
    /// whose content shows neither is running text when its extension is `txt`, else `otherwise`.
    pub fn detect(path: &Path, beginning: &[u8], otherwise: Self) -> Self {
        match Self::of_path(path) {
            Some(format @ (Self::Conll | Self::JsonLines)) => format,
            by_path => Self::of_content(beginning).or(by_path).unwrap_or(otherwise),
        }
    }

    fn of_content(beginning: &[u8]) -> Option<Self> {
        let text = String::from_utf8_lossy(beginning);
        let text = text.strip_prefix('\u{feff}').unwrap_or(&text);
        // The beginning of a longer file ends amid a line.
        let whole = match text.rfind('\n') {
            Some(end) => &text[..end],
            None => text,
        };
        let first = whole.lines().find(|line| !line.trim().is_empty())?;
        if first.trim_start().starts_with('{') && serde_json::from_str::<serde_json::Value>(first).is_ok() {
            return Some(Self::JsonLines);
        }
        let documents = first.starts_with("-DOCSTART-");
        (documents || has_tag_column(whole)).then_some(Self::Conll)
    }
}

/// Whether lines are words in columns, of which the last is a tag.
///
/// A line of running text can end in what looks like a tag: `My blood type is O`, `Vitamin B-12`. So either a tab is before
/// the tag in most lines, or nearly all of several lines have the shape of CoNLL with spaces. Defective lines do not make
/// columns a text, so that a reader can name them.
fn has_tag_column(text: &str) -> bool {
    let (mut tabs, mut spaces, mut total) = (0, 0, 0);
    for line in text
        .lines()
        .filter(|line| !is_separator(line) && !is_comment(line, None))
    {
        total += 1;
        if !columns(line).1.is_some_and(is_tag) {
            continue;
        }
        match line.contains('\t') {
            true => tabs += 1,
            false => spaces += usize::from(has_inner_tags(line)),
        }
    }
    2 * tabs > total || (total > 1 && 10 * (tabs + spaces) >= 9 * total)
}

/// Whether the columns between word and tag are parts of speech (`NNP`, `.`) or tags of phrases (`B-NP`), as in CoNLL-2003;
/// there may be none.
fn has_inner_tags(line: &str) -> bool {
    let columns = split_columns(line);
    let inner = columns.get(1..columns.len() - 1).unwrap_or_default();
    inner
        .iter()
        .all(|column| is_tag(column) || !column.contains(char::is_lowercase))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn detected(name: &str, text: &str) -> Format {
        Format::detect(Path::new(name), text.as_bytes(), Format::Conll)
    }

    #[test]
    fn the_extension_decides_where_it_has_one_meaning() {
        assert_eq!(detected("a.conll", "{\"words\": []}\n"), Format::Conll);
        assert_eq!(detected("a.b.JSONL", "a\tO\n"), Format::JsonLines);
        assert_eq!(Format::of_path(Path::new("-")), None);
    }

    #[test]
    fn the_content_decides_for_other_files() {
        let columns = "\u{feff}-DOCSTART- -X- O O\n\nEU NNP B-org\nsays VBZ O\n";
        for name in ["a.txt", "emerging.test.annotated", "a"] {
            assert_eq!(detected(name, columns), Format::Conll, "{name}");
            assert_eq!(
                detected(name, "\n{\"text\": \"a\"}\n{"),
                Format::JsonLines,
                "{name}"
            );
        }
        let text = "Vitamin B-12\nis good\nfor you\n";
        assert_eq!(detected("a.txt", text), Format::Text);
        assert_eq!(detected("a.txt", ""), Format::Text);
        assert_eq!(detected("a.annotated", text), Format::Conll);
        assert_eq!(
            Format::detect(Path::new("-"), text.as_bytes(), Format::Text),
            Format::Text
        );
    }

    #[test]
    fn one_defective_line_does_not_make_columns_text() {
        assert_eq!(detected("a.txt", "a\tO\nb\nc\tB-x\n"), Format::Conll);
        let spaces = "a O\n".repeat(9) + "b\n";
        assert_eq!(detected("a.txt", &spaces), Format::Conll);
    }

    #[test]
    fn columns_of_real_files_are_conll() {
        for text in [
            "Bob\tB-per\n",
            "New York\tNNP\tB-loc\n\nok\tUH\tO\n",
            "In O\nRome B-loc\n\n. O\n",
            "EU NNP B-NP B-ORG\nrejects VBZ B-VP O\n. . O O\n",
            "# id 7\tdomain=en\nit _ _ O\nis _ _ O\n\n\n# id 8\tdomain=en\nRome _ _ B-LOC\n",
            "#\thttp://a.b/c [2009-10-17]\n1\tRom\tB-LOC\tO\n",
            // Dutch parts of speech have lower-case letters.
            "-DOCSTART- -DOCSTART- O\nDe Art O\n",
        ] {
            assert_eq!(detected("a.txt", text), Format::Conll, "{text}");
        }
    }

    #[test]
    fn text_with_lines_that_end_like_a_tag_is_text() {
        for text in [
            "My blood type is O\n",
            "Who is on Team A? Not O\nParis B-roll\n",
            "Vitamin B-12\n",
            "My type is O\nHer type is O\n",
            "1\tIn Rome\n2\tNot O\n",
            "# My type is\nHer type is O\n",
        ] {
            assert_eq!(detected("a.txt", text), Format::Text, "{text}");
            let stdin = Format::detect(Path::new("-"), text.as_bytes(), Format::Text);
            assert_eq!(stdin, Format::Text, "{text}");
        }
    }

    #[test]
    fn a_line_cut_off_is_not_looked_at() {
        assert_eq!(detected("a.txt", "{\"text\": \"a\"}\n{\"te"), Format::JsonLines);
        assert_eq!(detected("a.txt", "a\tO\nb"), Format::Conll);
    }
}
