//! The objects of a store, read and written by blocking calls.

use std::sync::{Arc, OnceLock};

use object_store::path::Path;
use object_store::{
    Error as ObjectError, GetOptions, GetResult, ObjectStore, ObjectStoreExt, PutMode, PutPayload,
    UpdateVersion,
};
use tokio::runtime::{Builder, Runtime};
use url::Url;

use crate::remote::client::connect;
use crate::remote::error::RemoteError;
use crate::version::is_version;

/// The most bytes of `current` that are read.
const LONGEST_CURRENT: u64 = 1024;

/// The most bytes of an object that is read into memory.
const LONGEST_READ: u64 = 16 << 20;

/// A store on object storage.
pub(crate) struct Objects {
    url: Url,
    pub(crate) store: Arc<dyn ObjectStore>,
    prefix: Path,
    runtime: &'static Runtime,
}

/// The runtime of all stores, which advances while one of them is used. It is never dropped, which an asynchronous thread may not do.
fn runtime() -> std::io::Result<&'static Runtime> {
    static RUNTIME: OnceLock<Runtime> = OnceLock::new();
    if let Some(runtime) = RUNTIME.get() {
        return Ok(runtime);
    }
    let built = Builder::new_current_thread().enable_all().build()?;
    Ok(RUNTIME.get_or_init(|| built))
}

/// What `current` names, and what shows whether it has changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct CurrentVersion {
    /// The content, without white space around it.
    pub(crate) text: String,
    pub(crate) seen: UpdateVersion,
}

impl CurrentVersion {
    /// The version, if the content is one.
    pub(crate) fn version(&self, objects: &Objects) -> Result<&str, RemoteError> {
        match is_version(&self.text) {
            true => Ok(&self.text),
            false => Err(RemoteError::NotAVersion {
                object: objects.shown("current"),
                text: self.text.chars().take(40).collect(),
            }),
        }
    }
}

impl Objects {
    /// The store at a URL. Nothing is sent yet.
    pub(crate) fn open(url: &Url) -> Result<Self, RemoteError> {
        let (store, prefix) = connect(url)?;
        Self::of_store(url, store, prefix)
    }

    /// A store under this prefix of a bucket, which messages call by a URL.
    pub(crate) fn of_store(
        url: &Url,
        store: Arc<dyn ObjectStore>,
        prefix: Path,
    ) -> Result<Self, RemoteError> {
        let runtime = runtime().map_err(|source| RemoteError::of_client(url, source.into()))?;
        Ok(Self {
            url: url.clone(),
            store,
            prefix,
            runtime,
        })
    }

    pub(crate) fn url(&self) -> &Url {
        &self.url
    }

    /// Runs an operation to its end.
    pub(crate) fn block_on<T>(&self, operation: impl Future<Output = T>) -> T {
        self.runtime.block_on(operation)
    }

    /// The path of an object in the bucket. `name` is relative to the store.
    pub(crate) fn path(&self, name: &str) -> Path {
        name.split('/').fold(self.prefix.clone(), Path::join)
    }

    /// The URL of an object.
    pub(crate) fn shown(&self, name: &str) -> String {
        format!("{}/{name}", self.url.as_str().trim_end_matches('/'))
    }

    /// An error on an object, named by its URL.
    pub(crate) fn error(&self, name: &str) -> impl Fn(ObjectError) -> RemoteError + '_ {
        let shown = self.shown(name);
        move |source| RemoteError::of(&self.url, &shown, source)
    }

    /// The version that is current; none if `current` is what it was when it was `known`.
    pub(crate) fn current(
        &self,
        known: Option<&CurrentVersion>,
    ) -> Result<Option<CurrentVersion>, RemoteError> {
        let options = GetOptions {
            if_none_match: known.and_then(|known| known.seen.e_tag.clone()),
            ..GetOptions::default()
        };
        let read = async {
            let found: GetResult = self.store.get_opts(&self.path("current"), options).await?;
            let (meta, size) = (found.meta.clone(), found.meta.size);
            let bytes = match size <= LONGEST_CURRENT {
                true => found.bytes().await?.to_vec(),
                false => Vec::new(),
            };
            Ok((meta, bytes))
        };
        let (meta, bytes) = match self.block_on(read) {
            Ok(read) => read,
            Err(ObjectError::NotModified { .. }) => return Ok(None),
            Err(error) => {
                return Err(match self.error("current")(error) {
                    RemoteError::Missing { object } => RemoteError::NoCurrent { object },
                    other => other,
                });
            }
        };
        Ok(Some(CurrentVersion {
            text: String::from_utf8_lossy(&bytes).trim().to_owned(),
            seen: UpdateVersion {
                e_tag: meta.e_tag,
                version: meta.version,
            },
        }))
    }

    /// The names of the versions, in no order.
    pub(crate) fn versions(&self) -> Result<Vec<String>, RemoteError> {
        let prefix = self.path("versions");
        let listed = self.block_on(self.store.list_with_delimiter(Some(&prefix)));
        let folders = listed.map_err(self.error("versions"))?.common_prefixes;
        let names = folders.iter().filter_map(Path::filename);
        Ok(names.map(str::to_owned).collect())
    }

    /// The content of an object that fits in memory.
    pub(crate) fn read(&self, name: &str) -> Result<Vec<u8>, RemoteError> {
        let read = async {
            let found = self.store.get(&self.path(name)).await?;
            match found.meta.size <= LONGEST_READ {
                true => found.bytes().await,
                false => Err(ObjectError::Generic {
                    store: "nerve",
                    source: format!(
                        "{} bytes, more than the {LONGEST_READ} of a manifest",
                        found.meta.size
                    )
                    .into(),
                }),
            }
        };
        Ok(self.block_on(read).map_err(self.error(name))?.to_vec())
    }

    /// Writes a small object.
    pub(crate) fn write(&self, name: &str, content: &str, mode: PutMode) -> Result<(), ObjectError> {
        let payload = PutPayload::from(content.as_bytes().to_vec());
        let path = self.path(name);
        let written = self.block_on(self.store.put_opts(&path, payload, mode.into()));
        written.map(drop)
    }
}

/// The name of a version's file in the store.
pub(crate) fn file_of(version: &str, file: &str) -> String {
    format!("versions/{version}/{file}")
}
