//! Finds the files of the corpus that a training names.

use std::path::{Path, PathBuf};

use nerve_corpus::{Splits, expand_patterns, is_wnut17};
use nerve_repository::HubDataset;
use nerve_repository::hub::{DatasetSplit, HubClient, HubError};

use crate::data::error::DataError;
use crate::train::config::data::TrainingData;

/// The files of the splits; those of a data set of the hub are fetched.
pub(crate) fn open_splits(data: &TrainingData) -> Result<Splits, DataError> {
    open_from(data, HubClient::from_env)
}

/// The data set of the hub that the name of a corpus stands for; none if it is `wnut17`, looks like a path or is one.
pub fn hub_dataset(corpus: &str) -> Option<HubDataset> {
    let is_path = Path::new(corpus).symlink_metadata().is_ok();
    match is_path || is_wnut17(corpus) {
        true => None,
        false => HubDataset::parse(corpus),
    }
}

fn open_from(
    data: &TrainingData,
    hub: impl FnOnce() -> Result<HubClient, HubError>,
) -> Result<Splits, DataError> {
    let mut splits = match &data.corpus {
        Some(corpus) => match hub_dataset(corpus) {
            Some(dataset) => fetched(&dataset, hub).map_err(|source| DataError::Hub {
                data: corpus.clone(),
                source: Box::new(source),
            })?,
            None => Splits::find(corpus, &data.wnut17_url)?,
        },
        None => Splits::default(),
    };
    for (files, patterns) in [
        (&mut splits.train, &data.train),
        (&mut splits.dev, &data.dev),
        (&mut splits.test, &data.test),
    ] {
        if let Some(patterns) = patterns {
            *files = expand_patterns(patterns)?;
        }
    }
    match (splits.dev.first(), data.draw_option) {
        (None, _) => splits.draw = Some(data.draw),
        (Some(_), None) => {}
        (Some(file), Some(option)) => {
            let file = file.clone();
            return Err(DataError::HasDev { option, file });
        }
    }
    Ok(splits.with_options(data.read.clone()))
}

fn fetched(
    dataset: &HubDataset,
    hub: impl FnOnce() -> Result<HubClient, HubError>,
) -> Result<Splits, HubError> {
    let mut found = hub()?.fetch_dataset(dataset)?.splits;
    let mut take = |split| -> Vec<PathBuf> { found.remove(&split).unwrap_or_default() };
    let mut splits = Splits::default();
    splits.train = take(DatasetSplit::Train);
    splits.dev = take(DatasetSplit::Dev);
    splits.test = take(DatasetSplit::Test);
    Ok(splits)
}

#[cfg(test)]
mod tests {
    use nerve_repository::hub::HubSettings;

    use super::*;
    use crate::testing::hub::Hub;
    use crate::train::TrainOptions;

    fn data(text: &str) -> TrainingData {
        let mut options: TrainOptions = toml::from_str(text).unwrap();
        TrainingData::resolve(&mut options).unwrap()
    }

    fn no_hub() -> Result<HubClient, HubError> {
        panic!("the hub is asked");
    }

    const PARQUET: &[u8] = include_bytes!("../../../crates/corpus/fixtures/class_label.parquet");

    #[test]
    fn a_data_set_of_the_hub_is_read_from_its_parquet_files() {
        let (hub, cache) = (Hub::start(), tempfile::tempdir().unwrap());
        hub.commit(
            "datasets/some/set",
            "refs/convert/parquet",
            &[
                ("default/train/0000.parquet", PARQUET),
                ("default/validation/0000.parquet", PARQUET),
            ],
        );
        let client = || {
            Ok(HubClient::new(HubSettings {
                endpoint: hub.url.parse().unwrap(),
                cache: cache.path().to_owned(),
                token: None,
                offline: false,
            }))
        };
        let splits = open_from(&data("data = \"some/set\""), client).unwrap();
        let (train, dev) = splits.read_train_and_dev().unwrap();
        assert_eq!(train.sentences, dev.sentences);
        assert_eq!(
            (train.split_name(), dev.split_name()),
            ("train".to_owned(), "dev".to_owned())
        );
        let error = open_from(&data("data = \"no/set\""), client)
            .unwrap_err()
            .to_string();
        assert!(
            error.starts_with("`no/set` is no directory, and as a data set of the hub: no/set: "),
            "{error}"
        );
    }

    #[test]
    fn what_exists_or_looks_like_a_path_is_never_asked_of_the_hub() {
        let dir = tempfile::tempdir().unwrap();
        let absolute = dir.path().join("a/b").to_string_lossy().into_owned();
        // The tests run in the directory of the package.
        for corpus in ["src/data", "./no/folder", "no/such/folder", &absolute, "~/corpus"] {
            let found = open_from(&data(&format!("data = \"{corpus}\"")), no_hub).unwrap();
            assert_eq!(found.train, Vec::<PathBuf>::new());
            let error = found.read_train_and_dev().unwrap_err().to_string();
            assert!(error.contains("has no train split"), "{error}");
        }
        assert_eq!(hub_dataset("some/set@v1:c").unwrap().to_string(), "some/set@v1:c");
        assert_eq!(hub_dataset("wnut17"), None);
    }

    #[test]
    fn named_files_replace_those_of_the_corpus_and_a_dev_split_is_drawn_only_where_there_is_none() {
        let dir = tempfile::tempdir().unwrap();
        for name in ["train.conll", "dev.conll", "b.conll", "a.jsonl"] {
            std::fs::write(dir.path().join(name), "").unwrap();
        }
        let root = dir.path().display().to_string();
        let of = |text: &str| open_from(&data(&text.replace("DIR", &root)), no_hub);
        let names = |files: &[PathBuf]| -> Vec<String> {
            let name = |path: &PathBuf| path.file_name().unwrap().to_str().unwrap().to_owned();
            files.iter().map(name).collect()
        };
        let found = of("data = \"DIR\"\ntrain = [\"DIR/b.conll\", \"DIR/a.*\"]").unwrap();
        assert_eq!(names(&found.train), ["a.jsonl", "b.conll"]);
        assert_eq!(
            (names(&found.dev), found.draw),
            (vec!["dev.conll".to_owned()], None)
        );
        let found = of("train = [\"DIR/b.conll\"]\ntest = [\"DIR/dev.conll\"]\ndev_fraction = 0.25").unwrap();
        assert_eq!((found.dev.len(), found.test.len()), (0, 1));
        assert_eq!(
            found.draw.map(|draw| (draw.fraction, draw.seed)),
            Some((0.25, 42))
        );
        let error = of("data = \"DIR\"\ndev_seed = 3").unwrap_err().to_string();
        assert!(
            error.starts_with("`dev_seed` has no effect, because the corpus has a dev split")
                && error.contains("dev.conll"),
            "{error}"
        );
        let error = of("data = \"DIR\"\ntest = [\"DIR/*.iob\"]")
            .unwrap_err()
            .to_string();
        assert!(error.contains("*.iob`: no file matches it"), "{error}");
    }
}
