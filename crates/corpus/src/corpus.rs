//! Labeled sentences of one file, or of several.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use nerve_tagging::{SchemeError, Sentence, to_iob2};

use crate::entry::{Content, Entry};
use crate::error::CorpusError;
use crate::file_entries::FileEntries;
use crate::format::Format;
use crate::label_map::LabelMap;
use crate::labels::{SpanChanges, label_text};
use crate::read_options::ReadOptions;

/// Labeled sentences and the lines they are on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Corpus {
    /// The file. Of several files it is a name for messages: the first, and the number of the others.
    pub path: PathBuf,
    /// The sentences, in order.
    pub sentences: Vec<Sentence>,
    // Invariant: one for each sentence.
    places: Vec<Place>,
    files: Vec<CorpusFile>,
    name: String,
    label_map: Option<LabelMap>,
    /// The entity types before the map, where there is one.
    unmapped: BTreeSet<String>,
}

/// Where a sentence begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Place {
    /// The file, by its index.
    file: usize,
    /// The line or row, counted from 1.
    line: usize,
}

/// A file of a corpus.
#[derive(Clone, Debug, PartialEq, Eq)]
struct CorpusFile {
    path: PathBuf,
    /// Whether each word is on a line of its own.
    has_word_lines: bool,
    span_changes: SpanChanges,
}

impl Corpus {
    /// The sentences of a file, with IOB2 tags.
    ///
    /// The format is found by [`Format::detect`], or is Parquet; a file that is not JSON lines is read as CoNLL. IOB1, IOBES,
    /// BILOU and bare types are recognized and converted. A text of JSON lines is split into words as social-media corpora split.
    pub fn read(path: &Path) -> Result<Self, CorpusError> {
        Self::read_with(path, &ReadOptions::default())
    }

    /// [`Self::read`] with options.
    pub fn read_with(path: &Path, options: &ReadOptions) -> Result<Self, CorpusError> {
        let mut corpus = Self::read_unconverted(path, options)?;
        corpus.convert(to_iob2)?;
        corpus.map_labels(options);
        Ok(corpus)
    }

    /// The sentences of several files, at least one, in this order. Each file may have its own format and scheme.
    pub fn read_files(paths: &[PathBuf], options: &ReadOptions) -> Result<Self, CorpusError> {
        let (first, others) = match paths {
            [first, others @ ..] => (first, others),
            [] => return Err(CorpusError::Empty { path: PathBuf::new() }),
        };
        let mut corpus = Self::read_with(first, options)?;
        for path in others {
            corpus.append(Self::read_with(path, options)?);
        }
        if !others.is_empty() {
            let noun = if others.len() == 1 { "file" } else { "files" };
            corpus.path = format!("{} and {} more {noun}", first.display(), others.len()).into();
        }
        Ok(corpus)
    }

    fn append(&mut self, other: Self) {
        let before = self.files.len();
        self.files.extend(other.files);
        self.sentences.extend(other.sentences);
        self.places.extend(other.places.into_iter().map(|place| Place {
            file: before + place.file,
            ..place
        }));
        self.unmapped.extend(other.unmapped);
    }

    /// Gives the IOB2 tags the types of the label map, if the options have one.
    pub fn map_labels(&mut self, options: &ReadOptions) {
        let Some(map) = &options.label_map else {
            return;
        };
        self.unmapped = entity_types([&*self]);
        self.sentences.iter_mut().for_each(|sentence| map.apply(sentence));
        self.label_map = Some(map.clone());
    }

    /// Converts the tags with a function of `nerve_tagging`; an error names the line of the tag that belongs to no scheme.
    pub fn convert<T>(
        &mut self,
        conversion: impl FnOnce(&mut [Sentence]) -> Result<T, SchemeError>,
    ) -> Result<T, CorpusError> {
        conversion(&mut self.sentences).map_err(|error| {
            let has_word_lines = self.files.first().is_some_and(|file| file.has_word_lines);
            let tag = &error.tag;
            let is_number =
                !tag.is_empty() && tag.trim_start_matches('-').bytes().all(|b| b.is_ascii_digit());
            let problem = match !has_word_lines && is_number {
                true => format!("tag {tag} is a number; --labels gives the names of the numbers"),
                false => format!("tag `{tag}` is not `O` or a prefix of BIESLU, a hyphen and a type"),
            };
            self.error_at(error.sentence, error.word, problem)
        })
    }

