//! The entries of a file, read one at a time in bounded memory.

use std::fs::File;
use std::io::{BufRead, BufReader, ErrorKind};
use std::path::{Path, PathBuf};

use crate::conll;
use crate::entry::{Content, Entry};
use crate::error::CorpusError;
use crate::format::Format;
use crate::json_lines;

/// How much of a file is looked at to tell its format.
const BUFFER_BYTES: usize = 64 << 10;

/// Reads the entries of a file, whatever its format.
///
/// Blank lines of running text and JSON lines are skipped; those of CoNLL are entries, so that a file can be written again as
/// it was.
pub struct Entries<R> {
    input: R,
    path: PathBuf,
    format: Format,
    lines_read: usize,
    /// The line that ended the last sentence.
    separator: Option<String>,
}

impl Entries<BufReader<File>> {
    /// The entries of a file, in the format that [`Format::detect`] finds.
    pub fn open(path: &Path, otherwise: Format) -> Result<Self, CorpusError> {
        let file = File::open(path).map_err(|source| read_error(path, source))?;
        Self::detect(BufReader::with_capacity(BUFFER_BYTES, file), path, otherwise)
    }
}

impl<R: BufRead> Entries<R> {
    /// The entries of an input in a known format; `path` is named in errors.
    pub fn new(input: R, path: &Path, format: Format) -> Self {
        Self {
            input,
            path: path.to_owned(),
            format,
            lines_read: 0,
            separator: None,
        }
    }

    /// The entries of an input in the format that [`Format::detect`] finds from `path` and what the input buffers.
    pub fn detect(mut input: R, path: &Path, otherwise: Format) -> Result<Self, CorpusError> {
        let beginning = input.fill_buf().map_err(|source| read_error(path, source))?;
        let format = Format::detect(path, beginning, otherwise);
        Ok(Self::new(input, path, format))
    }

    /// The path named in errors.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The format read.
    pub fn format(&self) -> Format {
        self.format
    }

    /// The same input, read in another format.
    pub(crate) fn with_format(self, format: Format) -> Self {
        Self { format, ..self }
    }

    fn next_entry(&mut self) -> Result<Option<Entry>, CorpusError> {
        if self.format == Format::Conll {
            return self.next_conll();
        }
        while let Some(line) = self.next_line()? {
            if line.trim().is_empty() {
                continue;
            }
            let content = match self.format {
                Format::JsonLines => json_lines::parse(&line).map_err(|problem| self.defect(problem))?,
                Format::Conll | Format::Text => Content::Text {
                    text: line,
                    entities: None,
                },
            };
            let line = self.lines_read;
            return Ok(Some(Entry { line, content }));
        }
        Ok(None)
    }

    fn next_conll(&mut self) -> Result<Option<Entry>, CorpusError> {
        let separator = |line, text| Entry {
            line,
            content: Content::Separator(text),
        };
        if let Some(text) = self.separator.take() {
            return Ok(Some(separator(self.lines_read, text)));
        }
        let (mut words, mut tags) = (Vec::new(), Vec::new());
        let mut first = self.lines_read + 1;
        while let Some(line) = self.next_line()? {
            if conll::is_separator(&line) {
                if words.is_empty() {
                    return Ok(Some(separator(self.lines_read, line)));
                }
                self.separator = Some(line);
                break;
            }
            if words.is_empty() {
                first = self.lines_read;
            }
            let (word, tag) = conll::columns(&line);
            if word.trim().is_empty() {
                return Err(self.defect("there is no word before the tab"));
            }
            words.push(word.to_owned());
            tags.push(tag.map(str::to_owned));
        }
        Ok((!words.is_empty()).then_some(Entry {
            line: first,
            content: Content::Words { words, tags },
        }))
    }

