//! Which files of a model are fetched.

use std::path::{Component, Path};

use crate::files::parent;
use crate::hub::error::HubFault;
use crate::onnx::Outline;
use crate::shards::{PICKLES, WEIGHTS, WEIGHTS_INDEX, shards};

/// Files that are fetched if the model has them: how its tokenizer splits, and the temperature of its scores.
const OPTIONAL: [&str; 2] = ["tokenizer_config.json", "calibration.json"];
/// BERTweet's tokenizer, which `transformers` reads even if the model has a `tokenizer.json`.
const BERTWEET: [&str; 2] = ["bpe.codes", "vocab.txt"];
/// The extensions of files of weights.
const WEIGHT_FILES: [&str; 6] = ["safetensors", "onnx", "h5", "msgpack", "ckpt", "gguf"];

/// What is wanted of a model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Files<'a> {
    /// `config.json` alone, by which a model can be refused before the rest is fetched.
    Config,
    /// `config.json`, and how the model reads text: `tokenizer.json`, or else `vocab.txt`; BERTweet's `bpe.codes` and `vocab.txt`; and
    /// `tokenizer_config.json`.
    Tokenizer,
    /// A checkpoint: the same and the weights, `model.safetensors` or its shards.
    Checkpoint,
    /// A prebuilt graph: the same and this ONNX file of the repository, such as `onnx/model.onnx`, with its external data.
    Onnx(&'a str),
}

/// Which files a repository has.
pub(super) trait Inventory {
    /// Whether it has this file.
    fn has(&self, file: &str) -> bool;

    /// Its files with one of these extensions.
    fn with_extension(&self, extensions: &[&str]) -> Vec<String>;
}

/// A file that a repository lacks, or that is unusable, and why.
pub(super) type FileFault = (String, HubFault);

/// What an error names that is not about a file of the repository.
pub(super) const LISTING: &str = "list of files";

/// Which files of a repository are wanted.
pub(super) trait Selection: Copy {
    /// The files to fetch first. An error if the repository `id` lacks one that is needed.
    fn choose(self, id: &str, repository: &impl Inventory) -> Result<Vec<String>, FileFault>;

    /// The files that the first ones, which are in `dir`, name.
    fn named_in(self, _dir: &Path, _first: &[String]) -> Result<Vec<String>, FileFault> {
        Ok(Vec::new())
    }

    /// What an error names if nothing is known of the repository.
    fn first(self) -> &'static str;
}

impl Selection for Files<'_> {
    fn choose(self, id: &str, model: &impl Inventory) -> Result<Vec<String>, FileFault> {
        let mut chosen = vec![self.require("config.json", model, &[])?];
        if self == Self::Config {
            return Ok(chosen);
        }
        let has = |file: &&str| model.has(file);
        let tokenizer: Vec<&str> = if BERTWEET.iter().all(has) {
            let json = ["tokenizer.json"].into_iter().filter(has);
            json.chain(BERTWEET).collect()
        } else {
            let files = ["tokenizer.json", "vocab.txt"].into_iter();
            files.filter(has).take(1).collect()
        };
        if tokenizer.is_empty() {
            let fault = HubFault::NoTokenizer { id: id.to_owned() };
            return Err(("tokenizer.json".to_owned(), fault));
        }
        chosen.extend(tokenizer.into_iter().map(str::to_owned));
        chosen.extend(
            OPTIONAL
                .into_iter()
                .filter(|file| model.has(file))
                .map(str::to_owned),
        );
        match self {
            Self::Config | Self::Tokenizer => {}
            Self::Checkpoint if !model.has(WEIGHTS) && model.has(WEIGHTS_INDEX) => {
                chosen.push(WEIGHTS_INDEX.to_owned());
            }
            Self::Checkpoint => {
                if let (false, Some(pickle)) = (
                    model.has(WEIGHTS),
                    PICKLES.into_iter().find(|file| model.has(file)),
                ) {
                    let id = id.to_owned();
                    return Err((WEIGHTS.to_owned(), HubFault::Pickle { id, pickle }));
                }
                chosen.push(self.require(WEIGHTS, model, &WEIGHT_FILES)?);
            }
            Self::Onnx(file) => chosen.push(self.require(file, model, &["onnx"])?),
        }
        Ok(chosen)
    }

    /// Shards of weights, and external data of a graph.
    fn named_in(self, dir: &Path, first: &[String]) -> Result<Vec<String>, FileFault> {
        match self {
            Self::Checkpoint if first.iter().any(|file| file == WEIGHTS_INDEX) => {
                let shards = shards(&dir.join(WEIGHTS_INDEX))
                    .map_err(|error| (WEIGHTS_INDEX.to_owned(), HubFault::Shards(error)))?;
                Ok(shards.into_keys().collect())
            }
            Self::Onnx(file) => {
                external_data(dir, file).map_err(|problem| (file.to_owned(), HubFault::Onnx { problem }))
            }
            Self::Config | Self::Tokenizer | Self::Checkpoint => Ok(Vec::new()),
        }
    }

    fn first(self) -> &'static str {
        "config.json"
    }
}

impl Files<'_> {
    fn require(self, file: &str, model: &impl Inventory, alternatives: &[&str]) -> Result<String, FileFault> {
        if is_inside(file) && model.has(file) {
            return Ok(file.to_owned());
        }
        let alternatives = model.with_extension(alternatives);
        Err((file.to_owned(), HubFault::FileNotFound { alternatives }))
    }
}

fn external_data(dir: &Path, file: &str) -> Result<Vec<String>, String> {
    let bytes = std::fs::read(dir.join(file)).map_err(|error| error.to_string())?;
    let outline = Outline::parse(&bytes)?;
    let folder = parent(Path::new(file));
    let named = outline.external_files().into_iter().map(|name| {
        let path = folder.strip_prefix(".").unwrap_or(folder).join(name);
        match path.to_str() {
            Some(path) if is_inside(name) => Ok(path.to_owned()),
            _ => Err(format!(
                "its weights are in `{name}`, which is not a file beside it"
            )),
        }
    });
    named.collect()
}

/// Whether a path leads to a file in the directory it starts from.
pub(super) fn is_inside(path: &str) -> bool {
    let path = Path::new(path);
    path.file_name().is_some() && path.components().all(|part| matches!(part, Component::Normal(_)))
}
