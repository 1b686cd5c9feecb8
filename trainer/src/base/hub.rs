//! A model of the Hugging Face hub, through its cache.

use std::fs;
use std::path::{Path, PathBuf};

use hf_hub::api::sync::{ApiBuilder, ApiError, ApiRepo};
use nerve_repository::{WEIGHTS, WEIGHTS_INDEX, shards};

use crate::base::error::BaseError;

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
    let get = |file: &str| {
        repository
            .get(file)
            .map_err(|error| failed(file, error.to_string()))
    };
    let config = get("config.json")?;
    let dir = config.parent().unwrap_or(Path::new("."));
    let find = |file: &str| find(&repository, dir, file).map_err(|reason| failed(file, reason));
    if files == Files::Model && !find(WEIGHTS)? {
        if !find(WEIGHTS_INDEX)? {
            let reason = format!(
                "the model has neither this file nor {WEIGHTS_INDEX}; pickled weights (pytorch_model.bin) are not read, \
                 since opening them can run any program; convert them, if you trust them, with: python -c \"import transformers as t; \
                 t.AutoModel.from_pretrained('{id}').save_pretrained('DIR', safe_serialization=True); \
                 t.AutoTokenizer.from_pretrained('{id}').save_pretrained('DIR')\", and give DIR"
            );
            return Err(failed(WEIGHTS, reason));
        }
        let index = dir.join(WEIGHTS_INDEX);
        for shard in shards(&index)
            .map_err(|error| failed(WEIGHTS_INDEX, error.to_string()))?
            .keys()
        {
            get(shard)?;
        }
    }
    // Optional: how text is read where the tokenizer's own file does not say, as whether words are lower-cased.
    find("tokenizer_config.json")?;
    if !find("tokenizer.json")? && !find("vocab.txt")? {
        // Where there is neither, the one that every family takes is named.
        return Err(failed(
            "tokenizer.json",
            "the model has neither this file nor vocab.txt".to_owned(),
        ));
    }
    Ok(dir.to_owned())
}

/// Fetches an optional file of the commit whose files are in `dir`; false where the model does not have it.
///
/// An answer of 404 alone says so: after any other failure the file would be missed silently. It is kept in the cache, as
/// `huggingface_hub` does, so that a model in the cache is opened without the hub.
fn find(repository: &ApiRepo, dir: &Path, file: &str) -> Result<bool, String> {
    let absent = marker_of_absence(dir, file);
    if absent.as_ref().is_some_and(|marker| marker.is_file()) {
        return Ok(false);
    }
    match repository.get(file) {
        Ok(_) => Ok(true),
        Err(error) if is_not_found(&error) => {
            if let Some(marker) = absent {
                // Without the marker the hub is asked again.
                let _ = marker.parent().map(fs::create_dir_all);
                let _ = fs::write(marker, b"");
            }
            Ok(false)
        }
        Err(error) => Err(error.to_string()),
    }
}

fn is_not_found(error: &ApiError) -> bool {
    match error {
        ApiError::RequestError(error) => matches!(**error, ureq::Error::StatusCode(404)),
        ApiError::TooManyRetries(error) => is_not_found(error),
        _ => false,
    }
}

/// `.no_exist/COMMIT/FILE` beside the `snapshots/COMMIT` that `dir` is.
fn marker_of_absence(dir: &Path, file: &str) -> Option<PathBuf> {
    let model = dir.parent()?.parent()?;
    Some(model.join(".no_exist").join(dir.file_name()?).join(file))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{serve, serve_with_status};

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
        assert_eq!(requests.count(), before);
    }

    #[test]
    fn a_failure_to_fetch_an_optional_file_is_an_error_unless_the_hub_does_not_have_it() {
        for file in ["tokenizer_config.json", "tokenizer.json", "vocab.txt"] {
            let cache = tempfile::tempdir().unwrap();
            let failing = format!("/some/model/resolve/main/{file}");
            let (url, _requests) = serve_with_status(move |path| match path {
                path if path == failing => Err("500 Internal Server Error"),
                path if path.ends_with("/config.json") => Ok(b"{}".to_vec()),
                _ => Err("404 Not Found"),
            });
            let error = fetch("some/model", Files::Tokenizer, builder(url, cache.path())).unwrap_err();
            assert!(
                matches!(&error, BaseError::Hub { file: named, reason, .. } if named == file && reason.contains("500")),
                "{file}: {error}"
            );
        }
    }

    #[test]
    fn a_model_in_the_cache_is_opened_without_the_hub() {
        let cache = tempfile::tempdir().unwrap();
        let (url, _requests) = serve(|path| {
            let known = path.ends_with("/config.json") || path.ends_with("/vocab.txt");
            known.then(|| b"{}".to_vec())
        });
        let fetched = |url| fetch("some/model", Files::Tokenizer, builder(url, cache.path()));
        let dir = fetched(url).unwrap();
        assert_eq!(fetched("http://127.0.0.1:9".to_owned()).unwrap(), dir);
    }

    #[test]
    fn shards_are_fetched_and_pickled_weights_are_not() {
        let index = r#"{"weight_map": {"a": "model-1.safetensors", "b": "model-2.safetensors"}}"#;
        let cache = tempfile::tempdir().unwrap();
        let (url, _requests) = serve(move |path| {
            let file = path.strip_prefix("/some/model/resolve/main/")?;
            match file {
                "model.safetensors.index.json" => Some(index.into()),
                "config.json" | "vocab.txt" | "model-1.safetensors" | "model-2.safetensors" => {
                    Some(file.into())
                }
                _ => None,
            }
        });
        let dir = fetch("some/model", Files::Model, builder(url, cache.path())).unwrap();
        assert!(dir.join("model-1.safetensors").is_file() && dir.join("model-2.safetensors").is_file());
        let cache = tempfile::tempdir().unwrap();
        let (url, _requests) = serve(|path| {
            let pickled = path.ends_with("/config.json") || path.ends_with("/pytorch_model.bin");
            pickled.then(|| b"{}".to_vec())
        });
        let error = fetch("some/model", Files::Model, builder(url, cache.path()))
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("model.safetensors") && error.contains("from_pretrained('some/model')"),
            "{error}"
        );
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