    /// The sentences of a file with the tags that the file gives, whatever their scheme.
    pub fn read_unconverted(path: &Path, options: &ReadOptions) -> Result<Self, CorpusError> {
        let entries = match FileEntries::open(path, Format::Conll, options)? {
            FileEntries::Text(entries) if entries.format() == Format::Text => {
                FileEntries::Text(Box::new(entries.with_format(Format::Conll)))
            }
            entries => entries,
        };
        let has_word_lines =
            matches!(&entries, FileEntries::Text(entries) if entries.format() == Format::Conll);
        let line_error = |line: usize, problem: String| CorpusError::Line {
            path: path.to_owned(),
            line,
            problem,
        };
        let (mut sentences, mut places) = (Vec::new(), Vec::new());
        let mut span_changes = SpanChanges::default();
        for entry in entries {
            let Entry { line, content } = entry?;
            let sentence = match content {
                Content::Words { words, tags } => labeled(words, tags, has_word_lines)
                    .map_err(|(after, problem)| line_error(line + after, problem))?,
                Content::Text { text, entities } => {
                    let (sentence, changes) = entities
                        .ok_or_else(|| "the text has no `entities`".to_owned())
                        .and_then(|entities| label_text(&text, &entities))
                        .map_err(|problem| line_error(line, problem))?;
                    span_changes.add(changes, line);
                    sentence
                }
                Content::Separator(_) => continue,
            };
            if !sentence.words.is_empty() {
                sentences.push(sentence);
                places.push(Place { file: 0, line });
            }
        }
        let path = path.to_owned();
        if sentences.is_empty() {
            return Err(CorpusError::Empty { path });
        }
        let stem = path.file_stem().unwrap_or(path.as_os_str());
        Ok(Self {
            name: stem.to_string_lossy().into_owned(),
            sentences,
            places,
            files: vec![CorpusFile {
                path: path.clone(),
                has_word_lines,
                span_changes,
            }],
            path,
            label_map: None,
            unmapped: BTreeSet::new(),
        })
    }

    /// Whether a tag is not `O`.
    pub fn has_entities(&self) -> bool {
        let mut tags = self.sentences.iter().flat_map(|sentence| &sentence.tags);
        tags.any(|tag| tag != "O")
    }

    /// What a user should know of the file, in a sentence each.
    pub fn warnings(&self) -> Vec<String> {
        let changes = self
            .span_changes()
            .map(|(path, changes)| format!("{}: {changes}", path.display()));
        let empty = (!self.has_entities()).then(|| {
            format!(
                "every tag in {} is O: there is no entity to score; check the tag column",
                self.path.display()
            )
        });
        let unknown = self.label_map.as_ref().and_then(|map| {
            let unknown = map.unknown(&self.unmapped)?;
            Some(format!("{}: {unknown}", map.path().display()))
        });
        changes.chain(empty).chain(unknown).collect()
    }

    /// The files with entities of running text that are not labeled as the file gives them.
    pub fn span_changes(&self) -> impl Iterator<Item = (&Path, SpanChanges)> {
        let changed = self
            .files
            .iter()
            .filter(|file| file.span_changes != SpanChanges::default());
        changed.map(|file| (file.path.as_path(), file.span_changes))
    }

    /// The entity types before the label map, where there is one.
    pub(crate) fn unmapped_types(&self) -> &BTreeSet<String> {
        &self.unmapped
    }

    /// The line or row (from 1) that a word of a sentence is on, in its file.
    pub fn line(&self, sentence: usize, word: usize) -> usize {
        let Some(place) = self.places.get(sentence) else {
            return 0;
        };
        let has_word_lines = self.files.get(place.file).is_some_and(|file| file.has_word_lines);
        place.line + if has_word_lines { word } else { 0 }
    }

    /// The file of a sentence.
    pub fn file(&self, sentence: usize) -> &Path {
        let place = self.places.get(sentence);
        let file = place.and_then(|place| self.files.get(place.file));
        file.map_or(&self.path, |file| &file.path)
    }

    /// The files, in the order in which they are read.
    pub fn files(&self) -> impl Iterator<Item = &Path> {
        self.files.iter().map(|file| file.path.as_path())
    }

    /// The words of every sentence.
    pub fn words(&self) -> Vec<Vec<String>> {
        self.sentences
            .iter()
            .map(|sentence| sentence.words.clone())
            .collect()
    }

    /// The name of the split: that of the file without its extension, unless [`Self::named`] gave another.
    pub fn split_name(&self) -> String {
        self.name.clone()
    }

