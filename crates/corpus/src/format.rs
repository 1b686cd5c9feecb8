//! The formats of text files, told apart by extension and content.

use std::path::Path;

use crate::conll;

/// How a file holds sentences.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// One word a line, its tag in the last column; blank lines between sentences.
    Conll,
    /// One JSON object a line: `words` (and `tags`), or `text` (and `entities`).
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
    /// JSON lines when the first line is a JSON object; CoNLL when most lines have several columns, of which the last is a
    /// tag. A file whose content shows neither is running text when its extension is `txt`, else `otherwise`.
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
        let mut lines = whole.lines().filter(|line| !conll::is_separator(line)).peekable();
        let first = lines.peek()?;
        if first.trim_start().starts_with('{') && serde_json::from_str::<serde_json::Value>(first).is_ok() {
            return Some(Self::JsonLines);
        }
        let (mut tagged, mut total) = (0, 0);
        for line in lines {
            total += 1;
            let tag = conll::columns(line).1;
            tagged += usize::from(tag.is_some_and(conll::is_tag));
        }
        (2 * tagged > total).then_some(Self::Conll)
    }
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
    }

    #[test]
    fn a_line_cut_off_is_not_looked_at() {
        assert_eq!(detected("a.txt", "{\"text\": \"a\"}\n{\"te"), Format::JsonLines);
        assert_eq!(detected("a.txt", "a\tO\nb"), Format::Conll);
    }
}
