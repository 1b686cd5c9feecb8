//! A model of the Hugging Face hub, through its cache.

use std::path::{Path, PathBuf};

use hf_hub::api::sync::{ApiBuilder, ApiRepo};

use super::BaseError;

/// What is wanted of a model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Files {
    /// Everything.
    Model,
    /// How it reads text.
    Tokenizer,
}

/// The directory with the files of the hub model `id`, those that the cache lacks downloaded with a progress bar.
pub(super) fn fetch(id: &str, files: Files, builder: ApiBuilder) -> Result<PathBuf, BaseError> {
    let failed = |file: &str, reason: String| BaseError::Hub {
        id: id.to_owned(),
        file: file.to_owned(),
        reason,
    };
    let api = builder
        .build()
        .map_err(|error| failed("the hub client", error.to_string()))?;
    let repository = api.model(id.to_owned());
    let get = |file: &str| get(&repository, file).map_err(|reason| failed(file, reason));
    let config = get("config.json")?;
    if files == Files::Model {
        get("model.safetensors")?;
    }
    // Optional: how text is read where the tokenizer's own file does not say, as whether words are lower-cased.
    let _ = get("tokenizer_config.json");
    if let Err(missing) = get("tokenizer.json") {
        // Where there is neither, the one that every family takes is named.
        get("vocab.txt").map_err(|_| missing)?;
    }
    Ok(config.parent().unwrap_or(Path::new(".")).to_owned())
}

fn get(repository: &ApiRepo, file: &str) -> Result<PathBuf, String> {
    repository.get(file).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::serve;

    fn builder(url: String, cache: &Path) -> ApiBuilder {
        ApiBuilder::new()
            .with_endpoint(url)
            .with_cache_dir(cache.to_owned())
            .with_token(None)
            .with_progress(false)
    }

    #[test]
    fn files_are_fetched_once_and_vocab_stands_in_for_the_tokenizer() {
        let cache = tempfile::tempdir().unwrap();
        let (url, requests) = serve(|path| {
            let file = path.strip_prefix("/some/model/resolve/main/")?;
            let known = ["config.json", "model.safetensors", "vocab.txt"].contains(&file);
            known.then(|| file.as_bytes().to_vec())
        });
        let dir = fetch("some/model", Files::Model, builder(url.clone(), cache.path())).unwrap();
        for file in ["config.json", "model.safetensors", "vocab.txt"] {
            assert_eq!(std::fs::read_to_string(dir.join(file)).unwrap(), file);
        }
        let before = requests.count();
        fetch("some/model", Files::Model, builder(url, cache.path())).unwrap();
        // Only what the hub does not have is asked for again.
        assert_eq!(requests.count() - before, 2);
    }

    #[test]
    fn a_tokenizer_needs_no_weights() {
        let cache = tempfile::tempdir().unwrap();
        let (url, _requests) = serve(|path| {
            let file = path.strip_prefix("/some/model/resolve/main/")?;
            let known = ["config.json", "vocab.txt"].contains(&file);
            known.then(|| file.as_bytes().to_vec())
        });
        let fetched = |files| fetch("some/model", files, builder(url.clone(), cache.path()));
        assert!(fetched(Files::Model).is_err());
        assert!(fetched(Files::Tokenizer).unwrap().join("vocab.txt").is_file());
    }

    #[test]
    fn an_unknown_model_names_its_id_and_file() {
        let cache = tempfile::tempdir().unwrap();
        let (url, _requests) = serve(|_| None);
        let error = fetch("no/model", Files::Model, builder(url, cache.path()))
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("no/model") && error.contains("config.json"),
            "{error}"
        );
    }
}
