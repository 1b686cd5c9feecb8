//! A corpus in its splits.

use std::path::{Path, PathBuf};

use crate::corpus::Corpus;
use crate::dev_draw::DevDraw;
use crate::error::CorpusError;
use crate::read_options::ReadOptions;
use crate::wnut17::fetch_wnut17;

/// The name that stands for the WNUT-17 corpus where a directory is expected.
pub const WNUT17: &str = "wnut17";

/// Whether `data` names the corpus rather than a directory.
pub fn is_wnut17(data: &str) -> bool {
    data == WNUT17 && !Path::new(data).is_dir()
}

/// Formats of the files of a directory, in the order of preference.
const EXTENSIONS: [&str; 9] = [
    "conll", "txt", "iob", "iob2", "bio", "jsonl", "ndjson", "json", "parquet",
];

/// Which part of a corpus.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Split {
    Train,
    Dev,
    Test,
}

impl Split {
    fn name(self) -> &'static str {
        match self {
            Self::Train => "train",
            Self::Dev => "dev",
            Self::Test => "test",
        }
    }

    /// What its files are called.
    fn stems(self) -> &'static [&'static str] {
        match self {
            Self::Train => &["train"],
            Self::Dev => &["dev", "valid", "validation"],
            Self::Test => &["test"],
        }
    }
}

/// Where the splits of a corpus are; the files are read when they are asked for. A split may have several files, which are
/// read in this order, or none.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Splits {
    /// What the model is fitted to.
    pub train: Vec<PathBuf>,
    /// What the best checkpoint is chosen on.
    pub dev: Vec<PathBuf>,
    /// What the chosen checkpoint is reported on; nothing else reads it.
    pub test: Vec<PathBuf>,
    /// How the dev split is drawn from the training sentences, where it has no file.
    pub draw: Option<DevDraw>,
    /// How the files are read.
    pub options: ReadOptions,
    /// Where the files were looked for.
    dir: PathBuf,
}

impl Splits {
    /// The splits of `data`: a directory, or `wnut17`, which is downloaded from `wnut17_url` once.
    pub fn find(data: &str, wnut17_url: &str) -> Result<Self, CorpusError> {
        match is_wnut17(data) {
            true => Self::of_dir(&fetch_wnut17(wnut17_url)?),
            false => Self::of_dir(Path::new(data)),
        }
    }

    fn of_dir(dir: &Path) -> Result<Self, CorpusError> {
        Ok(Self {
            train: find(dir, Split::Train)?,
            dev: find(dir, Split::Dev)?,
            test: find(dir, Split::Test)?,
            dir: dir.to_owned(),
            ..Self::default()
        })
    }

    /// The same files, read with these options.
    pub fn with_options(self, options: ReadOptions) -> Self {
        Self { options, ..self }
    }

    /// The sentences trained on and those that the best checkpoint is chosen on. An error if the former have no entity, or if
    /// the label map names a type that neither has.
    pub fn read_train_and_dev(&self) -> Result<(Corpus, Corpus), CorpusError> {
        let (train, dev) = match (&self.draw, self.dev.is_empty()) {
            (Some(draw), true) => {
                let all = self.read(&self.train, Split::Train)?;
                let is_dev = draw.draw(&all.sentences).ok_or_else(|| CorpusError::NoDraw {
                    path: all.path.clone(),
                })?;
                let is_train: Vec<bool> = is_dev.iter().map(|is_dev| !is_dev).collect();
                (all.select(&is_train), all.select(&is_dev).named("dev"))
            }
            _ => (
                self.read(&self.train, Split::Train)?,
                self.read(&self.dev, Split::Dev)?,
            ),
        };
        self.check(&train, [&train, &dev])?;
        Ok((train, dev))
    }

    /// The sentences of the files of the train split, with those that a dev split is drawn from. An error if they have no
    /// entity, or if the label map names a type that they do not have.
    pub fn read_train(&self) -> Result<Corpus, CorpusError> {
        let train = self.read(&self.train, Split::Train)?;
        self.check(&train, [&train])?;
        Ok(train)
    }

    /// An error if the training sentences have no entity, or if the label map names a type that none of the corpora has.
    fn check<const N: usize>(&self, train: &Corpus, corpora: [&Corpus; N]) -> Result<(), CorpusError> {
        if let Some(map) = &self.options.label_map {
            let types = corpora.into_iter().flat_map(Corpus::unmapped_types);
            map.check(&types.cloned().collect())?;
        }
        match train.has_entities() {
            true => Ok(()),
            false => Err(CorpusError::NoEntities {
                path: train.path.clone(),
            }),
        }
    }

