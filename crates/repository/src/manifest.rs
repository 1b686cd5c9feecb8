//! `manifest.json`: what a bundle holds, what it needs and what it earned.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::{Path, PathBuf};

use nerve_tagging::{Prf, Splitter, Temperature};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use thiserror::Error;

use crate::precision::Precision;

/// The manifest layout this version writes and reads. It stays when an optional field comes, which older versions refuse by
/// its name.
pub const FORMAT_VERSION: u32 = 1;
/// The manifest's file name.
pub const MANIFEST: &str = "manifest.json";
/// The files every bundle holds beside its manifest.
pub const FILES: [&str; 3] = ["config.json", "model.onnx", "tokenizer.json"];
/// The file a bundle holds too if its checkpoint did: the tokenizer's settings in `transformers`.
pub const TOKENIZER_CONFIG: &str = "tokenizer_config.json";

/// Why a manifest, or the files it describes, cannot be trusted.
#[derive(Debug, Error)]
pub enum ManifestError {
    /// A file cannot be read.
    #[error("cannot read {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The manifest is not JSON of the expected fields.
    #[error("{}: {source}", path.display())]
    Parse {
        /// The manifest.
        path: PathBuf,
        /// The line, column and field.
        source: serde_json::Error,
    },
    /// The bundle is of a layout this version does not know.
    #[error("{}: bundle format {found}, this version reads {FORMAT_VERSION}", path.display())]
    Format {
        /// The manifest.
        path: PathBuf,
        /// The format it states.
        found: u32,
    },
    /// A file the bundle must hold is not in the manifest.
    #[error("{}: no entry for {file}", path.display())]
    Unlisted {
        /// The manifest.
        path: PathBuf,
        /// The file.
        file: &'static str,
    },
    /// A file is shorter or longer than the manifest says.
    #[error("{}: {found} bytes, the manifest says {expected}: the file is truncated or changed", path.display())]
    Size {
        /// The file.
        path: PathBuf,
        /// Its size in bytes.
        found: u64,
        /// The size stated.
        expected: u64,
    },
    /// A file's content is not what was written.
    #[error("{}: SHA-256 {found}, the manifest says {expected}", path.display())]
    Hash {
        /// The file.
        path: PathBuf,
        /// Its hash.
        found: String,
        /// The hash stated.
        expected: String,
    },
    /// The version is not that of the files listed.
    #[error("{}: version {found}, but the files listed make {expected}", path.display())]
    Version {
        /// The manifest.
        path: PathBuf,
        /// The version stated.
        found: String,
        /// The version the listed hashes make.
        expected: String,
    },
    /// The temperature is none.
    #[error("{}: temperature is {found}, not a finite number above 0", path.display())]
    Temperature {
        /// The manifest.
        path: PathBuf,
        /// The number stated.
        found: f64,
    },
    /// `config.json` and the manifest name different labels.
    #[error("{}: the labels are not those of config.json", path.display())]
    Labels {
        /// The manifest.
        path: PathBuf,
    },
}

/// The description of a bundle.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// The layout of this file: [`FORMAT_VERSION`].
    pub format_version: u32,
    /// The model's name.
    pub name: String,
    /// The content hash: the first 16 hexadecimal digits of the SHA-256 over the files' hashes and the temperature, where
    /// there is one.
    pub version: String,
    /// Label names, in output order.
    pub labels: Vec<String>,
    /// Longest window in tokens, special tokens included.
    pub max_length: usize,
    /// The arithmetic of the graph.
    pub precision: Precision,
    /// How running text is split into the words the model was trained on.
    pub splitter: Splitter,
    /// What logits are divided by before they become scores; 1 where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub temperature: Option<f64>,
    /// What the graph takes and needs.
    pub graph: GraphInfo,
    /// Every other file of the bundle.
    pub files: BTreeMap<String, FileInfo>,
    /// The base model the checkpoint was fine-tuned from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub base: Option<String>,
    /// The evaluation this very bundle earned before it was written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub evaluation: Option<Evaluation>,
    /// The program that made the bundle.
    pub made_by: String,
}

/// A bundle's graph.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GraphInfo {
    /// Names of the int64 inputs: `[batch, length]` each, but for `logits_indices`, `[tokens]`, which says whose logits a run
    /// yields: those of tokens in the batch read as rows.
    pub inputs: Vec<String>,
    /// Version of the standard operator set.
    pub opset: i64,
    /// Operators used; those outside the standard set with their domain before them.
    pub operators: Vec<String>,
    /// Whether its products are of real tokens alone, so that padding costs little; not where absent.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub padding_free: bool,
}

/// One file of a bundle.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FileInfo {
    /// Bytes.
    pub size: u64,
    /// Lower-case hexadecimal SHA-256.
    pub sha256: String,
}

