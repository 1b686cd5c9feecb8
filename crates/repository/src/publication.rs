//! A publication to a store, in a directory or on object storage.

use std::path::{Path, PathBuf};
use std::str::FromStr;

use tempfile::TempDir;
use thiserror::Error;
use url::Url;

use crate::address::{AddressError, ModelAddress};
use crate::locate::ModelKind;
use crate::manifest::Manifest;
use crate::remote::error::RemoteError;
use crate::remote::publish::RemotePublication;
use crate::store::{LockedStore, StoreError, check_store};

/// Where a store is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StoreAddress {
    /// In a directory.
    Local(PathBuf),
    /// On object storage.
    Remote(Url),
}

/// Why a version was not published.
#[derive(Debug, Error)]
pub enum PublishError {
    /// The store in a directory does not take it.
    #[error(transparent)]
    Local(#[from] StoreError),
    /// The store on object storage does not take it.
    #[error(transparent)]
    Remote(#[from] RemoteError),
    /// What is to be published is a checkpoint.
    #[error("{0} is a checkpoint, not a bundle; export it first: nerve-export --checkpoint {0} --out BUNDLE", path.display())]
    Checkpoint {
        /// Its directory.
        path: PathBuf,
    },
}

impl PublishError {
    /// Whether another publisher was faster.
    pub fn is_conflict(&self) -> bool {
        matches!(self, Self::Remote(RemoteError::Conflict { .. }))
    }
}

/// A publication to a store that nobody else publishes to meanwhile: a directory is locked, and on object storage all but the
/// first of several publishers fail.
pub enum Publication<'s> {
    /// To a directory.
    Local(&'s Path, LockedStore<'s>),
    /// To object storage.
    Remote(RemotePublication),
}

/// The bundle of a store's live version.
pub enum LiveBundle<'s> {
    /// In the store.
    Local(&'s Path),
    /// Downloaded, until this is dropped.
    Downloaded(TempDir),
}

impl LiveBundle<'_> {
    /// The path of the bundle, or of a store whose current version it is.
    pub fn path(&self) -> &Path {
        match self {
            Self::Local(path) => path,
            Self::Downloaded(dir) => dir.path(),
        }
    }
}

impl FromStr for StoreAddress {
    type Err = AddressError;

    /// A text with `://` is a URL, and all others are paths.
    fn from_str(text: &str) -> Result<Self, AddressError> {
        match text.contains("://") {
            true => text.parse().map(|address| match address {
                ModelAddress::ObjectStore(url) => Self::of_url(url),
                ModelAddress::Local(_) | ModelAddress::Hub(_) => Self::Local(text.into()),
            }),
            false => Ok(Self::Local(text.into())),
        }
    }
}

impl StoreAddress {
    /// The store at a URL. That of a `file` URL is in a directory: a file system does not replace files on condition.
    pub fn of_url(url: Url) -> Self {
        match (url.scheme(), url.to_file_path()) {
            ("file", Ok(path)) => Self::Local(path),
            _ => Self::Remote(url),
        }
    }

    /// Fails if nothing can be published there.
    pub fn check(&self) -> Result<(), PublishError> {
        match self {
            Self::Local(path) => Ok(check_store(path)?),
            Self::Remote(url) => Ok(RemotePublication::begin(url).map(drop)?),
        }
    }

    /// Begins a publication.
    pub fn begin(&self) -> Result<Publication<'_>, PublishError> {
        Ok(match self {
            Self::Local(path) => Publication::Local(path, LockedStore::acquire(path)?),
            Self::Remote(url) => Publication::Remote(RemotePublication::begin(url)?),
        })
    }
}

impl Publication<'_> {
    /// The live version; none if the store has none.
    pub fn live(&self) -> Result<Option<LiveBundle<'_>>, PublishError> {
        Ok(match self {
            Self::Local(path, locked) => locked.has_current().then_some(LiveBundle::Local(path)),
            Self::Remote(remote) => remote.live()?.map(LiveBundle::Downloaded),
        })
    }

    /// The manifest of the live version; none if the store has none.
    pub fn live_manifest(&self) -> Result<Option<Manifest>, PublishError> {
        Ok(match self {
            Self::Local(path, locked) => {
                let read = locked
                    .has_current()
                    .then(|| Manifest::read(&path.join("current")));
                read.transpose().map_err(StoreError::from)?
            }
            Self::Remote(remote) => remote.live_manifest()?,
        })
    }

    /// Puts a bundle into the store, makes it the current version, and yields its place.
    pub fn publish(&self, bundle: &Path) -> Result<String, PublishError> {
        if ModelKind::of(bundle, None) == ModelKind::Checkpoint {
            return Err(PublishError::Checkpoint {
                path: bundle.to_owned(),
            });
        }
        Ok(match self {
            Self::Local(_, locked) => locked.publish(bundle)?.display().to_string(),
            Self::Remote(remote) => remote.publish(bundle)?,
        })
    }

    /// Makes an earlier version of the store current again, and yields its place.
    pub fn restore(&self, version: &str) -> Result<String, PublishError> {
        Ok(match self {
            Self::Local(_, locked) => locked.restore(version)?.display().to_string(),
            Self::Remote(remote) => remote.restore(version)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_checkpoint_is_published_after_an_export_alone() {
        let dir = tempfile::tempdir().unwrap();
        let checkpoint = dir.path().join("checkpoint");
        std::fs::create_dir(&checkpoint).unwrap();
        for file in ["config.json", "model.safetensors"] {
            std::fs::write(checkpoint.join(file), "{}").unwrap();
        }
        let store = StoreAddress::Local(dir.path().join("store"));
        let error = store.begin().unwrap().publish(&checkpoint).unwrap_err();
        let remedy = format!("nerve-export --checkpoint {} --out BUNDLE", checkpoint.display());
        assert!(error.to_string().contains(&remedy), "{error}");
    }

    #[test]
    fn what_is_no_url_is_a_directory() {
        let parse = |text: &str| text.parse::<StoreAddress>();
        for (text, path) in [
            ("a/b", "a/b"),
            ("store", "store"),
            ("file:///srv/store", "/srv/store"),
        ] {
            assert_eq!(parse(text), Ok(StoreAddress::Local(path.into())), "{text}");
        }
        assert!(matches!(parse("s3://bucket/prefix"), Ok(StoreAddress::Remote(_))));
        assert!(
            parse("ftp://a/b")
                .unwrap_err()
                .to_string()
                .contains("use one of s3, gs")
        );
    }
}
