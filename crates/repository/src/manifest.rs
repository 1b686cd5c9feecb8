//! `manifest.json`: the contents of a bundle, what its graph needs, and the scores it was evaluated to.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use nerve_tagging::{Prf, Splitter, Temperature, TransitionScores};
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::file_info::FileInfo;
use crate::hub_source::HubSource;
use crate::precision::Precision;
use crate::version::VersionHasher;

/// The manifest format that this program writes. It reads this one and [`FILES_FORMAT`].
///
/// A new optional field does not change it: programs that do not know the field refuse it by its name.
pub const FORMAT_VERSION: u32 = 2;
/// The format whose version hashes nothing but the files and the temperature.
const FILES_FORMAT: u32 = 1;
/// The file name of the manifest.
pub const MANIFEST: &str = "manifest.json";
/// The files of every bundle besides the manifest.
pub const FILES: [&str; 3] = ["config.json", "model.onnx", "tokenizer.json"];
/// A file of bundles whose checkpoint has it: the settings of the tokenizer in `transformers`.
pub const TOKENIZER_CONFIG: &str = "tokenizer_config.json";

/// Why a manifest, or the files it describes, cannot be trusted.
#[derive(Debug, Error)]
pub enum ManifestError {
    /// A file cannot be read.
    #[error("cannot read {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The error of the system.
        source: std::io::Error,
    },
    /// The manifest is not JSON with the expected fields.
    #[error("{}: {source}", path.display())]
    Parse {
        /// The manifest.
        path: PathBuf,
        /// The line, column and field.
        source: serde_json::Error,
    },
    /// This program does not know the format.
    #[error("{}: bundle format {found}; this program reads {FILES_FORMAT} to {FORMAT_VERSION}", path.display())]
    Format {
        /// The manifest.
        path: PathBuf,
        /// The format stated.
        found: u32,
    },
    /// The manifest does not list a file that every bundle has.
    #[error("{}: no entry for {file}", path.display())]
    Unlisted {
        /// The manifest.
        path: PathBuf,
        /// The file.
        file: &'static str,
    },
    /// A file has another size than the manifest states.
    #[error("{}: {found} bytes, the manifest says {expected}: the file is truncated or changed", path.display())]
    Size {
        /// The file.
        path: PathBuf,
        /// Its size, in bytes.
        found: u64,
        /// The size stated.
        expected: u64,
    },
    /// A file has another content than the one written.
    #[error("{}: SHA-256 {found}, the manifest says {expected}", path.display())]
    Hash {
        /// The file.
        path: PathBuf,
        /// Its hash.
        found: String,
        /// The hash stated.
        expected: String,
    },
    /// The version is not the hash of the manifest's content.
    #[error("{}: version {found}, but the content of the manifest makes {expected}: the manifest is changed", path.display())]
    Version {
        /// The manifest.
        path: PathBuf,
        /// The version stated.
        found: String,
        /// The version that the content makes.
        expected: String,
    },
    /// The temperature is not a finite number above 0.
    #[error("{}: temperature is {found}; it must be a finite number above 0", path.display())]
    Temperature {
        /// The manifest.
        path: PathBuf,
        /// The temperature stated.
        found: f64,
    },
    /// The transition scores are not those of the labels.
    #[error("{}: transitions are not {} rows of as many finite numbers, for {labels} labels and the border of the text; export the checkpoint again", path.display(), labels + 1)]
    Transitions {
        /// The manifest.
        path: PathBuf,
        /// The number of labels.
        labels: usize,
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
    /// The format of this file, which decides what `version` hashes: [`FORMAT_VERSION`].
    pub format_version: u32,
    /// The model's name, by which requests may address it.
    pub name: String,
    /// The hash of everything that changes an answer: [`Self::content_version`].
    pub version: String,
    /// Label names, in output order.
    pub labels: Vec<String>,
    /// Longest window in tokens, special tokens included.
    pub max_length: usize,
    /// The arithmetic of the graph.
    pub precision: Precision,
    /// How running text is split into the words the model was trained on.
    pub splitter: Splitter,
    /// The divisor of logits before they become scores; 1 if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub temperature: Option<f64>,
    /// The scores that decoding adds for neighboring labels, as [`TransitionScores::new`] takes them, a row for each earlier
    /// label; none if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub transitions: Option<Vec<Vec<f32>>>,
    /// The interface and the needs of the graph.
    pub graph: GraphInfo,
    /// Every other file of the bundle.
    pub files: BTreeMap<String, FileInfo>,
    /// The base model the checkpoint was fine-tuned from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub base: Option<String>,
    /// The model of the hub that was exported, if it was one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<HubSource>,
    /// The scores of this bundle, measured before it was written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub evaluation: Option<BundleEvaluation>,
    /// The program that made the bundle.
    pub made_by: String,
}