    /// The sentences that the chosen checkpoint is reported on; `None` if there is no test split.
    pub fn read_test(&self) -> Result<Option<Corpus>, CorpusError> {
        match self.test.is_empty() {
            true => Ok(None),
            false => self.read(&self.test, Split::Test).map(Some),
        }
    }

    fn read(&self, files: &[PathBuf], split: Split) -> Result<Corpus, CorpusError> {
        if files.is_empty() {
            return Err(CorpusError::NoSplit {
                dir: self.dir.clone(),
                split: split.name(),
                tried: file_names(split).join(", "),
            });
        }
        let corpus = Corpus::read_files(files, &self.options)?;
        let own = corpus.split_name();
        match split.stems().contains(&own.as_str()) && files.len() == 1 {
            true => Ok(corpus),
            false => Ok(corpus.named(split.name())),
        }
    }
}

/// The names of a split's file, in the order of preference.
fn file_names(split: Split) -> Vec<String> {
    let names = split.stems().iter();
    names
        .flat_map(|stem| EXTENSIONS.map(|extension| format!("{stem}.{extension}")))
        .collect()
}

/// The file of a split in a directory, or its files if they are numbered as `train-00000-of-00002.parquet`; none if there is
/// neither.
fn find(dir: &Path, split: Split) -> Result<Vec<PathBuf>, CorpusError> {
    let names = file_names(split);
    let file = names
        .iter()
        .map(|name| dir.join(name))
        .find(|path| path.is_file());
    if let Some(file) = file {
        return Ok(vec![file]);
    }
    // A directory that cannot be read has no file.
    let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
    let mut shards: Vec<(String, usize)> = entries
        .filter_map(|entry| entry.file_name().into_string().ok())
        .filter_map(|name| shard_count(&name, split).map(|count| (name, count)))
        .collect();
    shards.sort();
    let Some((first, count)) = shards.first().cloned() else {
        return Ok(Vec::new());
    };
    // The place of the number in the name: `train-00000-of-00002.parquet`.
    let number = |at: usize| {
        let (stem, rest) = first.split_once('-').unwrap_or_default();
        let (_, of) = rest.split_once('-').unwrap_or_default();
        format!("{stem}-{at:05}-{of}")
    };
    let expected: Vec<String> = (0..count).map(number).collect();
    let has = |name: &String| shards.iter().any(|(found, _)| found == name);
    match expected.iter().find(|name| !has(name)) {
        Some(missing) => Err(CorpusError::Shards {
            dir: dir.to_owned(),
            split: split.name(),
            found: expected.iter().filter(|name| has(name)).count(),
            expected: count,
            missing: missing.clone(),
        }),
        None => Ok(expected.iter().map(|name| dir.join(name)).collect()),
    }
}

