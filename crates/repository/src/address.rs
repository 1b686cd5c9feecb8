//! What `--model` names: a path, a model of the Hugging Face hub, or a store on object storage.

use std::fmt::{self, Display, Formatter};
use std::path::{Path, PathBuf};
use std::str::FromStr;

use thiserror::Error;
use url::Url;

/// The schemes of object storage.
const SCHEMES: [&str; 6] = ["s3", "gs", "az", "abfs", "abfss", "file"];

/// Where a model is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ModelAddress {
    /// A directory: a bundle, a store, a plain export or a checkpoint.
    Local(PathBuf),
    /// A model of the hub.
    Hub(HubModel),
    /// A store on object storage, such as `s3://bucket/prefix`.
    ObjectStore(Url),
}

/// A model of the hub: `OWNER/NAME` or `NAME`, and optionally `@` and a branch, tag or commit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HubModel {
    /// `OWNER/NAME`, or `NAME` alone.
    pub id: String,
    /// A branch, tag or commit; the hub's `main` if absent.
    pub revision: Option<String>,
}

/// Why a text names no model.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum AddressError {
    /// The text is empty.
    #[error(
        "the name of the model is empty; give a directory, a hub id such as dslim/bert-base-NER, or a URL such as s3://bucket/prefix"
    )]
    Empty,
    /// The scheme is not one of object storage.
    #[error("{url}: the scheme `{scheme}` is unknown; use one of s3, gs, az, abfs, abfss, file")]
    Scheme {
        /// The URL.
        url: String,
        /// Its scheme.
        scheme: String,
    },
    /// The URL holds credentials, which are not repeated here.
    #[error(
        "the {scheme} URL of the model holds a user or a password, which is not read; leave it out, and set the environment variables of the cloud (docs/models.md lists them)"
    )]
    Credentials {
        /// The scheme of the URL.
        scheme: String,
    },
    /// The URL has a query or a fragment.
    #[error("{url}: a store's URL has no `?` and no `#`; leave out what follows")]
    Suffix {
        /// The URL.
        url: String,
    },
    /// The URL has no bucket.
    #[error("{url}: the bucket is missing; write it as in s3://bucket/prefix")]
    Bucket {
        /// The URL.
        url: String,
    },
    /// The URL cannot be parsed.
    #[error("{url}: {source}")]
    Url {
        /// The URL.
        url: String,
        /// The cause.
        source: url::ParseError,
    },
}

impl FromStr for ModelAddress {
    type Err = AddressError;

    /// A text with `://` is a URL. A text that names an existing file or directory, or that looks like a path, is a path. All
    /// others that have the form of a hub id are hub ids.
    fn from_str(text: &str) -> Result<Self, AddressError> {
        if text.is_empty() {
            return Err(AddressError::Empty);
        }
        if let Some((scheme, _)) = text.split_once("://") {
            let url = text.to_owned();
            if !SCHEMES.contains(&scheme) {
                let scheme = scheme.to_owned();
                return Err(AddressError::Scheme { url, scheme });
            }
            return match Url::parse(text) {
                Ok(parsed) if has_credentials(&parsed) => Err(AddressError::Credentials {
                    scheme: scheme.to_owned(),
                }),
                Ok(parsed) if parsed.query().is_some() || parsed.fragment().is_some() => {
                    Err(AddressError::Suffix { url })
                }
                Ok(parsed) if scheme != "file" && !parsed.has_host() => Err(AddressError::Bucket { url }),
                Ok(parsed) => Ok(Self::ObjectStore(parsed)),
                Err(source) => Err(AddressError::Url { url, source }),
            };
        }
        let is_path = Path::new(text).symlink_metadata().is_ok();
        match HubModel::parse(text) {
            Some(model) if !is_path => Ok(Self::Hub(model)),
            _ => Ok(Self::Local(text.into())),
        }
    }
}

impl HubModel {
    /// The model of this name; none if the text does not have the form of a hub id.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let (id, revision) = match text.split_once('@') {
            Some((id, revision)) => (id, Some(revision)),
            None => (text, None),
        };
        // A revision can have slashes, as `refs/pr/1` has.
        let is_revision = |revision: &str| {
            !revision.is_empty()
                && !revision.contains("..")
                && !revision.starts_with('/')
                && revision.chars().all(|c| c.is_ascii_graphic())
        };
        let parts: Vec<&str> = id.split('/').collect();
        let is_id = parts.len() <= 2 && parts.iter().all(|part| is_part(part));
        (is_id && revision.is_none_or(is_revision)).then(|| Self {
            id: id.to_owned(),
            revision: revision.map(str::to_owned),
        })
    }
}

/// Whether a URL has a user or a password. In `abfss://CONTAINER@ACCOUNT`, what stands before the host is the container.
fn has_credentials(url: &Url) -> bool {
    let is_user = !url.username().is_empty() && !url.scheme().starts_with("abfs");
    is_user || url.password().is_some()
}

/// Whether the hub accepts this as the name of an owner or a model.
fn is_part(part: &str) -> bool {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    !part.is_empty()
        && part.len() <= 96
        && part.chars().all(allowed)
        && !part.starts_with(['-', '.'])
        && !part.ends_with(['-', '.'])
        && !part.contains("..")
}

impl Display for HubModel {
    fn fmt(&self, to: &mut Formatter<'_>) -> fmt::Result {
        match &self.revision {
            Some(revision) => write!(to, "{}@{revision}", self.id),
            None => write!(to, "{}", self.id),
        }
    }
}

impl Display for ModelAddress {
    fn fmt(&self, to: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Local(path) => write!(to, "{}", path.display()),
            Self::Hub(model) => write!(to, "{model}"),
            Self::ObjectStore(url) => write!(to, "{url}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> ModelAddress {
        text.parse().unwrap()
    }

    #[test]
    fn hub_ids_and_their_revisions_are_told_from_paths() {
        let hub = |id: &str, revision: Option<&str>| {
            ModelAddress::Hub(HubModel {
                id: id.to_owned(),
                revision: revision.map(str::to_owned),
            })
        };
        assert_eq!(parse("dslim/bert-base-NER"), hub("dslim/bert-base-NER", None));
        assert_eq!(parse("gpt2@v1.0"), hub("gpt2", Some("v1.0")));
        assert_eq!(parse("a/b@refs/pr/1"), hub("a/b", Some("refs/pr/1")));
        for path in [
            "./a/b", "../a", "/a/b", "a/b/c", "a/", "~/a", "a b", "a/b@", "a/b@../c", ".",
        ] {
            assert_eq!(parse(path), ModelAddress::Local(path.into()), "{path}");
        }
    }

    #[test]
    fn what_exists_is_a_path() {
        assert_eq!(parse("src"), ModelAddress::Local("src".into()));
    }

    #[test]
    fn urls_are_stores_on_object_storage() {
        for url in [
            "s3://bucket/prefix",
            "gs://bucket",
            "az://container/a/b",
            "abfss://container@account.dfs.core.windows.net/a",
            "file:///tmp/store",
        ] {
            assert_eq!(parse(url).to_string(), url);
            assert!(matches!(parse(url), ModelAddress::ObjectStore(_)), "{url}");
        }
        for url in [
            "ftp://a/b",
            "s3://",
            "://x",
            "s3://key:secret@bucket",
            "abfss://container:secret@account/a",
            "s3://bucket?x",
            "s3://bucket#x",
        ] {
            let refused = url.parse::<ModelAddress>().unwrap_err().to_string();
            assert!(!refused.contains("secret"), "{refused}");
        }
        assert_eq!("".parse::<ModelAddress>(), Err(AddressError::Empty));
    }
}