/// An evaluation's outcome.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Evaluation {
    /// The file evaluated on, without its extension: `dev`.
    pub split: String,
    /// Entity precision, as a fraction.
    pub precision: f64,
    /// Entity recall, as a fraction.
    pub recall: f64,
    /// Entity F1, as a fraction.
    pub f1: f64,
}

impl Evaluation {
    /// The outcome on a split.
    pub fn new(split: String, entity: Prf) -> Self {
        Self {
            split,
            precision: entity.precision,
            recall: entity.recall,
            f1: entity.f1,
        }
    }
}

impl Manifest {
    /// The manifest of a bundle directory, after every file it lists was found to be exactly as written.
    pub fn read(dir: &Path) -> Result<Self, ManifestError> {
        let path = dir.join(MANIFEST);
        let text = std::fs::read_to_string(&path).map_err(|source| ManifestError::Read {
            path: path.clone(),
            source,
        })?;
        // The format decides what the other fields mean, so it is read before them.
        let format: FormatOnly = serde_json::from_str(&text).map_err(|source| ManifestError::Parse {
            path: path.clone(),
            source,
        })?;
        if format.format_version != FORMAT_VERSION {
            return Err(ManifestError::Format {
                path,
                found: format.format_version,
            });
        }
        let manifest: Self = serde_json::from_str(&text).map_err(|source| ManifestError::Parse {
            path: path.clone(),
            source,
        })?;
        if let Some(file) = FILES
            .iter()
            .copied()
            .find(|file| !manifest.files.contains_key(*file))
        {
            return Err(ManifestError::Unlisted { path, file });
        }
        manifest.scores_temperature(&path)?;
        let expected = version(&manifest.files, manifest.temperature);
        if manifest.version != expected {
            return Err(ManifestError::Version {
                path,
                found: manifest.version,
                expected,
            });
        }
        for file in manifest.known_files() {
            if let Some(stated) = manifest.files.get(file) {
                check(&dir.join(file), stated)?;
            }
        }
        Ok(manifest)
    }

    /// The temperature of the scores; `path` is named in the error.
    pub fn scores_temperature(&self, path: &Path) -> Result<Temperature, ManifestError> {
        let Some(found) = self.temperature else {
            return Ok(Temperature::default());
        };
        Temperature::new(found).ok_or_else(|| ManifestError::Temperature {
            path: path.to_owned(),
            found,
        })
    }

    /// The files of this bundle that mean something to this version, the manifest itself left out.
    pub fn known_files(&self) -> impl Iterator<Item = &'static str> {
        let optional = self.has_tokenizer_config().then_some(TOKENIZER_CONFIG);
        FILES.into_iter().chain(optional)
    }

    /// Whether the bundle holds the tokenizer's settings in `transformers`.
    pub fn has_tokenizer_config(&self) -> bool {
        self.files.contains_key(TOKENIZER_CONFIG)
    }
}

#[derive(Deserialize)]
struct FormatOnly {
    format_version: u32,
}

fn check(path: &Path, stated: &FileInfo) -> Result<(), ManifestError> {
    let read = |source| ManifestError::Read {
        path: path.to_owned(),
        source,
    };
    let found = std::fs::metadata(path).map_err(read)?.len();
    if found != stated.size {
        return Err(ManifestError::Size {
            path: path.to_owned(),
            found,
            expected: stated.size,
        });
    }
    let found = file_info(path).map_err(read)?.sha256;
    if found != stated.sha256 {
        return Err(ManifestError::Hash {
            path: path.to_owned(),
            found,
            expected: stated.sha256.clone(),
        });
    }
    Ok(())
}

/// The size and SHA-256 of a file.
pub fn file_info(path: &Path) -> std::io::Result<FileInfo> {
    let mut file = std::fs::File::open(path)?;
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; 1 << 16];
    let mut size = 0;
    loop {
        let read = file.read(&mut buffer)?;
        if read == 0 {
            return Ok(FileInfo {
                size,
                sha256: hex(&hasher.finalize()),
            });
        }
        size += read as u64;
        hasher.update(buffer.get(..read).unwrap_or_default());
    }
}

/// The content hash of a set of files and the temperature of their scores.
///
/// Bundles that answer differently must not share a version: a store keeps one bundle of each.
pub fn version(files: &BTreeMap<String, FileInfo>, temperature: Option<f64>) -> String {
    let mut hasher = Sha256::new();
    for (name, info) in files {
        hasher.update(format!("{name} {}\n", info.sha256));
    }
    if let Some(temperature) = temperature {
        hasher.update(format!("temperature {temperature}\n"));
    }
    let mut digits = hex(&hasher.finalize());
    digits.truncate(16);
    digits
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
