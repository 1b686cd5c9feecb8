//! Which files of a data set of the hub are fetched: the Parquet files of its splits.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use crate::dataset_address::HubDataset;
use crate::hub::error::HubFault;
use crate::hub::files::{FileFault, Inventory, LISTING, Selection, is_inside};

/// A split of a data set that a model is trained or evaluated on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum DatasetSplit {
    /// Called `train`.
    Train,
    /// Called `validation`, `valid` or `dev`.
    Dev,
    /// Called `test`.
    Test,
}

/// A Parquet file of a data set: its configuration, and its split if it is one that is read.
struct ParquetFile<'f> {
    config: &'f str,
    split: Option<DatasetSplit>,
}

impl<'f> ParquetFile<'f> {
    /// The file of this path: `CONFIG/SPLIT/0000.parquet`, as on the hub's branch, or `CONFIG/SPLIT-00000-of-00001.parquet`, as
    /// authors have it, where the configuration `data` may also be absent.
    fn of(path: &'f str) -> Option<Self> {
        let parts: Vec<&str> = path.strip_suffix(".parquet")?.split('/').collect();
        let (config, split) = match parts[..] {
            [config, split, _] => (config, split),
            [config, name] => (config, name.split_once('-').map_or(name, |(split, _)| split)),
            [name] => ("data", name.split_once('-').map_or(name, |(split, _)| split)),
            _ => return None,
        };
        Some(Self {
            config,
            split: split_of(split),
        })
    }
}

fn split_of(name: &str) -> Option<DatasetSplit> {
    match name {
        "train" => Some(DatasetSplit::Train),
        "validation" | "valid" | "dev" => Some(DatasetSplit::Dev),
        "test" => Some(DatasetSplit::Test),
        _ => None,
    }
}

/// The splits of these files, each with its files in the order of their names.
pub(super) fn by_split(dir: &Path, files: &[String]) -> BTreeMap<DatasetSplit, Vec<PathBuf>> {
    let mut splits: BTreeMap<DatasetSplit, Vec<PathBuf>> = BTreeMap::new();
    let sorted: BTreeSet<&String> = files.iter().collect();
    for file in sorted {
        if let Some(split) = ParquetFile::of(file).and_then(|file| file.split) {
            splits.entry(split).or_default().push(dir.join(file));
        }
    }
    splits
}

/// The Parquet files of a configuration, those of the splits that are read.
#[derive(Clone, Copy, Debug)]
pub(super) struct DatasetFiles<'d>(pub(super) &'d HubDataset);

impl Selection for DatasetFiles<'_> {
    fn choose(self, id: &str, dataset: &impl Inventory) -> Result<Vec<String>, FileFault> {
        let fault = |fault| Err((LISTING.to_owned(), fault));
        let files = dataset.with_extension(&["parquet"]);
        let known = || {
            let inside = files.iter().filter(|path| is_inside(path));
            inside.filter_map(|path| Some((path, ParquetFile::of(path)?)))
        };
        let configs: BTreeSet<&str> = known().map(|(_, file)| file.config).collect();
        let names = || configs.iter().map(|config| (*config).to_owned()).collect();
        let config = match (self.0.config.as_deref(), configs.len()) {
            (_, 0) => return fault(HubFault::NoParquet { id: id.to_owned() }),
            (Some(config), _) if !configs.contains(config) => {
                return fault(HubFault::NoConfig {
                    config: config.to_owned(),
                    configs: names(),
                });
            }
            (Some(config), _) => Some(config),
            (None, 1) => None,
            (None, _) => {
                return fault(HubFault::Configs {
                    id: id.to_owned(),
                    configs: names(),
                });
            }
        };
        let chosen = known().filter(|(_, file)| config.is_none_or(|config| config == file.config));
        let read: Vec<(&String, DatasetSplit)> = chosen
            .filter_map(|(path, file)| Some((path, file.split?)))
            .collect();
        if read.iter().all(|(_, split)| *split != DatasetSplit::Train) {
            return fault(HubFault::NoTrainSplit { files: files.clone() });
        }
        Ok(read.into_iter().map(|(path, _)| path.clone()).collect())
    }

    fn first(self) -> &'static str {
        LISTING
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_split_of_a_file_is_told_by_its_path() {
        let files = [
            "c/train/0001.parquet",
            "c/train/0000.parquet",
            "c/validation/0000.parquet",
            "c/test-00000-of-00001.parquet",
            "c/unsupervised/0000.parquet",
            "train.parquet",
        ]
        .map(str::to_owned);
        let found = by_split(Path::new("d"), &files);
        let train = [
            "d/c/train/0000.parquet",
            "d/c/train/0001.parquet",
            "d/train.parquet",
        ];
        assert_eq!(found[&DatasetSplit::Train], train.map(PathBuf::from));
        assert_eq!(
            (found[&DatasetSplit::Dev].len(), found[&DatasetSplit::Test].len()),
            (1, 1)
        );
    }
}