    /// The next line without its end, and without the byte order mark of the first.
    fn next_line(&mut self) -> Result<Option<String>, CorpusError> {
        let mut line = String::new();
        self.lines_read += 1;
        if self.lines_read == 1 && self.input.fill_buf().is_ok_and(nerve_tagging::is_utf16) {
            return Err(self.defect(nerve_tagging::EncodingError::Utf16.to_string()));
        }
        match self.input.read_line(&mut line) {
            Ok(0) => return Ok(None),
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::InvalidData => return Err(self.defect("not UTF-8")),
            Err(source) => return Err(read_error(&self.path, source)),
        }
        if line.ends_with('\n') {
            line.pop();
            if line.ends_with('\r') {
                line.pop();
            }
        }
        if self.lines_read == 1 && line.starts_with('\u{feff}') {
            line.remove(0);
        }
        Ok(Some(line))
    }

    /// An error about the line read last.
    fn defect(&self, problem: impl Into<String>) -> CorpusError {
        CorpusError::Line {
            path: self.path.clone(),
            line: self.lines_read,
            problem: problem.into(),
        }
    }
}

impl<R: BufRead> Iterator for Entries<R> {
    type Item = Result<Entry, CorpusError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.next_entry().transpose()
    }
}

fn read_error(path: &Path, source: std::io::Error) -> CorpusError {
    CorpusError::Read {
        path: path.to_owned(),
        source,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entries(text: &str, format: Format) -> Vec<Entry> {
        let entries = Entries::new(text.as_bytes(), Path::new("in"), format);
        entries.collect::<Result<_, _>>().unwrap()
    }

    #[test]
    fn a_file_in_utf_16_is_named_as_such() {
        for format in [Format::Conll, Format::JsonLines, Format::Text] {
            let mut entries = Entries::new(&b"\xff\xfea\0\n\0"[..], Path::new("in"), format);
            let problem = entries.next().unwrap().unwrap_err().to_string();
            assert!(problem.contains("UTF-16; convert it to UTF-8"), "{problem}");
        }
    }

    fn words(line: usize, words: &[&str], tags: &[&str]) -> Entry {
        let content = Content::Words {
            words: words.iter().map(|&word| word.to_owned()).collect(),
            tags: tags
                .iter()
                .map(|&tag| Some(tag.to_owned()).filter(|tag| !tag.is_empty()))
                .collect(),
        };
        Entry { line, content }
    }

    fn separator(line: usize, text: &str) -> Entry {
        let content = Content::Separator(text.to_owned());
        Entry { line, content }
    }

    #[test]
    fn conll_keeps_its_words_tags_and_separators() {
        let text = "\u{feff}-DOCSTART- -X- O\n\nEU NNP B-org\r\nword\n \t \nNew York\tB-loc";
        let expected = [
            separator(1, "-DOCSTART- -X- O"),
            separator(2, ""),
            words(3, &["EU", "word"], &["B-org", ""]),
            separator(5, " \t "),
            words(6, &["New York"], &["B-loc"]),
        ];
        assert_eq!(entries(text, Format::Conll), expected);
        assert_eq!(entries("", Format::Conll), []);
    }

    #[test]
    fn blank_lines_of_text_are_counted_and_skipped() {
        let found = entries("a b\r\n\n \nc", Format::Text);
        let text = |line, text: &str| Entry {
            line,
            content: Content::Text {
                text: text.to_owned(),
                entities: None,
            },
        };
        assert_eq!(found, [text(1, "a b"), text(4, "c")]);
    }

    #[test]
    fn defects_name_file_and_line() {
        for (bytes, format, problem) in [
            (
                &b"a\tO\n\n\tO\n"[..],
                Format::Conll,
                "in:3: there is no word before the tab",
            ),
            (b"a\n\xff\n", Format::Text, "in:2: not UTF-8"),
            (b"\n{", Format::JsonLines, "in:2: not JSON"),
        ] {
            let error = Entries::new(bytes, Path::new("in"), format)
                .find_map(Result::err)
                .unwrap()
                .to_string();
            assert!(error.starts_with(problem), "{error}");
        }
    }
}
