//! Why a store on object storage cannot be read or written.

use std::error::Error;
use std::iter::successors;

use object_store::Error as ObjectError;
use thiserror::Error;
use url::Url;

use crate::cache_dir::NoCacheDir;
use crate::files::FileError;
use crate::manifest::ManifestError;
use crate::store::StoreError;

/// Why a store on object storage cannot be read or written.
#[derive(Debug, Error)]
pub enum RemoteError {
    /// The client cannot be configured.
    #[error(
        "{url}: {source}; correct the URL, or the environment variables that configure its cloud (docs/models.md lists them)"
    )]
    Client {
        /// The store.
        url: Url,
        /// The cause.
        source: Box<dyn Error + Send + Sync>,
    },
    /// The machine has no certificates to check those of servers against.
    #[error(
        "{url}: this machine has no CA certificates, so no HTTPS server can be trusted; install the package ca-certificates, or name a file of certificates with SSL_CERT_FILE"
    )]
    NoCertificates {
        /// The store.
        url: Url,
    },
    /// The credentials are wrong or not sufficient.
    #[error(
        "{object}: access is denied; check the credentials and that they permit this operation: {source}"
    )]
    Denied {
        /// The object.
        object: String,
        /// The answer.
        source: Box<ObjectError>,
    },
    /// There is no such bucket or container.
    #[error("{url}: there is no such bucket; create it, or correct the URL or the endpoint")]
    NoBucket {
        /// The store.
        url: Url,
    },
    /// Nothing is published.
    #[error(
        "{object}: there is no such object, so nothing is published; publish a bundle with nerve-export publish BUNDLE --store URL"
    )]
    NoCurrent {
        /// The object.
        object: String,
    },
    /// The store has no such version.
    #[error("{object}: there is no such version; {versions}")]
    NoVersion {
        /// The version's directory.
        object: String,
        /// The versions that the store has.
        versions: String,
    },
    /// The environment has no credentials, and the machine's own do not exist.
    #[error(
        "{object}: there are no credentials: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or the variables of another way that docs/models.md lists (profiles in ~/.aws are not read); the machine has no role: {source}"
    )]
    NoCredentials {
        /// The object.
        object: String,
        /// The answer of the machine's metadata service.
        source: Box<ObjectError>,
    },
    /// An object of a version is missing.
    #[error("{object}: there is no such object, so the version is incomplete; publish it again")]
    Missing {
        /// The object.
        object: String,
    },
    /// The store does not answer, or fails.
    #[error("{object}: the store fails: {source}")]
    Unavailable {
        /// The object.
        object: String,
        /// The cause.
        source: Box<ObjectError>,
    },
    /// The store cannot write on condition.
    #[error(
        "{url}: the store does not replace objects on condition (If-Match, If-None-Match), so that publishers at the same time would overwrite one another; use a store that does, and set none of the variables that disable it (AWS_CONDITIONAL_PUT)"
    )]
    Unconditional {
        /// The store.
        url: Url,
    },
    /// Another publisher was faster.
    #[error(
        "{object}: another publisher made {found} current while this one worked; publish again to replace it"
    )]
    Conflict {
        /// The object `current`.
        object: String,
        /// The version that is current now.
        found: String,
    },
    /// `current` names no version.
    #[error("{object}: {text:?} is not a version; publish a bundle to replace it")]
    NotAVersion {
        /// The object.
        object: String,
        /// The beginning of its content.
        text: String,
    },
    /// The manifest of a version is damaged.
    #[error("{object} is damaged; publish the version again: {source}")]
    Manifest {
        /// The object.
        object: String,
        /// The cause, which names the object too.
        source: ManifestError,
    },
    /// A file of a version is damaged.
    #[error(
        "{object}: {size} bytes with SHA-256 {sha256}, the manifest says {expected_size} bytes with SHA-256 {expected_sha256}: the object is damaged; publish the version again"
    )]
    Damaged {
        /// The object.
        object: String,
        /// Bytes that were read, at most one more than expected.
        size: u64,
        /// The hash of what was read.
        sha256: String,
        /// Bytes stated.
        expected_size: u64,
        /// The hash stated.
        expected_sha256: String,
    },
    /// The manifest under the name of one version is that of another.
    #[error("{object} is of version {found}; publish the version again")]
    OtherVersion {
        /// The object.
        object: String,
        /// The version stated in it.
        found: String,
    },
    /// The store in the cache, or the bundle to publish, cannot be used.
    #[error(transparent)]
    Store(StoreError),
    /// There is no place for the cache.
    #[error(transparent)]
    NoCacheDir(#[from] NoCacheDir),
    /// A file of the cache cannot be written.
    #[error(
        "{0}; downloaded versions are kept in the directory that NERVE_CACHE names, which must be writable and have space"
    )]
    Cache(FileError),
    /// A bundle's file cannot be read.
    #[error(transparent)]
    File(#[from] FileError),
}

impl From<StoreError> for RemoteError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::File(error) => Self::Cache(error),
            other => Self::Store(other),
        }
    }
}

impl RemoteError {
    /// The error of an operation on an object.
    pub(crate) fn of(url: &Url, object: &str, source: ObjectError) -> Self {
        let object = object.to_owned();
        match source {
            ObjectError::PermissionDenied { .. } | ObjectError::Unauthenticated { .. } => Self::Denied {
                object,
                source: Box::new(source),
            },
            ObjectError::NotFound { .. } if names_bucket(&source) => Self::NoBucket { url: url.clone() },
            ObjectError::NotFound { .. } => Self::Missing { object },
            ObjectError::NotImplemented { .. } | ObjectError::NotSupported { .. } => {
                Self::Unconditional { url: url.clone() }
            }
            _ if asks_the_machine(&source) => Self::NoCredentials {
                object,
                source: Box::new(source),
            },
            _ => Self::Unavailable {
                object,
                source: Box::new(source),
            },
        }
    }

    /// The error of making a client.
    pub(crate) fn of_client(url: &Url, source: Box<dyn Error + Send + Sync>) -> Self {
        let url = url.clone();
        let first: &(dyn Error + 'static) = source.as_ref();
        let mut causes = successors(Some(first), |&cause| cause.source());
        match causes.any(|cause| cause.to_string().contains("No CA certificates")) {
            true => Self::NoCertificates { url },
            false => Self::Client { url, source },
        }
    }
}

/// Whether S3's client failed to ask the machine's metadata service for credentials, which it does where the environment has none.
fn asks_the_machine(error: &ObjectError) -> bool {
    matches!(error, ObjectError::Generic { store: "S3", .. }) && error.to_string().contains("/latest/")
}

/// Whether the clouds say that the bucket is missing, and not the object: S3, Azure, Google.
fn names_bucket(error: &ObjectError) -> bool {
    let text = error.to_string();
    ["NoSuchBucket", "ContainerNotFound", "bucket does not exist"]
        .iter()
        .any(|code| text.contains(code))
}
