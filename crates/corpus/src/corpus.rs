//! One file of labeled sentences.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use nerve_tagging::{SchemeError, Sentence, to_iob2};

use crate::entries::Entries;
use crate::entry::{Content, Entry};
use crate::error::CorpusError;
use crate::format::Format;
use crate::labels::{SpanChanges, label_text};
use crate::read_options::ReadOptions;

/// Labeled sentences and the lines they are on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Corpus {
    /// The file.
    pub path: PathBuf,
    /// The sentences, in order.
    pub sentences: Vec<Sentence>,
    // Invariant: one for each sentence.
    first_lines: Vec<usize>,
    format: Format,
    span_changes: SpanChanges,
}

impl Corpus {
    /// The sentences of a file, with IOB2 tags.
    ///
    /// The format is found by [`Format::detect`]; a file that is not JSON lines is read as CoNLL. IOB1, IOBES, BILOU and bare
    /// types are recognized and converted. A text of JSON lines is split into words as social-media corpora split.
    pub fn read(path: &Path) -> Result<Self, CorpusError> {
        Self::read_with(path, &ReadOptions::default())
    }

    /// [`Self::read`] with options.
    pub fn read_with(path: &Path, options: &ReadOptions) -> Result<Self, CorpusError> {
        let mut corpus = Self::read_unconverted(path, options)?;
        corpus.convert(to_iob2)?;
        Ok(corpus)
    }

    /// Converts the tags with a function of `nerve_tagging`; an error names the line of the tag that belongs to no scheme.
    pub fn convert<T>(
        &mut self,
        conversion: impl FnOnce(&mut [Sentence]) -> Result<T, SchemeError>,
    ) -> Result<T, CorpusError> {
        conversion(&mut self.sentences).map_err(|error| {
            let line = self.line(error.sentence, error.word);
            let tag = &error.tag;
            let problem = match self.format == Format::JsonLines && tag.bytes().all(|b| b.is_ascii_digit()) {
                true => format!("tag {tag} is a number; --labels gives the names of the numbers"),
                false => format!("tag `{tag}` is not `O` or a prefix of BIESLU, a hyphen and a type"),
            };
            self.line_error(line, problem)
        })
    }

    /// The sentences of a file with the tags that the file gives, whatever their scheme.
    pub fn read_unconverted(path: &Path, options: &ReadOptions) -> Result<Self, CorpusError> {
        let entries = Entries::open(path, Format::Conll)?.with_options(options.clone());
        let format = match entries.format() {
            Format::JsonLines => Format::JsonLines,
            Format::Conll | Format::Text => Format::Conll,
        };
        let mut corpus = Self {
            path: path.to_owned(),
            sentences: Vec::new(),
            first_lines: Vec::new(),
            format,
            span_changes: SpanChanges::default(),
        };
        for entry in entries.with_format(format) {
            let Entry { line, content } = entry?;
            let sentence = match content {
                Content::Words { words, tags } => corpus.labeled(words, tags, line)?,
                Content::Text { text, entities } => {
                    let (sentence, changes) = entities
                        .ok_or_else(|| "the text has no `entities`".to_owned())
                        .and_then(|entities| label_text(&text, &entities))
                        .map_err(|problem| corpus.line_error(line, problem))?;
                    corpus.span_changes.add(changes, line);
                    sentence
                }
                Content::Separator(_) => continue,
            };
            if !sentence.words.is_empty() {
                corpus.sentences.push(sentence);
                corpus.first_lines.push(line);
            }
        }
        if corpus.sentences.is_empty() {
            return Err(CorpusError::Empty {
                path: path.to_owned(),
            });
        }
        Ok(corpus)
    }

    /// The sentences at these indices, with the lines that they are on.
    pub fn select(&self, sentences: &[usize]) -> Self {
        let of = |at: &usize| Some((self.sentences.get(*at)?.clone(), *self.first_lines.get(*at)?));
        let (selected, first_lines) = sentences.iter().filter_map(of).unzip();
        Self {
            path: self.path.clone(),
            sentences: selected,
            first_lines,
            ..*self
        }
    }

