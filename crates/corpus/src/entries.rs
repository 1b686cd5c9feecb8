//! The entries of a file, read one at a time in bounded memory.

use std::io::{BufRead, ErrorKind};
use std::path::{Path, PathBuf};

use crate::conll::{self, Layout};
use crate::entry::{Content, Entry};
use crate::error::CorpusError;
use crate::format::Format;
use crate::json_lines;
use crate::read_options::ReadOptions;

/// How much of a file is looked at to tell its format.
pub(crate) const BUFFER_BYTES: usize = 64 << 10;

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
    options: ReadOptions,
    /// The columns of CoNLL.
    columns: Option<Columns>,
    /// The columns of CoNLL that are read, once a sentence has shown them.
    layout: Option<Layout>,
    /// Whether the last line was a comment of CoNLL.
    after_comment: bool,
}

/// The columns of a file, as a line shows them.
#[derive(Clone, Copy)]
struct Columns {
    count: usize,
    /// The line, counted from 1.
    line: usize,
    /// Whether the line begins like a comment.
    has_hash: bool,
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
            options: ReadOptions::default(),
            columns: None,
            layout: None,
            after_comment: false,
        }
    }

    /// The entries of an input in the format that [`Format::detect`] finds from `path` and what the input buffers.
    pub fn detect(mut input: R, path: &Path, otherwise: Format) -> Result<Self, CorpusError> {
        let beginning = input.fill_buf().map_err(|source| read_error(path, source))?;
        let format = Format::detect(path, beginning, otherwise);
        Ok(Self::new(input, path, format))
    }

    /// The same input, read with these options.
    pub fn with_options(self, options: ReadOptions) -> Self {
        Self { options, ..self }
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
                Format::JsonLines => {
                    let names = self.options.labels.as_ref();
                    json_lines::parse(&line, names).map_err(|problem| self.defect(problem))?
                }
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
        let mut lines: Vec<String> = Vec::new();
        let mut first = self.lines_read + 1;
        while let Some(line) = self.next_line()? {
            let comment =
                lines.is_empty() && conll::is_comment(&line, self.columns.map(|columns| columns.count));
            if comment || conll::is_separator(&line) {
                if lines.is_empty() {
                    self.after_comment = comment;
                    return Ok(Some(separator(self.lines_read, line)));
                }
                self.separator = Some(line);
                break;
            }
            if lines.is_empty() {
                first = self.lines_read;
            }
            self.check_columns(&line)?;
            lines.push(line);
        }
        if lines.is_empty() {
            return Ok(None);
        }
        let layout = match self.layout {
            Some(layout) => layout,
            None => {
                self.layout = Layout::of_sentence(&lines, self.after_comment);
                self.layout.unwrap_or(Layout::USUAL)
            }
        };
        self.after_comment = false;
        let (mut words, mut tags) = (Vec::with_capacity(lines.len()), Vec::with_capacity(lines.len()));
        for (at, line) in lines.iter().enumerate() {
            let (word, tag) = self
                .word_and_tag(line, layout)
                .map_err(|problem| self.line_defect(first + at, problem))?;
            words.push(word.to_owned());
            tags.push(tag.map(str::to_owned));
        }
        Ok(Some(Entry {
            line: first,
            content: Content::Words { words, tags },
        }))
    }

    /// Checks that the line read last has as many columns as the other lines of the file.
    fn check_columns(&mut self, line: &str) -> Result<(), CorpusError> {
        let found = conll::split_columns(line).len();
        let shown = *self.columns.get_or_insert(Columns {
            count: found,
            line: self.lines_read,
            has_hash: line.starts_with('#'),
        });
        if found == shown.count {
            return Ok(());
        }
        let noun = if found == 1 { "column" } else { "columns" };
        let (count, line) = (shown.count, shown.line);
        let reason = match shown.has_hash {
            true => format!("line {line} begins with `#` but is not read as a comment"),
            false => "columns are separated by tabs, or by spaces where a line has no tab".to_owned(),
        };
        Err(self.defect(format!("{found} {noun}, but {count} on line {line}; {reason}")))
    }

    /// The word and the tag of a line; an error says which is not there.
    fn word_and_tag<'l>(&self, line: &'l str, layout: Layout) -> Result<(&'l str, Option<&'l str>), String> {
        let columns = conll::split_columns(line);
        let last = columns.len() - 1;
        let at = |number: usize| {
            let column = columns.get(number).copied();
            column.ok_or_else(|| {
                format!(
                    "there is no column {}: the line has {}",
                    number + 1,
                    columns.len()
                )
            })
        };
        let of_option = |column: Option<std::num::NonZeroUsize>| column.map(|column| column.get() - 1);
        let word = of_option(self.options.word_column).unwrap_or(layout.word);
        let tag = of_option(self.options.tag_column).or(layout.tag).unwrap_or(last);
        if tag == word && self.options.tag_column.is_some() {
            return Err(format!("the word and the tag are the same column, {}", word + 1));
        }
        let tag = match tag == word {
            true => "",
            false => at(tag)?.trim(),
        };
        let word = at(word)?;
        match (conll::is_blank(word), self.options.word_column) {
            (true, None) => Err("there is no word before the tab".to_owned()),
            (true, Some(column)) => Err(format!("there is no word in column {column}")),
            (false, _) => Ok((word, Some(tag).filter(|tag| !tag.is_empty()))),
        }
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
        self.line_defect(self.lines_read, problem)
    }

    fn line_defect(&self, line: usize, problem: impl Into<String>) -> CorpusError {
        CorpusError::Line {
            path: self.path.clone(),
            line,
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
        let text = "\u{feff}-DOCSTART- -X- O\n\nEU B-org\r\nword\t\n \t \nNew York\tB-loc";
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
    fn comments_are_kept_between_sentences_and_the_word_hash_is_a_word() {
        let multiconer =
            "# id 5239\tdomain=en\nit _ _ O\nRome _ _ B-LOC\n\n\n# id 5240\tdomain=en\n# _ _ O\n";
        let expected = [
            separator(1, "# id 5239\tdomain=en"),
            words(2, &["it", "Rome"], &["O", "B-LOC"]),
            separator(4, ""),
            separator(5, ""),
            separator(6, "# id 5240\tdomain=en"),
            words(7, &["#"], &["O"]),
        ];
        assert_eq!(entries(multiconer, Format::Conll), expected);
        let wnut = "#\tO\nRome\tB-loc\n#\tO\n";
        let expected = [words(1, &["#", "Rome", "#"], &["O", "B-loc", "O"])];
        assert_eq!(entries(wnut, Format::Conll), expected);
    }

    #[test]
    fn germeval_has_the_word_in_its_second_column_and_the_outer_tag_in_its_third() {
        let source = "#\thttp://de.wikipedia.org/wiki/Rom [2009-10-17]";
        let text =
            format!("{source}\n1\tRom\tB-LOC\tO\n\n{source}\n1\tDer\tO\tO\n2\tTSV\tB-ORG\tB-LOCpart\n");
        let found = entries(&text, Format::Conll);
        let expected = [
            separator(1, source),
            words(2, &["Rom"], &["B-LOC"]),
            separator(3, ""),
            separator(4, source),
            words(5, &["Der", "TSV"], &["O", "B-ORG"]),
        ];
        assert_eq!(found, expected);
        let inner = ReadOptions {
            tag_column: 4.try_into().ok(),
            ..ReadOptions::default()
        };
        let entries = Entries::new(text.as_bytes(), Path::new("in"), Format::Conll).with_options(inner);
        let last = entries.last().unwrap().unwrap();
        assert_eq!(last, words(5, &["Der", "TSV"], &["O", "B-LOCpart"]));
        // Numbers that do not count the words are words.
        let years = "2\tCD\tB-NP\tO\n1\tCD\tI-NP\tO\n";
        assert_eq!(
            super::tests::entries(years, Format::Conll),
            [words(1, &["2", "1"], &["O", "O"])]
        );
    }

    #[test]
    fn columns_may_be_chosen() {
        let options = ReadOptions {
            word_column: 3.try_into().ok(),
            tag_column: 1.try_into().ok(),
            ..ReadOptions::default()
        };
        let of = |text: &'static str| {
            Entries::new(text.as_bytes(), Path::new("in"), Format::Conll)
                .with_options(options.clone())
                .next()
                .unwrap()
        };
        assert_eq!(
            of("O x in\nB-loc x Rome\n").unwrap(),
            words(1, &["in", "Rome"], &["O", "B-loc"])
        );
        let error = of("O in\nB-loc Rome\n").unwrap_err().to_string();
        assert_eq!(error, "in:1: there is no column 3: the line has 2");
        let same = ReadOptions {
            tag_column: 1.try_into().ok(),
            ..ReadOptions::default()
        };
        let mut entries = Entries::new(&b"in O\n"[..], Path::new("in"), Format::Conll).with_options(same);
        let error = entries.next().unwrap().unwrap_err().to_string();
        assert_eq!(error, "in:1: the word and the tag are the same column, 1");
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
            (
                b"a\tO\n\nb c\tO\nd\n",
                Format::Conll,
                "in:4: 1 column, but 2 on line 1",
            ),
            (
                b"a x O\nb O\n",
                Format::Conll,
                "in:2: 2 columns, but 3 on line 1; columns are",
            ),
            (
                b"#comment\na _ _ O\n",
                Format::Conll,
                "in:2: 4 columns, but 1 on line 1; line 1 begins with `#` but is not read as a comment",
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
