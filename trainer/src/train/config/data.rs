//! The sentences that a training reads, as a configuration.

use std::collections::BTreeMap;
use std::path::Path;

use crate::train::config::checks::{check, check_absent};
use crate::train::config::error::OptionError;
use crate::train::options::TrainOptions;
use nerve_corpus::{DevDraw, LabelMap, ReadOptions, TagNames, WNUT17_URL};

/// The share of the training sentences that become the dev split of a corpus without one.
const DEV_FRACTION: f64 = 0.1;
/// The seed that draws them. It is not that of the training, so that runs of several seeds have one dev split.
const DEV_SEED: u64 = 42;

/// The sentences that a training reads.
#[derive(Clone, Debug, PartialEq)]
pub struct TrainingData {
    /// A directory with the splits, `wnut17`, or a data set of the hub.
    pub corpus: Option<String>,
    /// Files of the train split, which replace those of the corpus.
    pub train: Option<Vec<String>>,
    /// Files of the dev split, which replace those of the corpus.
    pub dev: Option<Vec<String>>,
    /// Files of the test split, which replace those of the corpus.
    pub test: Option<Vec<String>>,
    /// How a dev split is drawn where there is none.
    pub draw: DevDraw,
    /// The option that asks for a drawn dev split, if one is given.
    pub draw_option: Option<&'static str>,
    /// How the files of labeled sentences are read.
    pub read: ReadOptions,
    /// URL from which `wnut17` is downloaded.
    pub wnut17_url: String,
}

impl TrainingData {
    /// The data of these options; other options than those of data are not read.
    pub fn resolve(options: &mut TrainOptions) -> Result<Self, OptionError> {
        let draw_options = [
            ("dev_fraction", options.dev_fraction.is_some()),
            ("dev_seed", options.dev_seed.is_some()),
        ];
        if options.dev.is_some() {
            check_absent(&draw_options, "`dev` is absent")?;
        }
        let fraction = options.dev_fraction.unwrap_or(DEV_FRACTION);
        let is_share = fraction > 0.0 && fraction < 1.0;
        check("dev_fraction", &fraction, is_share, "between 0 and 1")?;
        if options.data.is_none() && options.train.is_none() {
            return Err(OptionError::Missing("data"));
        }
        for (option, files) in [
            ("train", &options.train),
            ("dev", &options.dev),
            ("test", &options.test),
        ] {
            if files.as_ref().is_some_and(Vec::is_empty) {
                return Err(OptionError::NoFiles(option));
            }
        }
        let label_map = options.map_labels.as_deref().map(read_label_map).transpose()?;
        let labels = options.labels.as_deref().map(TagNames::of_file_or_list);
        Ok(Self {
            corpus: options.data.clone(),
            train: options.train.clone(),
            dev: options.dev.clone(),
            test: options.test.clone(),
            draw: DevDraw {
                fraction,
                seed: options.dev_seed.unwrap_or(DEV_SEED),
            },
            draw_option: draw_options
                .into_iter()
                .find_map(|(option, given)| given.then_some(option)),
            read: ReadOptions {
                word_column: options.word_column,
                tag_column: options.tag_column,
                labels: labels.transpose()?,
                label_map,
            },
            wnut17_url: options
                .wnut17_url
                .get_or_insert_with(|| WNUT17_URL.to_owned())
                .clone(),
        })
    }

    /// The corpus, or the training files, as the options name them.
    pub fn name(&self) -> String {
        let files = || self.train.clone().unwrap_or_default().join(", ");
        self.corpus.clone().unwrap_or_else(files)
    }
}

/// The map in a TOML file of types of the corpus: `creative-work = "work"` renames or merges, `product = ""` drops.
pub fn read_label_map(path: &Path) -> Result<LabelMap, OptionError> {
    let text = std::fs::read(path).and_then(nerve_tagging::into_text);
    let text = text.map_err(|source| OptionError::Read {
        path: path.to_owned(),
        source,
    })?;
    let types: BTreeMap<String, String> = toml::from_str(&text).map_err(|source| OptionError::Parse {
        path: path.to_owned(),
        source,
    })?;
    Ok(LabelMap::new(path, types)?)
}