/// A bundle's graph.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GraphInfo {
    /// Names of the int64 inputs: `[batch, length]` each, except `logits_indices`, `[tokens]`, which selects the tokens whose
    /// logits a run yields, by `sequence * length + position`.
    pub inputs: Vec<String>,
    /// Version of the standard operator set.
    pub opset: i64,
    /// Operators used; those outside the standard set are prefixed with their domain.
    pub operators: Vec<String>,
    /// Whether the graph computes real tokens alone, so that padding costs little; false if absent.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub padding_free: bool,
}

/// An evaluation's outcome.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BundleEvaluation {
    /// The file evaluated on, without its extension: `dev`.
    pub split: String,
    /// Entity precision, as a fraction.
    pub precision: f64,
    /// Entity recall, as a fraction.
    pub recall: f64,
    /// Entity F1, as a fraction.
    pub f1: f64,
}

impl BundleEvaluation {
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
    /// The manifest of a bundle directory, whose version and files are checked against their hashes.
    pub fn read(dir: &Path) -> Result<Self, ManifestError> {
        let path = dir.join(MANIFEST);
        let text = std::fs::read(&path).map_err(|source| ManifestError::Read {
            path: path.clone(),
            source,
        })?;
        let manifest = Self::parse(&path, text)?;
        for file in manifest.known_files() {
            if let Some(stated) = manifest.files.get(file) {
                check(&dir.join(file), stated)?;
            }
        }
        Ok(manifest)
    }

    /// The manifest with this text, whose version is checked against its content. Errors name `path`.
    pub(crate) fn parse(path: &Path, text: Vec<u8>) -> Result<Self, ManifestError> {
        let path = path.to_owned();
        let text = nerve_tagging::into_text(text).map_err(|source| ManifestError::Read {
            path: path.clone(),
            source,
        })?;
        // The format decides the meaning of the other fields, so it is read first.
        let format: FormatOnly = serde_json::from_str(&text).map_err(|source| ManifestError::Parse {
            path: path.clone(),
            source,
        })?;
        if !(FILES_FORMAT..=FORMAT_VERSION).contains(&format.format_version) {
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
        manifest.transition_scores(&path)?;
        let expected = manifest
            .content_version()
            .map_err(|source| ManifestError::Parse {
                path: path.clone(),
                source,
            })?;
        if manifest.version != expected {
            return Err(ManifestError::Version {
                path,
                found: manifest.version,
                expected,
            });
        }
        Ok(manifest)
    }

    /// The version that the content makes: a hash of everything that changes an answer or the model's address.
    ///
    /// A store keeps one bundle of each version, so bundles that answer differently must have different versions. Where a bundle
    /// comes from (base model, evaluation, program) is not part of it. In format 1 it hashes the files and the temperature alone.
    pub fn content_version(&self) -> Result<String, serde_json::Error> {
        // Exhaustive, so that a new field must be put on one side or the other.
        let Self {
            format_version,
            name,
            version: _,
            labels,
            max_length,
            precision,
            splitter,
            temperature,
            transitions,
            graph,
            files,
            base: _,
            source: _,
            evaluation: _,
            made_by: _,
        } = self;
        let mut hasher = VersionHasher::default();
        hasher.add_files(files);
        if *format_version == FILES_FORMAT {
            if let Some(temperature) = temperature {
                hasher.add_line("temperature", &temperature.to_string());
            }
        } else {
            let content = (
                format_version,
                name,
                labels,
                max_length,
                precision,
                splitter,
                temperature,
                graph,
            );
            hasher.add_line("manifest", &serde_json::to_string(&content)?);
        }
        if let Some(transitions) = transitions {
            hasher.add_line("transitions", &serde_json::to_string(transitions)?);
        }
        Ok(hasher.finish())
    }

    /// The manifest of the bundle `dir` in [`FORMAT_VERSION`], with the version that this format makes.
    pub(crate) fn into_current_format(mut self, dir: &Path) -> Result<Self, ManifestError> {
        self.format_version = FORMAT_VERSION;
        self.version = self.content_version().map_err(|source| ManifestError::Parse {
            path: dir.join(MANIFEST),
            source,
        })?;
        Ok(self)
    }

    /// The temperature of the scores; the error names `path`.
    pub fn scores_temperature(&self, path: &Path) -> Result<Temperature, ManifestError> {
        let Some(found) = self.temperature else {
            return Ok(Temperature::default());
        };
        Temperature::new(found).ok_or_else(|| ManifestError::Temperature {
            path: path.to_owned(),
            found,
        })
    }

    /// The scores of transitions between labels, if the model has some; the error names `path`.
    pub fn transition_scores(&self, path: &Path) -> Result<Option<TransitionScores>, ManifestError> {
        let Some(rows) = &self.transitions else {
            return Ok(None);
        };
        let labels = self.labels.len();
        let is_square = rows.iter().all(|row| row.len() == labels + 1);
        let scores = TransitionScores::new(rows.concat(), labels).filter(|_| is_square);
        match scores {
            Some(scores) => Ok(Some(scores)),
            None => Err(ManifestError::Transitions {
                path: path.to_owned(),
                labels,
            }),
        }
    }

    /// The files of this bundle that this program uses, except the manifest itself.
    pub fn known_files(&self) -> impl Iterator<Item = &'static str> {
        let optional = self.has_tokenizer_config().then_some(TOKENIZER_CONFIG);
        FILES.into_iter().chain(optional)
    }