    /// Whether a tag is not `O`.
    pub fn has_entities(&self) -> bool {
        let mut tags = self.sentences.iter().flat_map(|sentence| &sentence.tags);
        tags.any(|tag| tag != "O")
    }

    /// What a user should know of the file, in a sentence each.
    pub fn warnings(&self) -> Vec<String> {
        let path = self.path.display();
        let changes =
            (self.span_changes != SpanChanges::default()).then(|| format!("{path}: {}", self.span_changes));
        let empty = (!self.has_entities())
            .then(|| format!("every tag in {path} is O: there is no entity to score; check the tag column"));
        changes.into_iter().chain(empty).collect()
    }

    /// The entities of running text that are not labeled as the file gives them.
    pub fn span_changes(&self) -> SpanChanges {
        self.span_changes
    }

    /// The sentence of words that must all have a tag.
    fn labeled(
        &self,
        words: Vec<String>,
        tags: Vec<Option<String>>,
        first_line: usize,
    ) -> Result<Sentence, CorpusError> {
        let Some(untagged) = tags.iter().position(Option::is_none) else {
            let tags = tags.into_iter().flatten().collect();
            return Ok(Sentence { words, tags });
        };
        Err(match self.format {
            Format::JsonLines => self.line_error(first_line, "the words have no `tags`".to_owned()),
            Format::Conll | Format::Text => self.line_error(
                first_line + untagged,
                format!(
                    "expected a word and a tag separated by a tab or spaces, found `{}`",
                    words[untagged]
                ),
            ),
        })
    }

    /// The line (from 1) that a word of a sentence is on.
    pub fn line(&self, sentence: usize, word: usize) -> usize {
        let first = self.first_lines.get(sentence).copied().unwrap_or_default();
        match self.format {
            Format::Conll => first + word,
            Format::JsonLines | Format::Text => first,
        }
    }

    /// The words of every sentence.
    pub fn words(&self) -> Vec<Vec<String>> {
        self.sentences
            .iter()
            .map(|sentence| sentence.words.clone())
            .collect()
    }

    /// The name of the file without its extension: `dev`.
    pub fn split_name(&self) -> String {
        let name = self.path.file_stem().unwrap_or(self.path.as_os_str());
        name.to_string_lossy().into_owned()
    }

    /// An error about a line of this file.
    pub fn line_error(&self, line: usize, problem: String) -> CorpusError {
        CorpusError::Line {
            path: self.path.clone(),
            line,
            problem,
        }
    }
}