/// The number of files that the name of one of them states: `train-00000-of-00002.parquet`.
fn shard_count(name: &str, split: Split) -> Option<usize> {
    let (name, extension) = name.rsplit_once('.')?;
    let mut parts = name.split('-');
    let (stem, number) = (parts.next()?, parts.next()?);
    let (of, count) = (parts.next()?, parts.next()?);
    let is_number = |text: &str| text.len() == 5 && text.bytes().all(|b| b.is_ascii_digit());
    let is_shard = EXTENSIONS.contains(&extension)
        && split.stems().contains(&stem)
        && is_number(number)
        && of == "of"
        && is_number(count)
        && parts.next().is_none();
    count.parse().ok().filter(|&count| is_shard && count > 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::label_map::LabelMap;

    fn write(dir: &Path, files: &[(&str, &str)]) {
        for (name, text) in files {
            std::fs::write(dir.join(name), text).unwrap();
        }
    }

    fn names(paths: &[PathBuf]) -> Vec<&str> {
        paths
            .iter()
            .map(|path| path.file_name().unwrap().to_str().unwrap())
            .collect()
    }

    #[test]
    fn splits_are_found_by_name() {
        let dir = tempfile::tempdir().unwrap();
        write(
            dir.path(),
            &[("train.jsonl", "{\"words\": [\"a\"], \"tags\": [\"B-x\"]}\n")],
        );
        let error = Splits::of_dir(dir.path())
            .unwrap()
            .read_train_and_dev()
            .unwrap_err();
        assert!(
            error.to_string().contains("no dev split") && error.to_string().contains("validation.txt"),
            "{error}"
        );
        write(dir.path(), &[("valid.txt", "b\tO\n")]);
        let splits = Splits::of_dir(dir.path()).unwrap();
        assert_eq!(
            (names(&splits.train), names(&splits.dev)),
            (vec!["train.jsonl"], vec!["valid.txt"])
        );
        assert_eq!(splits.read_test().unwrap(), None);
        let (train, dev) = splits.read_train_and_dev().unwrap();
        assert_eq!(
            (train.split_name(), dev.split_name()),
            ("train".to_owned(), "valid".to_owned())
        );
        let other = tempfile::tempdir().unwrap();
        write(
            other.path(),
            &[
                ("train.iob", "a\tB-x\n"),
                ("dev.ndjson", "{\"words\": [\"a\"], \"tags\": [\"O\"]}\n"),
            ],
        );
        let (train, dev) = Splits::of_dir(other.path())
            .unwrap()
            .read_train_and_dev()
            .unwrap();
        assert_eq!((train.sentences.len(), dev.sentences.len()), (1, 1));
        let absent = Splits::of_dir(&dir.path().join("absent")).unwrap();
        let error = absent.read_train_and_dev().unwrap_err().to_string();
        assert!(
            error.contains("absent has no train split: none of train.conll"),
            "{error}"
        );
    }

    #[test]
    fn numbered_files_are_one_split_and_none_may_be_missing() {
        let dir = tempfile::tempdir().unwrap();
        let second = ("train-00001-of-00002.conll", "b\tB-x\n");
        write(
            dir.path(),
            &[second, ("dev.conll", "c\tO\n"), ("train-1.conll", "")],
        );
        let error = Splits::of_dir(dir.path()).unwrap_err().to_string();
        assert!(
            error.contains("has 1 of the 2 files of its train split: train-00000-of-00002.conll is missing"),
            "{error}"
        );
        write(dir.path(), &[("train-00000-of-00002.conll", "a\tO\n")]);
        let splits = Splits::of_dir(dir.path()).unwrap();
        assert_eq!(names(&splits.train), ["train-00000-of-00002.conll", second.0]);
        let (train, dev) = splits.read_train_and_dev().unwrap();
        assert_eq!(train.words(), [["a"], ["b"]]);
        assert_eq!(
            (train.split_name(), dev.split_name()),
            ("train".to_owned(), "dev".to_owned())
        );
    }

    #[test]
    fn a_dev_split_is_drawn_where_there_is_none() {
        let dir = tempfile::tempdir().unwrap();
        let text: String = (0..20).map(|at| format!("w{at}\tB-x\n\n")).collect();
        write(dir.path(), &[("train.conll", &text)]);
        let splits = Splits {
            draw: Some(DevDraw {
                fraction: 0.25,
                seed: 1,
            }),
            ..Splits::of_dir(dir.path()).unwrap()
        };
        let (train, dev) = splits.read_train_and_dev().unwrap();
        assert_eq!((train.sentences.len(), dev.sentences.len()), (15, 5));
        assert_eq!(
            (train.split_name(), dev.split_name()),
            ("train".to_owned(), "dev".to_owned())
        );
        for (at, sentence) in dev.sentences.iter().enumerate() {
            assert!(!train.sentences.contains(sentence));
            assert_eq!(sentence.words, [format!("w{}", dev.line(at, 0) / 2)]);
        }
        write(dir.path(), &[("train.conll", "a\tB-x\n\na\tB-x\n")]);
        assert!(matches!(
            splits.read_train_and_dev(),
            Err(CorpusError::NoDraw { .. })
        ));
    }

    #[test]
    fn a_label_map_must_name_types_of_train_or_dev() {
        let dir = tempfile::tempdir().unwrap();
        write(
            dir.path(),
            &[("train.conll", "a\tB-x\n"), ("dev.conll", "a\tB-y\n")],
        );
        let with = |types: &[(&str, &str)]| {
            let types = types
                .iter()
                .map(|(a, b)| (a.to_string(), b.to_string()))
                .collect();
            let options = ReadOptions {
                label_map: LabelMap::new(Path::new("m.toml"), types).ok(),
                ..ReadOptions::default()
            };
            Splits::of_dir(dir.path())
                .unwrap()
                .with_options(options)
                .read_train_and_dev()
        };
        let (train, dev) = with(&[("x", "z"), ("y", "z")]).unwrap();
        assert_eq!(
            (&train.sentences[0].tags, &dev.sentences[0].tags),
            (&vec!["B-z".to_owned()], &vec!["B-z".to_owned()])
        );
        let error = with(&[("z", "x")]).unwrap_err().to_string();
        assert_eq!(error, "m.toml: the corpus has no type `z`; its types are x, y");
        assert!(matches!(with(&[("x", "")]), Err(CorpusError::NoEntities { .. })));
    }
}