    /// Whether the bundle has a `tokenizer_config.json`.
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
    let found = FileInfo::of(path).map_err(read)?.sha256;
    if found != stated.sha256 {
        return Err(ManifestError::Hash {
            path: path.to_owned(),
            found,
            expected: stated.sha256.clone(),
        });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const DEFAULT: &str = include_str!("../../../models/default/manifest.json");

    fn manifest(format_version: u32) -> Manifest {
        let mut manifest: Manifest = serde_json::from_str(DEFAULT).unwrap();
        manifest.format_version = format_version;
        manifest
    }

    #[test]
    fn versions_of_published_bundles_never_change() {
        let mut first: Manifest =
            serde_json::from_str(include_str!("../fixtures/manifest-format-1.json")).unwrap();
        assert_eq!(first.format_version, FILES_FORMAT);
        assert_eq!(first.content_version().unwrap(), first.version);
        first.format_version = 2;
        assert_eq!(first.content_version().unwrap(), "65370bbf4428bd97");
        let second = manifest(2);
        assert_eq!(second.content_version().unwrap(), second.version);
    }

    #[test]
    fn whatever_changes_an_answer_changes_the_version() {
        let changes: [fn(&mut Manifest); 9] = [
            |m| m.name.push('x'),
            |m| m.labels.swap(1, 2),
            |m| m.max_length = 64,
            |m| m.precision = Precision::Fp16,
            |m| m.splitter = Splitter::Whitespace,
            |m| m.temperature = None,
            |m| m.graph.padding_free = false,
            |m| m.graph.operators.clear(),
            |m| m.files.values_mut().for_each(|file| file.sha256.clear()),
        ];
        let mut versions = vec![manifest(FORMAT_VERSION).content_version().unwrap()];
        for change in changes {
            let mut changed = manifest(FORMAT_VERSION);
            change(&mut changed);
            versions.push(changed.content_version().unwrap());
        }
        versions.sort();
        versions.dedup();
        assert_eq!(versions.len(), 1 + changes.len());
    }

    #[test]
    fn where_a_bundle_comes_from_does_not_change_its_version() {
        let mut other = manifest(FORMAT_VERSION);
        (other.base, other.evaluation, other.made_by) = (None, None, String::new());
        other.source = Some(HubSource {
            id: "a/b".to_owned(),
            commit: "c".to_owned(),
        });
        let version = manifest(FORMAT_VERSION).content_version().unwrap();
        assert_eq!(other.content_version().unwrap(), version);
    }
}