/// The entity types that the tags of the corpora name, sorted.
pub fn entity_types<'c>(corpora: impl IntoIterator<Item = &'c Corpus>) -> BTreeSet<String> {
    corpora
        .into_iter()
        .flat_map(|corpus| &corpus.sentences)
        .flat_map(|sentence| &sentence.tags)
        .filter_map(|tag| tag.split_once('-').map(|(_, name)| name.to_owned()))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::read_options::TagNames;

    fn read(name: &str, text: &str) -> Result<Corpus, CorpusError> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(name);
        std::fs::write(&path, text).unwrap();
        Corpus::read(&path)
    }

    #[test]
    fn schemes_are_converted() {
        let corpus = read("a.conll", "EU\tI-org\nsays\tO\n\nBob\tI-per\n").unwrap();
        assert_eq!(corpus.sentences[0].tags, ["B-org", "O"]);
        assert_eq!(corpus.line(1, 0), 4);
        let types: Vec<String> = entity_types([&corpus]).into_iter().collect();
        assert_eq!(types, ["org", "per"]);
        let corpus = read("a.conll", "EU\tB-org\nin\tL-org\nBob\tU-per\n").unwrap();
        assert_eq!(corpus.sentences[0].tags, ["B-org", "I-org", "B-per"]);
    }

    #[test]
    fn json_lines_give_words_or_text() {
        let text = concat!(
            "{\"words\": [\"a\", \"b\"], \"tags\": [\"B-x\", \"O\"]}\n\n",
            "{\"text\": \"in Rome!\", \"entities\": [{\"start\": 3, \"end\": 7, \"label\": \"l\"}]}\n",
        );
        for name in ["x.jsonl", "x.txt"] {
            let corpus = read(name, text).unwrap();
            assert_eq!(corpus.sentences[0].tags, ["B-x", "O"]);
            assert_eq!(corpus.sentences[1].words, ["in", "Rome", "!"]);
            assert_eq!(corpus.sentences[1].tags, ["O", "B-l", "O"]);
            assert_eq!(corpus.line(1, 2), 3);
        }
    }

    #[test]
    fn defects_name_file_and_line() {
        let error = |name, text| read(name, text).unwrap_err().to_string();
        for (name, text, expected) in [
            ("a.conll", "a\tO\n\nb\tO\nc\tX-y\n", "a.conll:4: tag `X-y`"),
            ("b.conll", "a\tO\nb\t\n", "b.conll:2: expected a word and a tag"),
            ("f.conll", "a\tO\nb\n", "f.conll:2: 1 column, but 2 on line 1"),
            ("c.txt", "some running text\n", "c.txt:1: tag `text`"),
            (
                "d.jsonl",
                "\n{\"words\": [\"a\"]}",
                "d.jsonl:2: the words have no `tags`",
            ),
            (
                "e.jsonl",
                "{\"text\": \"a\"}",
                "e.jsonl:1: the text has no `entities`",
            ),
        ] {
            let found = error(name, text);
            assert!(found.contains(expected), "{found}");
        }
    }

    #[test]
    fn a_file_without_sentences_is_an_error() {
        assert!(matches!(read("a.txt", "\n\n"), Err(CorpusError::Empty { .. })));
    }

    #[test]
    fn bare_types_are_a_scheme() {
        let corpus = read("a.conll", "EU\tORG\nsays\tO\nAnn\tPER\nLee\tPER\n").unwrap();
        assert_eq!(corpus.sentences[0].tags, ["B-ORG", "O", "B-PER", "I-PER"]);
    }

    #[test]
    fn a_blank_word_is_a_word() {
        let corpus = read("a.conll", "10\u{a0}000\tO\n\u{a0}\tO\n\u{200b}\tO\nRome\tB-l\n").unwrap();
        assert_eq!(
            corpus.sentences[0].words,
            ["10\u{a0}000", "\u{a0}", "\u{200b}", "Rome"]
        );
    }

    #[test]
    fn numbered_tags_are_named_by_the_labels() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.jsonl");
        std::fs::write(&path, "{\"tokens\": [\"Rome\", \"is\"], \"ner_tags\": [1, 0]}\n").unwrap();
        let error = Corpus::read(&path).unwrap_err().to_string();
        assert!(
            error.contains("a.jsonl:1: tag 1 is a number; --labels"),
            "{error}"
        );
        let options = ReadOptions {
            labels: TagNames::of_file_or_list("O,B-loc").ok(),
            ..ReadOptions::default()
        };
        let corpus = Corpus::read_with(&path, &options).unwrap();
        assert_eq!(corpus.sentences[0].tags, ["B-loc", "O"]);
    }

    #[test]
    fn changed_spans_and_an_absence_of_entities_are_warned_of_once() {
        let text = concat!(
            "{\"text\": \"in Rome\", \"entities\": [{\"start\": 3, \"end\": 7, \"label\": \"l\"}]}\n",
            "{\"text\": \"in Rome\", \"entities\": [{\"start\": 4, \"end\": 7, \"label\": \"l\"}]}\n",
            "{\"text\": \"in Rome\", \"entities\": [{\"start\": 2, \"end\": 3, \"label\": \"l\"}]}\n",
        );
        let corpus = read("a.jsonl", text).unwrap();
        assert_eq!(corpus.sentences[1].tags, ["O", "B-l"]);
        let [warning] = &corpus.warnings()[..] else {
            panic!("{:?}", corpus.warnings());
        };
        assert!(
            warning.ends_with("a.jsonl: 1 entity is widened to whole words; 1 entity that touches no word or overlaps another is dropped; the first is on line 2"),
            "{warning}"
        );
        let outside = read("b.conll", "a\tO\nb\tO\n").unwrap();
        assert!(
            outside.warnings()[0].contains("b.conll is O"),
            "{:?}",
            outside.warnings()
        );
    }
}