    /// The same sentences under another name.
    pub(crate) fn named(self, name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            ..self
        }
    }

    /// The sentences for which `is_chosen` is `true`.
    pub fn select(&self, is_chosen: &[bool]) -> Self {
        let chosen = || is_chosen.iter().zip(0..).filter(|(chosen, _)| **chosen);
        let sentences = chosen().filter_map(|(_, at): (_, usize)| self.sentences.get(at).cloned());
        let places = chosen().filter_map(|(_, at): (_, usize)| self.places.get(at).copied());
        Self {
            path: self.path.clone(),
            sentences: sentences.collect(),
            places: places.collect(),
            files: self.files.clone(),
            name: self.name.clone(),
            label_map: self.label_map.clone(),
            unmapped: self.unmapped.clone(),
        }
    }

    /// An error about a word of a sentence.
    pub fn error_at(&self, sentence: usize, word: usize, problem: String) -> CorpusError {
        CorpusError::Line {
            path: self.file(sentence).to_owned(),
            line: self.line(sentence, word),
            problem,
        }
    }
}

/// The sentence of words that must all have a tag. An error says how many lines after the first one the fault is.
fn labeled(
    words: Vec<String>,
    tags: Vec<Option<String>>,
    has_word_lines: bool,
) -> Result<Sentence, (usize, String)> {
    let Some(untagged) = tags.iter().position(Option::is_none) else {
        let tags = tags.into_iter().flatten().collect();
        return Ok(Sentence { words, tags });
    };
    Err(match has_word_lines {
        false => (0, "the words have no `tags`".to_owned()),
        true => (
            untagged,
            format!(
                "expected a word and a tag separated by a tab or spaces, found `{}`",
                words[untagged]
            ),
        ),
    })
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
    fn several_files_of_any_format_are_one_corpus_whose_errors_name_the_file() {
        let dir = tempfile::tempdir().unwrap();
        let files = [
            ("a.conll", "EU\tI-org\nsays\tO\n\nBob\tI-per\n"),
            ("b.jsonl", "{\"words\": [\"Rome\"], \"tags\": [\"S-loc\"]}\n"),
        ];
        let paths = files.map(|(name, text)| {
            std::fs::write(dir.path().join(name), text).unwrap();
            dir.path().join(name)
        });
        let corpus = Corpus::read_files(&paths, &ReadOptions::default()).unwrap();
        let tags: Vec<&str> = corpus.sentences.iter().map(|s| s.tags[0].as_str()).collect();
        assert_eq!(tags, ["B-org", "B-per", "B-loc"]);
        assert_eq!((corpus.line(1, 0), corpus.line(2, 0)), (4, 1));
        assert!(
            corpus.path.ends_with("a.conll and 1 more file"),
            "{:?}",
            corpus.path
        );
        let error = corpus.error_at(2, 0, "x".to_owned()).to_string();
        assert!(error.ends_with("b.jsonl:1: x"), "{error}");
        let chosen = corpus.select(&[false, true, true]);
        let error = chosen.error_at(0, 0, "x".to_owned()).to_string();
        assert!(error.ends_with("a.conll:4: x"), "{error}");
        assert_eq!(chosen.sentences, corpus.sentences[1..]);
        std::fs::write(&paths[1], "\n{\"words\": [\"Rome\"], \"tags\": [\"X-y\"]}\n").unwrap();
        let error = Corpus::read_files(&paths, &ReadOptions::default()).unwrap_err();
        assert!(error.to_string().contains("b.jsonl:2: tag `X-y`"), "{error}");
    }

    #[test]
    fn a_label_map_is_applied_to_the_named_tags_and_its_unknown_types_are_told() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.jsonl");
        std::fs::write(&path, "{\"tokens\": [\"Rome\", \"is\"], \"ner_tags\": [1, 0]}\n").unwrap();
        let types = [("loc", "place"), ("geo", "place")].map(|(a, b)| (a.to_owned(), b.to_owned()));
        let options = ReadOptions {
            labels: TagNames::of_file_or_list("O,B-loc").ok(),
            label_map: LabelMap::new(Path::new("m.toml"), types.into()).ok(),
            ..ReadOptions::default()
        };
        let corpus = Corpus::read_with(&path, &options).unwrap();
        assert_eq!(corpus.sentences[0].tags, ["B-place", "O"]);
        assert_eq!(
            corpus.warnings(),
            ["m.toml: the corpus has no type `geo`; its types are loc"]
        );
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
